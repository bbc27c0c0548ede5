"""What `xomnet replay` costs: the archive of a province's days into an empty influxd, two cores for both.

`--lines=2000 --days=30` is the month of a province, 26 million results; without options it is a twentieth of the lines.
The database of before is SQLite, filled and rolled up as a collector does. Afterwards every roll-up and verdict of both
is compared, field by field.
"""

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from bench.runs import write
from collector.archive.files import LOG, days_of
from collector.archive.files import day_of as day_name
from collector.archive.reader import read_records
from collector.archive.replay import point_of_record
from collector.archive.sealing import seal
from collector.archive.writer import Archive
from collector.judge.verdict import Month, line_verdict
from collector.rollups.aggregate import day_of
from collector.rollups.months import write_some_months
from collector.rollups.rollups import Rollups
from collector.store import Store
from collector.store.derived_schemas import ROLLED
from collector.store.factory import open_store
from collector.store.line_id import LineId
from collector.store.points import Point
from collector.store.sqlite import SqliteStore
from tests.support.deployment import DATABASE, made
from tests.support.influx import influx_v2
from tests.support.province_messages import province_day
from tests.support.rebuilt import Deployment
from xomnet.registry.registry import Registry
from xomnet.runtime.clock import utc_now

LINES, DAYS = 100, 30
APPENDED = 1000
MB = 2**20
PROVINCE = 26_000_000
"""Results of 2,000 lines in a month."""
BAR_MINUTES, BAR_MB = 45, 300


@dataclass(frozen=True)
class ReplayCost:
    lines: int
    days: int
    results: int
    archive_mb: float
    seconds: float
    results_s: float
    """Until the last result was in the database; the rest is days and months."""
    replay_cpu_s: float
    influxd_cpu_s: float
    replay_rss_mb: float
    """Of all its processes together, at most."""
    influxd_rss_mb: float
    compared: int
    """Points of roll-ups, and verdicts."""
    different: int
    load: float
    """Processes that wanted a processor, in the mean of five minutes: more than there are, and time says little."""

    @property
    def province_minutes(self) -> float:
        """Of the whole month of a province, if it takes as long a result as here."""
        return self.seconds / self.results * PROVINCE / 60

    @property
    def quiet_minutes(self) -> float:
        """The same on two cores that do nothing else: what both take of the processor, half of it on each."""
        return (self.replay_cpu_s + self.influxd_cpu_s) / 2 / self.results * PROVINCE / 60


def _month_before(days: int) -> list[dt.datetime]:
    """The first moments of the last whole month's days."""
    month = Month.of(utc_now()).previous
    return [month.since().astimezone(dt.UTC) + n * dt.timedelta(days=1) for n in range(min(days, month.days))]


def _archive_day(folder: Path, units: int, begin: dt.datetime) -> None:
    """As the collector left it: a sealed day."""
    archive = Archive(folder, lambda: begin + dt.timedelta(hours=12))
    records = province_day(units, begin, seed=begin.day)
    while some := list(islice(records, APPENDED)):
        archive.append(some)
    while seal(folder, day_name(begin)) is None:  # one day at a time
        time.sleep(0.2)


def _fill_original(store: Store, registry: Registry, folder: Path, begins: list[dt.datetime]) -> int:
    """Stores each result as at its receipt, and rolls up; returns how many there are."""
    count, waiting = 0, list[Point]()
    for block in read_records(folder):
        for record in block:
            point = point_of_record(record, registry)
            assert isinstance(point, Point), point
            waiting.append(point)
        if len(waiting) > 20_000:
            store.add(waiting)
            count, waiting = count + len(waiting), []
    store.add(waiting)
    rollups, now = Rollups(store, lambda: registry), utc_now()
    for begin in begins:
        rollups.write_day(day_of(begin, registry.zone), now)
    months = sorted({Month.of(begin) for begin in begins})
    for _ in write_some_months(store, registry, months, now, None):
        pass
    return count + len(waiting)


def _compared(one: Store, other: Store, registry: Registry, begins: list[dt.datetime]) -> tuple[int, int]:
    """How many roll-ups and verdicts there are, and how many differ in any digit."""
    count = different = 0
    for begin in begins:
        span = (begin, begin + dt.timedelta(days=1))
        for measurement in ROLLED:
            ours, theirs = (
                {(p.time_ns, *sorted(p.tags.items())): p.fields for p in store.figures.points(measurement, *span)}
                for store in (one, other)
            )
            count += len(ours | theirs)
            different += sum(ours.get(key) != theirs.get(key) for key in ours | theirs)
    now = utc_now()
    for month in sorted({Month.of(begin) for begin in begins}):
        samples, of_other = (store.figures.downloads(month.since(), month.until()) for store in (one, other))
        for row in registry.rows_within(month.since(), month.until()):
            line = LineId.of(row)
            count += 1
            different += line_verdict(samples.get(line, []), row, registry, month, now) != line_verdict(
                of_other.get(line, []), row, registry, month, now
            )
    return count, different


