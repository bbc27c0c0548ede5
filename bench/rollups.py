"""What rolling up a province costs: 4,000 lines (2,000 units with a fixed and a mobile one) in a real influxd, a day of
latency every five minutes and of downloads, as units send them.

Each figure is of one step of the roller: an hour and a day of all lines, an hour of one late unit, the comparison of a
day's numbers, the months of some units; beside them what is written every minute. What counts on a machine that does
other things too is the processor's time, of the collector and of the database.
"""

import datetime as dt
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.runs import write
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates
from collector.judge.line_tracker import LOOK_BACK
from collector.rollups.aggregate import day_of, hour_of
from collector.rollups.months import write_months
from collector.rollups.rollups import Rollups
from collector.state_points.state_points import StatePoints
from collector.store.influx import InfluxStore
from tests.support.services import InfluxV2
from xomnet.contract.messages import Access
from xomnet.plan import tests_a_day
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.clock import utc_now
from xomnet.targets import Target, Targets

UNITS, AREAS = 2000, 100
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
ISPS = ("VNPT", "Viettel", "FPT")
DATABASE = "xomnet"


@dataclass(frozen=True)
class Cost:
    step: str
    seconds: float
    collector_cpu_s: float
    influxd_cpu_s: float


def registry() -> Registry:
    accesses: tuple[tuple[str, Access], ...] = (("ftth", "fixed"), ("4g", "mobile"))
    rows = [
        LineRow(f"nd-{n:04}", line, access, f"Xóm {n}", area(n), ISPS[n % 3], from_=dt.date(2024, 1, 1))
        for n in range(UNITS)
        for line, access in accesses
    ]
    day = dt.date(2024, 1, 1)
    targets = [Target(access="fixed", from_=day, down_mbps=150), Target(access="mobile", from_=day, down_mbps=70)]
    return Registry(rows, Targets(targets))


def area(n: int) -> str:
    return f"Nam Định/Huyện {n % 10}/Xã {n % AREAS}"


def fill(server: InfluxV2, book: Registry, since: dt.datetime) -> int:
    """A day's results, as line protocol; returns how many."""
    draw, count = random.Random(1), 0  # noqa: S311
    for row in book.current(since):
        words = {"agent": row.agent, "line": row.line, "access": row.access, "isp": row.isp}
        words |= {"hamlet": row.hamlet, "area": row.area}
        tags = ",".join(f"{name}={text.replace(' ', chr(92) + ' ')}" for name, text in sorted(words.items()))
        start, shift = int(since.timestamp()), draw.randrange(300)
        lines = [
            f"latency,{tags} sent=20i,received=20i,rtt_p50_ms={draw.uniform(5, 60):.2f}"
            f",rtt_p95_ms={draw.uniform(9, 90):.2f},jitter_ms=1.5,loss_percent=0"
            f',method="icmp",spool="s",seq={n}i,clock="synced"'
            f" {start + shift + 300 * n}000000000"
            for n in range(288)
        ]
        lines += [
            f'speed,{tags} down_mbps={draw.uniform(40, 300):.2f},bytes=40000000i,rtt_loaded_ms=60.5,engine="http"'
            f',server="s",spool="s",seq={n}i,clock="synced" {start + shift + 10000 * (n + 1)}000000000'
            for n in range(tests_a_day(row.access))
        ]
        if row.access == "fixed":
            unit = ",".join(part for part in tags.split(",") if part.startswith(("agent=", "area=", "hamlet=")))
            lines += [
                f'health,{unit} version="1",cpu_percent=3,mem_used_percent=20,disk_free_bytes=9i,uptime_s=9'
                f',spool_depth=0i,clock_synced=true,spool="s",seq={n}i {start + shift + 300 * n}000000000'
                for n in range(288)
            ]
        count += len(lines)
        server.write(DATABASE, "\n".join(lines))
    return count


def timed(step: str, work: Callable[[], object], influxd: psutil.Process) -> Cost:
    def clocks() -> tuple[float, float, float]:
        return time.monotonic(), time.process_time(), sum(influxd.cpu_times()[:2])

    before = clocks()
    work()
    found = Cost(step, *(round(b - a, 2) for a, b in zip(before, clocks(), strict=True)))
    print(found, flush=True)
    return found


def measured() -> tuple[int, list[Cost]]:
    book = registry()
    now = utc_now()
    day = day_of(now - DAY, book.zone)
    noon = hour_of(day.since + 12 * HOUR)
    with tempfile.TemporaryDirectory() as folder, InfluxV2(Path(folder) / "influx") as server:
        server.create(DATABASE)
        results = fill(server, book, day.since)
        store = InfluxStore(server.url, "any", DATABASE, timeout_s=60)
        roller = Rollups(store, lambda: book, sweep_days=0)

        def roll(*marks: tuple[object, object]) -> None:
            roller._dirty = dict(marks)  # type: ignore[arg-type]
            while roller._dirty:
                roller._write_buckets(list(roller._dirty))

        minute = StatePoints(store, lambda: book, list, lambda: None)
        states = LineStates(store, lambda: book, JudgingRules(), point_sources=(minute,))
        steps: dict[str, Callable[[], object]] = {
            "an hour, all lines": lambda: roll((noon, None)),
            "that hour again": lambda: roll((noon, None)),
            "a day, all lines": lambda: roll((day, None)),
            "an hour, one late unit": lambda: roll((noon, {"nd-0001"})),
            "a day, one late unit": lambda: roll((day, {"nd-0001"})),
            "a day's numbers compared": lambda: roller._compare(day),
            "months of 10 units": lambda: next(write_months(store, book, day.until, None)),
            "an hour's latency, all lines": lambda: store.figures.latency(noon.since, noon.until),
            "the health of all units": lambda: store.health(now - LOOK_BACK),
            "a minute's points, without that": lambda: states.take(utc_now()),
        }
        influxd = psutil.Process(server.pid)
        costs = [timed(step, work, influxd) for step, work in steps.items()]
        store.close()
    return results, costs


def main() -> int:
    """Writes `bench/results/rollups.*`."""
    results, costs = measured()
    table = ["| step | s | CPU s, collector | CPU s, influxd |", "|---|---|---|---|"]
    table += [
        f"| {one.step} | {one.seconds:.2f} | {one.collector_cpu_s:.2f} | {one.influxd_cpu_s:.2f} |" for one in costs
    ]
    text = [f"{2 * UNITS} lines, {results} results of a day in influxd 1.6.7, on one machine.", "", *table]
    write("rollups", {"results": results, "costs": [asdict(one) for one in costs]}, "\n".join(text))
    return 0
