"""The collector as a process: wires the parts, serves the page, ends in order."""

import argparse
import os
import signal
import socket
import sys
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

from collector.alerts.channels import warn_of_unmatched
from collector.alerts.factory import AlertParts
from collector.archive.rotation import ArchiveRotation
from collector.archive.writer import Archive
from collector.commands.commands import Commands
from collector.commands.confirmation import ConfirmationWorker, maintenance_at
from collector.completeness.completeness import Completeness
from collector.http_server import http_server
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.duplicate_units import DuplicateUnits
from collector.ingest.intake import Intake
from collector.ingest.permissions import PermissionIssuer
from collector.ingest.presence import PresenceBoard
from collector.ingest.quota import Quota
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates
from collector.metrics import Metrics
from collector.registry.registry_file import HISTORY_FILE, RegistryFile
from collector.report.closed import ClosedMonths
from collector.rollups.rollups import Rollups
from collector.services import Services
from collector.settings import AssessSettings, CollectorSettings, Unusable, WebSettings
from collector.state_points.latency import LatencyLimits
from collector.state_points.state_points import StatePoints
from collector.store.errors import StoreUnavailable
from collector.store.excluding_store import ExcludingStore
from collector.store.exclusion_table import ExclusionTable
from collector.store.factory import open_store
from collector.store.record_db import FILE
from collector.web import create_app
from collector.web.operator import read_token
from xomnet import __version__
from xomnet.defaults import config_file
from xomnet.registry.registry import RegistryError
from xomnet.runtime import systemd
from xomnet.runtime.clock import utc_now
from xomnet.runtime.descriptors import raise_descriptor_limit
from xomnet.runtime.log import Log, setup
from xomnet.runtime.secrets import SecretError
from xomnet.runtime.watchdog import Watchdog
from xomnet.settings import SettingsError, load
from xomnet.states import STATES, State
from xomnet.targets import load_targets

log = Log("collector")

REGISTRY_EVERY_S = 5.0


def run(settings: CollectorSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit status. SIGHUP reads the registry again."""
    os.umask(0o077)
    raise_descriptor_limit()
    _make_state_dir(settings.state_dir)
    targets = load_targets(settings.targets or config_file("targets.yaml"))
    raw_store, exclusions = open_store(settings), ExclusionTable(settings.state_dir / FILE)
    operator_token, store = read_token(settings.web.operator_token_file), ExcludingStore(raw_store, exclusions.current)
    registry = RegistryFile(settings.registry, targets, settings.state_dir / HISTORY_FILE, raw_store, utc_now)
    dead_letters, metrics = DeadLetters(settings.state_dir / "dead-letters.jsonl"), Metrics()
    archive = Archive(settings.archive_folder, utc_now, on_appended=metrics.archived.inc)
    rotation = ArchiveRotation(archive, settings.archive, metrics)
    rules = JudgingRules(
        window=timedelta(hours=settings.assess.window_hours),
        silent_after=timedelta(seconds=settings.assess.silent_after_s),
    )
    completeness = Completeness(
        store,
        registry.current,
        dead_letters,
        metrics,
        settings.completeness.every_s,
        timedelta(seconds=settings.completeness.grace_s),
        exclusions.current,
    )
    months = ClosedMonths.open(settings.state_dir)
    months.archive(archive)
    rollups = Rollups(
        store, registry.with_removed, keep_days=settings.store.keep_days, exclusions=exclusions, closed=months
    )
    commands = Commands(utc_now)
    alerts = AlertParts.of(settings, store, rules.window, completeness, metrics)
    registry.subscribe(lambda known: warn_of_unmatched(alerts.service.settings.channels, known, utc_now()))
    presence = PresenceBoard()
    state_points = StatePoints(
        store, registry.current, presence.agents, lambda: completeness.latest, _limits(settings.assess)
    )
    lines = LineStates(
        store,
        registry.current,
        rules,
        settings.assess.every_s,
        settings.state_dir / "courses.json",
        field_sources=(alerts.service, state_points),
        point_sources=(state_points,),
        listeners=(alerts.service,),
        registered_since=registry.registered_since,
        exclusions=exclusions.current,
    )
    quota = Quota(settings.quota, settings.state_dir / "quota.db", alerts.service.on_quota_exceeded)
    intake = Intake(
        settings.broker,
        settings.client_id,
        raw_store,
        registry.current,
        dead_letters,
        metrics,
        commands,
        utc_now,
        listeners=(lines, completeness, rollups, DuplicateUnits(alerts.service.on_duplicate, utc_now)),
        presence=presence,
        permissions=PermissionIssuer(settings.permission_key) if settings.permission_key else None,
        quota=quota,
        archive=archive,
    )
    services = Services(
        *(store, registry.current, lines, dead_letters, metrics, intake, completeness, commands),
        alerts=alerts.service,
        dispatcher=alerts.dispatcher,
        with_removed=registry.with_removed,
    )
    confirmation = ConfirmationWorker(
        lambda: lines.latest,
        commands,
        lambda: {one.agent for one in presence.agents() if one.online},
        maintenance_at(alerts.service.store.windows),
        settings.state_dir / "confirm.json",
    )
    ended = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):  # uvicorn ends on them, then raises them again
        signal.signal(ending, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=registry.reload).start())
    keeper = threading.Thread(target=_keep, args=(registry, intake, ended), name="keeper", daemon=True)
    metrics.registry_problems.set_function(lambda: float(len(registry.problems)))
    for state in STATES:
        metrics.lines.labels(state=state).set_function(partial(_count, lines, state))
    page = _listen(settings.web)
    for part in (intake, alerts, lines, completeness, rollups, rotation):
        part.start()
    if settings.assess.confirm:
        confirmation.start()
    keeper.start()
    web = http_server(create_app(services, operator_token))
    log.info("collector runs", version=__version__, page=f"http://{settings.web.host}:{settings.web.port}")
    systemd.notify("READY=1")
    try:
        web.run(sockets=[page])
    finally:
        systemd.notify("STOPPING=1")
        ended.set()
        confirmation.stop()
        for part in (intake, lines, alerts, completeness, rollups, rotation):
            part.stop()
        for opened in (quota, exclusions, months, store):
            opened.close()
    log.info("collector ended")
    return 0


def _make_state_dir(folder: Path) -> None:
    """Raises Unusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"state_dir: {folder}: {error.strerror}; name a folder that this user can create") from error


def _listen(web: WebSettings) -> socket.socket:
    """The page's socket. Raises Unusable."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    try:
        return socket.create_server((web.host, web.port), family=family)
    except OSError as error:
        raise Unusable(
            f"web: {web.host} port {web.port}: {os.strerror(error.errno or 0)}; choose another web.host or web.port"
        ) from error


def _limits(assess: AssessSettings) -> LatencyLimits:
    return LatencyLimits(latency_ms=assess.latency_limit_ms, loss_percent=assess.loss_limit_percent)


def _count(lines: LineStates, state: State) -> float:
    return float(sum(one.judgement.state == state for one in lines.latest.lines)) if lines.latest else 0.0


def _keep(registry: RegistryFile, intake: Intake, ended: threading.Event) -> None:
    """Every few seconds: a changed registry is read, and systemd hears that the threads are alive."""
    watchdog = Watchdog(REGISTRY_EVERY_S)
    while not ended.wait(watchdog.interval_s):
        registry.reload(only_if_changed=True)
        watchdog.feed({"intake": intake.alive})


def main() -> int:
    """`python -m collector --config collector.yaml`; a settings error is one sentence and exit status 2."""
    parser = argparse.ArgumentParser(prog="xomnet collector run", description="Store, judge and show results.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
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
