"""A small province that was measured, archived, excluded, closed and rolled up, to be built again from its archive."""

import dataclasses
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from collector.archive.replay import point_of_record
from collector.archive.writer import Archive
from collector.ingest.archive_record import ArchiveRecord
from collector.judge.verdict import Month, Verdict, line_verdict
from collector.report.closed import ClosedMonths
from collector.report.closing import close_month
from collector.rollups.rollups import Rollups
from collector.settings import CollectorSettings
from collector.store import Store
from collector.store.derived_schemas import ROLLED
from collector.store.excluding_store import ExcludingStore
from collector.store.exclusion_table import ExclusionTable
from collector.store.exclusions import Exclusion
from collector.store.factory import open_store
from collector.store.line_id import LineId
from collector.store.points import Point, Value
from collector.store.record_db import FILE
from tests.support.province_messages import province_day
from tests.support.rolled import settle
from tests.support.services import InfluxV2
from xomnet.defaults import config_file
from xomnet.registry.registry import Registry, load_registry
from xomnet.runtime.clock import utc_now
from xomnet.settings import load
from xomnet.targets import load_targets

DAY = dt.timedelta(days=1)
UNITS = 2
ISPS = ("VNPT", "Viettel", "FPT")
THIS_MONTH = Month.of(utc_now())
OPEN, CLOSED = THIS_MONTH.previous, THIS_MONTH.previous.previous
DAYS = [month.since().astimezone(dt.UTC) + day * DAY for month, day in ((CLOSED, 9), (OPEN, 19))]
"""The first moments of the days that were measured."""
SPAN = (CLOSED.since(), THIS_MONTH.since())
TARGETS = load_targets(config_file("targets.yaml"))


def lines_of(units: int) -> list[LineId]:
    """Of the units of `province_day`."""
    return [LineId(f"nb-haihau-{number:04}", line) for number in range(units) for line in ("ftth", "4g")]


def registry_file(units: int) -> str:
    access = {"ftth": "fixed", "4g": "mobile"}
    rows = [
        f"{agent},{line},{access[line]},Xóm 5,Ninh Bình/xã {n % 97},{ISPS[n % 3]},2024-10-08\n"
        for n, (agent, line) in enumerate(lines_of(units))
    ]
    return "agent,line,access,hamlet,area,isp,from\n" + "".join(rows)


LINES = lines_of(UNITS)


