"""The collector as a process: wires the parts, serves the page, ends in order."""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import uvicorn

from collector.alerts.channels import warn_of_unmatched
from collector.alerts.factory import AlertParts
from collector.commands.commands import Commands
from collector.commands.confirmation import ConfirmationWorker, worked_on
from collector.completeness.completeness import Completeness
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import Intake
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates
from collector.metrics import Metrics
from collector.registry.registry_file import REMEMBERED, RegistryFile
from collector.rollups.rollups import Rollups
from collector.services import Services
from collector.settings import AssessSettings, CollectorSettings, SqliteSettings, WebSettings
from collector.state_points import LatencyLimits, StatePoints
from collector.store import Store, StoreUnavailable
from collector.store.points import Point
from collector.web import create_app
from collector.web.operator import read_token
from xomnet import __version__
from xomnet.defaults import config_file
from xomnet.mqtt.broker import SecretError, read_secret
from xomnet.registry.registry import RegistryError
from xomnet.runtime import systemd
from xomnet.runtime.log import Log, setup
from xomnet.settings import SettingsError, load
from xomnet.states import STATES, State
from xomnet.targets import load_targets

log = Log("collector")

REGISTRY_EVERY_S = 5.0


class Unusable(Exception):
    """Something that the settings name can't be used on this machine."""


def open_store(settings: CollectorSettings, *, read_only: bool = False) -> Store:
    """The store that the settings name; one that is only read is left as it is, and waits for no writer.

    Raises StoreUnavailable or SecretError.
    """
    if isinstance(settings.store, SqliteSettings):
        from collector.store.sqlite import SqliteStore  # noqa: PLC0415  # one of the two is needed

        return SqliteStore(settings.store.path, keep_days=settings.store.keep_days, read_only=read_only)
    from collector.store.influx import InfluxStore  # noqa: PLC0415

    influx = settings.store
    token = read_secret(influx.token_file)
    return InfluxStore(influx.url, token, influx.bucket, influx.org, influx.timeout_s, influx.rollups_bucket)


def run(settings: CollectorSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit status. SIGHUP reads the registry again."""
    os.umask(0o077)
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"state_dir: {settings.state_dir}: {error.strerror}; name a folder that can be made") from error
    operator_token = read_token(settings.web.operator_token_file)
    targets = load_targets(settings.targets or config_file("targets.yaml"))
    store = open_store(settings)
    registry = RegistryFile(settings.registry, targets, settings.state_dir / REMEMBERED, store)
    dead_letters = DeadLetters(settings.state_dir / "dead-letters.jsonl")
    metrics = Metrics()
    rules = JudgingRules(
        window=timedelta(hours=settings.assess.window_hours),
        silent_after=timedelta(seconds=settings.assess.silent_after_s),
    )
    lines = LineStates(store, registry.current, rules, settings.assess.every_s, settings.state_dir / "courses.json")
    completeness = Completeness(
        store,
        registry.current,
        dead_letters,
        metrics,
        settings.completeness.every_s,
        timedelta(seconds=settings.completeness.grace_s),
    )
    rollups = Rollups(store, registry.ever, keep_days=settings.store.keep_days)
    commands = Commands()
    intake = Intake(
        settings.broker,
        settings.client_id,
        store,
        registry.current,
        dead_letters,
        metrics,
        partial(_tell, (lines.saw, completeness.saw, rollups.saw)),
        commands=commands,
    )
    alerts = AlertParts.of(settings, store, lines, completeness, metrics)
    registry.follow(partial(warn_of_unmatched, alerts.desk.telling.channels))
    services = Services(
        *(store, registry.current, lines, dead_letters, metrics, intake, completeness, commands),
        alerts=alerts.desk,
        courier=alerts.courier,
        with_gone=registry.ever,
    )
    minute = StatePoints(store, registry.current, intake.agents, lambda: completeness.latest, _limits(settings.assess))
    lines.known.append(minute.of_lines)
    lines.beside.append(minute.points)
    confirming = ConfirmationWorker(
        lambda: lines.latest,
        commands,
        lambda: {one.agent for one in intake.agents() if one.online},
        worked_on(alerts.desk.kept.windows),
        settings.state_dir / "confirm.json",
    )
    ended = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):  # uvicorn ends on them, then raises them anew to whom it may concern
        signal.signal(ending, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=registry.reload).start())
    keeper = threading.Thread(target=_keep, args=(registry, intake, ended), name="keeper", daemon=True)
    metrics.registry_problems.set_function(lambda: float(len(registry.problems)))
    for state in STATES:
        metrics.lines.labels(state=state).set_function(partial(_count, lines, state))
    page = _listen(settings.web)
    for part in (intake, alerts, lines, completeness, rollups):
        part.start()
    if settings.assess.confirm:
        confirming.start()
    keeper.start()
    web = uvicorn.Server(
        uvicorn.Config(
            create_app(services, operator_token),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
    )
    log.info("collector runs", version=__version__, page=f"http://{settings.web.host}:{settings.web.port}")
    systemd.notify("READY=1")
    try:
        web.run(sockets=[page])
    finally:
        systemd.notify("STOPPING=1")
        ended.set()
        confirming.stop()
        for part in (intake, lines, alerts, completeness, rollups):
            part.stop()
        store.close()
    log.info("collector ended")
    return 0


def _listen(web: WebSettings) -> socket.socket:
    """The page's socket. Raises Unusable."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    try:
        return socket.create_server((web.host, web.port), family=family)
    except OSError as error:
        raise Unusable(
            f"web: {web.host} port {web.port}: {os.strerror(error.errno or 0)}; choose another web.host or web.port"
        ) from error


def _tell(listeners: Iterable[Callable[[Sequence[Point]], None]], points: Sequence[Point]) -> None:
    """What was stored, to everybody who wants to know: a fault of one keeps it neither from the others nor from being
    acknowledged.
    """
    for listener in listeners:
        try:
            listener(points)
        except Exception:
            log.exception("not heard of what was stored", points=len(points))


def _limits(assess: AssessSettings) -> LatencyLimits:
    return LatencyLimits(latency_ms=assess.latency_limit_ms, loss_percent=assess.loss_limit_percent)


def _count(lines: LineStates, state: State) -> float:
    return float(sum(one.judgement.state == state for one in lines.latest.lines)) if lines.latest else 0.0


def _keep(registry: RegistryFile, intake: Intake, ended: threading.Event) -> None:
    """Every few seconds: a changed registry is read, and systemd hears that the threads are alive."""
    while not ended.wait(REGISTRY_EVERY_S):
        registry.reload(only_if_changed=True)
        if intake.alive:
            systemd.notify("WATCHDOG=1")
        else:
            log.error("intake stands still")


def main() -> int:
    """`python -m collector --config collector.yaml`; a settings error is one sentence and exit status 2."""
    parser = argparse.ArgumentParser(prog="xomnet collector run", description="Stores, judges and shows results.")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        settings = load(arguments.config, CollectorSettings)
        setup(settings.log_level)
        return run(settings)
    except (SettingsError, RegistryError, SecretError) as error:
        print(error, file=sys.stderr)
        return 2
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1
    except StoreUnavailable as error:
        print(f"the store can't be opened: {error}", file=sys.stderr)
        return 1
