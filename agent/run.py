"""The agent as a process: wires the parts, answers signals, feeds the watchdog."""

import argparse
import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from agent.budget import Ledger, LedgerError
from agent.clock import boot_id
from agent.commands import Inbox
from agent.settings import AgentSettings, read
from agent.spool import Spool, SpoolError
from agent.spool_file import machine
from agent.unit import Unit
from agent.uplink import Uplink
from xomnet import __version__, sd
from xomnet.defaults import config_file
from xomnet.log import Log, setup
from xomnet.messages import Event
from xomnet.settings import SettingsError
from xomnet.targets import load_targets

log = Log("agent")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Waited for, not handled: a handler that sets the event on which it interrupts the wait may never come back."""


class AlreadyRunning(Exception):
    """Another agent works in the same state folder."""


def run(config: Path, settings: AgentSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit status. SIGHUP reads the settings again."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    stop = threading.Event()
    os.umask(0o077)
    with _only_one(settings.state_dir):
        targets = load_targets(config_file("targets.yaml"))
        max_bytes = int(settings.spool.max_mb * 1e6)
        spool = Spool(settings.state_dir / "spool.db", settings.agent, boot_id(), max_bytes, machine())
        ledger = Ledger(settings.state_dir / "ledger.json")
        clock = settings.clock
        inbox = Inbox(settings.agent, spool, clock.assume_synced)
        uplink = Uplink(settings.broker, settings.agent, spool, clock.hold_s, clock.assume_synced, inbox)
        unit = Unit(settings, spool, ledger, targets, stop, inbox)
        worker = threading.Thread(target=unit.run, name="unit", daemon=True)
        uplink.start()
        worker.start()
        sd.notify("READY=1")
        log.info("agent runs", version=__version__, agent=settings.agent, lines=len(settings.lines))
        status = _watch(config, unit, uplink, spool, worker)
        stop.set()
        inbox.wake()
        sd.notify("STOPPING=1")
        worker.join(3)
        uplink.stop()
        if not worker.is_alive():
            spool.close()
    log.info("agent ended", status=status)
    return status


def _watch(config: Path, unit: Unit, uplink: Uplink, spool: Spool, worker: threading.Thread) -> int:
    """Until the end: reloads when asked, tells systemd that loop, spool and uplink are alive (offline is alive)."""
    every_s = min(sd.watchdog_interval_s() or 5.0, 5.0)
    said: dict[str, bool] = {}
    while True:
        taken = signal.sigtimedwait(SIGNALS, every_s)
        if taken is not None and taken.si_signo != signal.SIGHUP:
            return 0
        if taken is not None:
            sd.notify("RELOADING=1\nMONOTONIC_USEC=" + str(time.monotonic_ns() // 1000))
            _reload(config, unit)
            sd.notify("READY=1")
        if not worker.is_alive():
            log.error("the unit's loop ended; leaving so that it is started again")
            return 1
        still_s = time.monotonic() - unit.alive_at
        alive = {"loop": still_s < unit.longest_job_s, "uplink": uplink.alive, "spool": spool.alive()}
        if all(alive.values()):
            sd.notify("WATCHDOG=1")
        elif alive != said:
            log.error("hangs; systemd may end it", parts=" ".join(part for part, lives in alive.items() if not lives))
        said = alive


def _reload(config: Path, unit: Unit) -> None:
    """New settings where they are good; broker, name and folders take effect at the next start."""
    try:
        unit.apply(read(config))
    except SettingsError as error:
        log.error("settings refused, the old ones stay", reason=str(error))
        unit.note(Event(name="settings_refused", detail=str(error)[:512]))
    else:
        log.info("settings read", file=str(config))


def _only_one(state_dir: Path) -> IO[str]:
    """A lock on the state folder, held while it is open. Raises AlreadyRunning or OSError."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (state_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(
            f"another agent works in {state_dir}; stop it, or give this one its own state_dir"
        ) from None
    return lock


def main() -> int:
    """`python -m agent --config agent.yaml`; a settings error is one sentence and exit status 2."""
    parser = argparse.ArgumentParser(prog="xomnet agent run", description="Measures this unit's lines and reports.")
    parser.add_argument("--config", type=Path, required=True)
    config: Path = parser.parse_args().config
    try:
        settings = read(config)
        setup(settings.log_level)
        return run(config, settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (SpoolError, LedgerError, AlreadyRunning) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"state_dir: {error.filename}: {error.strerror}; name a folder that can be made", file=sys.stderr)
        return 1
