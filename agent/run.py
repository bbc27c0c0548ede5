"""The agent as a process: wires the parts, answers signals, feeds the watchdog."""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from agent.clock.clock import boot_id, read_clock
from agent.control.command_queue import CommandQueue
from agent.control.remote_config import FILE, RemoteConfig
from agent.control.updater_events import UpdaterEvents
from agent.delivery.instance_lock import AlreadyRunning, lock_state_dir
from agent.delivery.spool import Spool, SpoolError, open_spool
from agent.delivery.uplink import Uplink
from agent.loop import AgentLoop
from agent.schedule.quota.budget import BudgetError, open_budget
from agent.settings import AgentSettings, read
from agent.status.server import StatusServer
from agent.status.status import status_source
from agent.web.handler import StatusPage
from xomnet import __version__
from xomnet.contract.messages import Event
from xomnet.contract.values import to_text
from xomnet.defaults import config_file
from xomnet.runtime import systemd
from xomnet.runtime.log import Log, set_level, setup
from xomnet.runtime.watchdog import Watchdog
from xomnet.settings import SettingsError
from xomnet.targets import load_targets

log = Log("agent")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Waited for, not handled: a handler that sets the event on which it interrupts the wait may never come back."""
MAX_FEED_S = 5.0
"""The longest time between two feeds of the watchdog, and so between two looks at signals and parts."""


def run(config: Path, settings: AgentSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit status. SIGHUP reads the settings again."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    stop = threading.Event()
    os.umask(0o077)
    with lock_state_dir(settings.state_dir):
        targets = load_targets(config_file("targets.yaml"))
        spool = open_spool(settings)
        budget = open_budget(settings.state_dir)
        remote = RemoteConfig(config, settings.state_dir / FILE, boot_id())
        settings = remote.load()
        set_level(settings.log_level)
        clock = settings.clock
        commands = CommandQueue(settings.agent, spool, clock.assume_synced, read_clock)
        uplink = Uplink(settings.broker, settings.agent, spool, clock.hold_s, clock.assume_synced, read_clock, commands)
        loop = AgentLoop(settings, spool, budget, targets, stop, read_clock, commands, remote)
        worker = threading.Thread(target=loop.run, name="unit", daemon=True)
        page = StatusPage(
            status_source(loop, uplink, spool, read_clock), lambda: loop.status_view[0], targets, commands
        )
        status_server = StatusServer(settings.state_dir, settings.status_page, page.answer)
        uplink.start()
        worker.start()
        status_server.start()
        systemd.notify("READY=1")
        log.info("agent runs", version=__version__, agent=settings.agent, lines=len(settings.lines))
        status = _supervise(config, loop, remote, uplink, spool, worker)
        stop.set()
        commands.wake()
        systemd.notify("STOPPING=1")
        status_server.close()
        worker.join(3)
        uplink.stop()
        if not worker.is_alive():
            spool.close()
    log.info("agent ended", status=status)
    return status


def _supervise(
    config: Path, loop: AgentLoop, remote: RemoteConfig, uplink: Uplink, spool: Spool, worker: threading.Thread
) -> int:
    """Waits for signals until the end, reloads at SIGHUP, feeds the watchdog while loop, spool and uplink are alive.

    Being offline is not being dead. Returns the exit status.
    """
    watchdog = Watchdog(MAX_FEED_S)
    updater_events = UpdaterEvents(spool, loop.commit_event)
    while True:
        updater_events.commit_new()
        received = signal.sigtimedwait(SIGNALS, watchdog.interval_s)
        if received is not None and received.si_signo != signal.SIGHUP:
            return 0
        if received is not None:
            systemd.notify("RELOADING=1\nMONOTONIC_USEC=" + str(time.monotonic_ns() // 1000))
            _reload(config, loop, remote)
            systemd.notify("READY=1")
        if not worker.is_alive():
            log.error("the unit's loop ended; leaving so that it is started again")
            return 1
        still_s = time.monotonic() - loop.alive_at
        watchdog.feed({"loop": still_s < loop.max_job_s, "uplink": uplink.alive, "spool": spool.alive()})


def _reload(config: Path, loop: AgentLoop, remote: RemoteConfig) -> None:
    """Applies new settings if they are valid; broker, name and folders take effect at the next start."""
    try:
        remote.reload()
    except SettingsError as error:
        log.error("settings refused, the old ones stay", reason=str(error))
        loop.commit_event(Event(name="settings_refused", detail=to_text(str(error))))
    else:
        log.info("settings read", file=str(config))


def main() -> int:
    """`python -m agent --config agent.yaml`; a settings error is one sentence and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="xomnet agent run", description="Measure this unit's lines and deliver the results."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    config: Path = parser.parse_args().config
    try:
        settings = read(config)
        setup(settings.log_level)
        return run(config, settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (SpoolError, BudgetError, AlreadyRunning) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"state_dir: {error.filename}: {error.strerror}; name a folder that this user can create", file=sys.stderr
        )
        return 1