def _run(deployment: Deployment, influxd: psutil.Process) -> tuple[dict[str, Any], float, float, float, float]:
    """The answer; CPU s of both; MB of both at most."""
    command = [sys.executable, "-m", "collector.archive.replay_command", "--config", str(deployment.config), "--json"]
    before, cpu = os.times(), sum(influxd.cpu_times()[:2])
    rss = influxd_rss = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                rss = max(rss, sum(one.memory_info().rss for one in [tree, *tree.children(recursive=True)]))
            influxd_rss = max(influxd_rss, influxd.memory_info().rss)
            time.sleep(0.5)
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
    after = os.times()
    ours = after.children_user + after.children_system - before.children_user - before.children_system
    return answer, ours, sum(influxd.cpu_times()[:2]) - cpu, rss / MB, influxd_rss / MB


def measured(lines: int, days: int) -> ReplayCost:
    units, begins = lines // 2, _month_before(days)
    with tempfile.TemporaryDirectory() as name, influx_v2(made(Path(name), "influx")) as server:
        folder = Path(name)
        archive = made(folder, "archive")
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(partial(_archive_day, archive, units), begins))
        assert days_of(archive, LOG) == []
        size = sum(path.stat().st_size for path in archive.iterdir())
        print(f"archive: {size / MB:.0f} MB", file=sys.stderr)
        target = Deployment(folder / "new", server, DATABASE, archive, units)
        original = SqliteStore(folder / "original.db", busy_s=60)
        results = _fill_original(original, target.registry, archive, begins)
        print(f"original: {results:,} results", file=sys.stderr)
        answer, ours, theirs, rss, influxd_rss = _run(target, psutil.Process(server.pid))
        assert (answer["added"], answer["refused"]) == (results, {}), answer
        new = open_store(target.settings)
        compared, different = _compared(original, new, target.registry, begins)
        new.close()
        original.close()
    return ReplayCost(
        lines=lines,
        days=len(begins),
        results=results,
        archive_mb=round(size / MB, 1),
        seconds=answer["seconds"],
        results_s=answer["results_s"],
        replay_cpu_s=round(ours, 1),
        influxd_cpu_s=round(theirs, 1),
        replay_rss_mb=round(rss, 1),
        influxd_rss_mb=round(influxd_rss, 1),
        compared=compared,
        different=different,
        load=round(os.getloadavg()[1], 1),
    )


def main(*options: str) -> int:
    """Writes `replay.json` and `replay.md`; 1 where any figure differs."""
    given = dict(option.split("=") for option in options if "=" in option)
    found = measured(int(given.get("--lines", LINES)), int(given.get("--days", DAYS)))
    text = report(found)
    write("replay", asdict(found), text)
    print(text)
    return 1 if found.different else 0


def report(found: ReplayCost) -> str:
    """The bars, in Markdown."""
    per = 1e6 / found.results
    return f"""\
The archive of {found.lines:,} lines and {found.days} days ({found.results:,} results, {found.archive_mb:.0f} MB) into
an empty influxd behind nginx, on one machine of {os.cpu_count()} cores (`python -m bench replay --lines={found.lines}
--days={found.days}`). Load average: {found.load}.

| | found | bar |
|---|---|---|
| all of it | {found.seconds:.0f} s, {found.results / found.seconds:,.0f} results a second | |
| … until the last result is in the database; then days and months | {found.results_s:.0f} s | |
| 2,000 lines and a month (26 million results), at that rate | {found.province_minutes:.0f} min | {BAR_MINUTES} min |
| … by the processor's time alone, shared by two quiet cores, the start of the processes included \
| {found.quiet_minutes:.0f} min | {BAR_MINUTES} min |
| memory of the replay's processes together, at most | {found.replay_rss_mb:.0f} MB | {BAR_MB} MB |
| CPU of the replay | {found.replay_cpu_s:.0f} s, {found.replay_cpu_s * per:.0f} µs a result | |
| CPU of influxd; its memory | {found.influxd_cpu_s:.0f} s, {found.influxd_cpu_s * per:.0f} µs a result; \
{found.influxd_rss_mb:.0f} MB | |
| roll-ups and verdicts that differ from those of the SQLite store of before, in any digit | {found.different} of \
{found.compared:,} | 0 |
"""