class Deployment:
    """A collector's folder with its settings; the archive of `archive`, else its own."""

    def __init__(
        self,
        folder: Path,
        influx: InfluxV2 | None = None,
        bucket: str = "",
        archive: Path | None = None,
        units: int = UNITS,
    ):
        folder.mkdir()
        (folder / "state").mkdir()
        (folder / "lines.csv").write_text(registry_file(units), encoding="utf-8")
        store: dict[str, Any] = {"kind": "sqlite", "path": "store.db"}
        if influx is not None:
            influx.create(bucket)
            (folder / "token").write_text(influx.token)
            (folder / "token").chmod(0o600)
            store = {"kind": "influx", "url": influx.url, "bucket": bucket, "token_file": "token", "org": influx.org}
        self.config = folder / "collector.yaml"
        of_archive = {} if archive is None else {"archive": {"folder": str(archive)}}
        common = {"broker": {"host": "127.0.0.1"}, "registry": "lines.csv", "state_dir": "state", "store": store}
        self.config.write_text(yaml.safe_dump({**common, **of_archive}))
        self.settings = load(self.config, CollectorSettings)

    @property
    def registry(self) -> Registry:
        return load_registry(self.settings.registry, TARGETS)

    def replay(self, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`xomnet replay`, as a person types it."""
        command = [sys.executable, "-c", "from xomnet_cli import main; main()", "replay"]
        argv = [*command, "--config", str(self.config), *flags]
        env = {**os.environ, **environment}
        return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False, env=env)

    def answer(self, *flags: str) -> dict[str, Any]:
        done = self.replay("--json", *flags)
        assert done.stdout.count("\n") == 1, done.stderr
        return {"status": done.returncode, **json.loads(done.stdout)}

    def contents(self) -> "Contents":
        store, table = open_store(self.settings), ExclusionTable(self.settings.state_dir / FILE)
        closed = ClosedMonths.open(self.settings.state_dir)
        try:
            return Contents.of(store, table, closed, self.registry)
        finally:
            store.close()
            table.close()
            closed.close()


@dataclasses.dataclass
class Contents:
    """Everything that must be the same to the last digit."""

    rows: dict[tuple[LineId, str], list[Any]]
    figures: dict[tuple[object, ...], dict[str, Value]]
    verdicts: dict[tuple[LineId, Month], Verdict]
    exclusions: tuple[Exclusion, ...]
    closed: dict[Month, bytes]

    @classmethod
    def of(cls, store: Store, table: ExclusionTable, closed: ClosedMonths, registry: Registry) -> "Contents":
        rows: dict[tuple[LineId, str], list[Any]] = {}
        for line in LINES:
            rows[line, "speed"] = list(store.speed(line, *SPAN, raw=True))
            rows[line, "latency"] = list(store.latency(line, *SPAN, raw=True))
            rows[line, "outage"] = list(store.outages(line, *SPAN))
            unit = LineId(line.agent, "")
            rows[unit, "health"] = list(store.healths(line.agent, *SPAN, raw=True))
            rows[unit, "event"] = [row for found in store.events(None, *SPAN, line.agent).values() for row in found]
        counted = ExcludingStore(store, table.current)
        verdicts = {}
        for month in (CLOSED, OPEN):
            samples = counted.figures.downloads(month.since(), month.until())
            for row in registry.rows_within(month.since(), month.until()):
                line = LineId.of(row)
                verdicts[line, month] = line_verdict(samples.get(line, []), row, registry, month, utc_now())
        figures = {
            (point.measurement, point.time_ns, *sorted(point.tags.items())): dict(point.fields)
            for measurement in ROLLED
            for point in store.figures.points(measurement, *SPAN)
        }
        records = {month: msgspec.json.encode(closed.read(month)) for month in closed.months()}
        return cls(rows, figures, verdicts, tuple(table.current().entries), records)


def messages() -> Iterator[ArchiveRecord]:
    """In the order of receipt; some came late."""
    for number, begin in enumerate(DAYS):
        for n, record in enumerate(province_day(UNITS, begin, seed=number)):
            late = n % 200 == 7 or (n % 5 == 0 and b'"kind":"speed"' in record.payload)
            yield record._replace(late=True, received_ms=record.received_ms + 3 * 86_400_000) if late else record


def quarantine(agent: str) -> Exclusion:
    """Of what a unit sent for some hours of a day of each month."""
    return Exclusion(
        action="exclude",
        scope="unit",
        agent=agent,
        basis="received",
        since=DAYS[0] + 5 * DAY / 24,
        until=DAYS[0] + 9 * DAY / 24,
        reason="quarantine",
        by="test",
        at=DAYS[1],
    )


def measured(at: Deployment) -> None:
    """What a collector does in months: stores, archives, excludes, closes, rolls up."""
    store, archive = open_store(at.settings), Archive(at.settings.archive_folder, utc_now)
    table, closed = ExclusionTable(at.settings.state_dir / FILE), ClosedMonths.open(at.settings.state_dir)
    counted = ExcludingStore(store, table.current)
    rollups = Rollups(counted, lambda: at.registry, closed=closed)
    records = list(messages())
    points: list[Point] = []
    for record in records:
        point = point_of_record(record, at.registry)
        assert isinstance(point, Point), point
        points.append(point)
    for start in range(0, len(points), 500):
        assert store.add(points[start : start + 500]).rejections == []
        archive.append(records[start : start + 500])
    entry = quarantine(LINES[0].agent)
    table.add(entry)
    archive.append([ArchiveRecord(int(entry.at.timestamp() * 1000), "", msgspec.json.encode(entry))])
    entries, now = table.current().entries, utc_now()
    close_month(closed, counted, at.registry, TARGETS, entries, CLOSED, "test", now, archive=archive)
    rollups.on_stored(points)
    settle(rollups, utc_now())
    for part in (store, table, closed):
        part.close()
