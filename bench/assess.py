"""What judging a province every minute takes: `python -m bench assess`, 10,000 lines on either store.

36 days of downloads, four a day, and the last hour of latency. Timed are the first look, which reads everything, and
minutes after it: what 10,000 lines store in a minute, all lines judged, their `line_state` made. Then the first look of
a process that finds what the one before has kept. Beside the seconds stands the processor's time of the collector,
which other load does not lengthen.
"""

import datetime as dt
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.runs import write
from collector.judge.assess import JudgingRules
from collector.judge.line_states import line_state_points, take_snapshot
from collector.judge.line_tracker import LineTracker
from collector.store import Store
from collector.store.influx import InfluxStore
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.sqlite import SqliteStore
from tests.support.services import InfluxV2
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

LINES, DAYS, MINUTES, BATCH = 10_000, 36, 6, 20_000
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
MINUTE = dt.timedelta(minutes=1)
DAY_ONE = dt.date(2024, 1, 1)


@dataclass(frozen=True)
class Cost:
    store: str
    step: str
    seconds: float
    collector_cpu_s: float


def registry() -> Registry:
    targets = [
        Target(access="fixed", from_=DAY_ONE, down_mbps=150),
        Target(access="mobile", from_=DAY_ONE, down_mbps=70),
    ]
    place = ("Xóm 5", "Nam Định/Hải Hậu/Hải Minh", "VNPT")
    rows = [LineRow(f"nd-{n // 2:05}", ("ftth", "4g")[n % 2], ("fixed", "mobile")[n % 2], *place, from_=DAY_ONE)
            for n in range(LINES)]  # fmt: skip
    return Registry(rows, Targets(targets))


def tests(rows: Sequence[LineRow], since: dt.datetime, until: dt.datetime) -> Iterator[Point]:
    """Four downloads a day of each line, the latency of each five minutes in the last hour."""
    draw = random.Random(1)  # noqa: S311  # a simulation
    for number, row in enumerate(rows):
        tags = tags_of(row, row.line)
        level = draw.uniform(60, 300)
        at, seq = since + dt.timedelta(hours=6 * draw.random()), 0
        while at < until:
            seq += 1
            mbps = round(level * draw.lognormvariate(0, 0.3), 2)
            yield Point(
                "speed", tags, _fields(number, seq, down_mbps=mbps, engine="http", server="s"), time_ns(at, seq)
            )
            at += dt.timedelta(hours=6)
        for minutes in range(0, 60, 5):
            seq += 1
            at = until - minutes * MINUTE - dt.timedelta(seconds=number % 300)
            fields = _fields(number, seq, method="icmp", sent=20, received=20, loss_percent=0.0, rtt_p50_ms=9.5)
            yield Point("latency", tags, fields, time_ns(at, seq))


def _fields(number: int, seq: int, **more: Value) -> dict[str, Value]:
    return {"spool": f"s{number}", "seq": seq, "clock": "synced", **more}


def fill(store: Store, points: Iterator[Point]) -> None:
    batch: list[Point] = []
    for point in points:
        batch.append(point)
        if len(batch) == BATCH:
            assert store.write(batch) == []
            batch.clear()
    assert store.write(batch) == []


def measured(name: str, store: Store, kept: Path) -> list[Cost]:
    book, rules = registry(), JudgingRules()
    rows = book.current(NOW)
    fill(store, tests(rows, NOW - dt.timedelta(days=DAYS), NOW))
    tracker, costs = LineTracker(store, rules, kept), []

    def look(step: str, now: dt.datetime) -> list[Point]:
        wall, cpu = time.monotonic(), time.process_time()
        points = line_state_points(take_snapshot(store, book, rules, now, tracker))
        costs.append(Cost(name, step, time.monotonic() - wall, time.process_time() - cpu))
        print(costs[-1], flush=True)
        assert len(points) == LINES
        return points

    look("the first look, all that is stored", NOW)
    for minute in range(1, MINUTES + 1):
        now = NOW + minute * MINUTE
        some = rows[minute * 28 : minute * 28 + 28]  # 40,000 tests a day
        new = list(tests(some, now - MINUTE, now))
        store.write(new)
        tracker.on_stored(new)
        points = look(f"minute {minute}", now)
    wall, cpu = time.monotonic(), time.process_time()
    store.write(points)
    costs.append(Cost(name, "writing its line_state", time.monotonic() - wall, time.process_time() - cpu))
    tracker.save_checkpoint(now)
    tracker = LineTracker(store, rules, kept)
    look("the first look after a restart", now + MINUTE)
    return costs


def main(*_: str) -> int:
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder:
        sqlite = SqliteStore(Path(folder) / "store.db")
        costs += measured("SQLite", sqlite, Path(folder) / "courses.json")
        sqlite.close()
    with tempfile.TemporaryDirectory() as folder, InfluxV2(Path(folder)) as server:
        server.create("xomnet")
        influx = InfluxStore(server.url, "any", "xomnet", timeout_s=120)
        costs += measured("influxd 1.6.7", influx, Path(folder) / "courses.json")
        influx.close()
    lines = ["# Judging 10,000 lines", "", "Written by `python -m bench assess`.", ""]
    lines += ["| store | step | seconds | of them the collector's processor time |", "|---|---|---|---|"]
    lines += [f"| {c.store} | {c.step} | {c.seconds:.2f} | {c.collector_cpu_s:.2f} |" for c in costs]
    worst = max(cost.seconds for cost in costs if cost.step.startswith("minute"))
    lines += ["", f"The slowest minute took {worst:.2f} s; it is to take less than 5 s.", ""]
    write("assess", [asdict(cost) for cost in costs], "\n".join(lines))
    return 0
