"""How long Grafana's queries take on a year of 4,000 lines: each panel's and each rule's, one after the other.

Beside a year of roll-ups (days of lines: two months of all, a year of every tenth unit, since no panel reads more) the
database holds what a minute writes: half an hour of everything, a day of the province, seven days of the one line whose
dashboard is opened. Ranges are those of the panels, a year where a panel has none. The bar is a second, of the
database's answer alone: Grafana's own work and the way to it come on top. On a machine that does other things too the
processor's time of the database is what to look at.
"""

import datetime as dt
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import yaml

from bench.runs import write
from collector.judge.verdict import VERDICTS, Month
from collector.rollups.aggregate import by_place, day_of
from collector.store.points import time_ns
from grafana.files import DASHBOARDS, FOLDER, dashboard
from tests.grafana.expand import Span, alls, expand, span
from tests.support.services import Influx
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import LineRow
from xomnet.states import CODES, STATES, State

UNITS, AREAS, DAYS = 2000, 100, 365
RECENT_DAYS, TENTH, MINUTES = 62, 10, 30
ISPS = ("VNPT", "Viettel", "FPT")
STATE_OF: tuple[State, ...] = ("short", "silent", "no_data", "uncertain", "meeting", "meeting", "meeting", "meeting")
DATABASE = "xomnet"
BAR_S = 1.0
TRIES = 3
BATCH = 5_000
REFUSALS = 20
ZONE = ZoneInfo(PROVINCE_TIME)
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)


@dataclass(frozen=True)
class Took:
    """The median of some tries."""

    dashboard: str
    panel: str
    query: str
    seconds: float
    worst_s: float
    influxd_cpu_s: float
    answer_bytes: int


def rows() -> list[LineRow]:
    day = dt.date(2024, 1, 1)
    return [
        LineRow(f"nd-{n:04}", line, access, f"Xóm {n}", f"Nam Định/Huyện {n % 10}/Xã {n % AREAS}", isp, from_=day)  # type: ignore[arg-type]
        for n in range(UNITS)
        for line, access, isp in (("ftth", "fixed", ISPS[n % 3]), ("4g", "mobile", ISPS[(n + 1) % 3]))
    ]


def _tags(row: LineRow, unit: bool = False) -> str:
    def escaped(text: str) -> str:
        return text.replace(" ", "\\ ")

    of_unit = f",agent={row.agent},hamlet={escaped(row.hamlet)},area={escaped(row.area)}"
    return of_unit if unit else f"{of_unit},line={row.line},access={row.access},isp={row.isp}"


def lines(now: dt.datetime) -> Iterator[str]:
    """Line protocol of everything."""
    dice = random.Random(3)  # noqa: S311
    all_rows = rows()
    tags = [_tags(row) for row in all_rows]
    places = [
        "".join(f",{name}=" + value.replace(" ", "\\ ") for name, value in of.items())
        for of, _ in by_place((row, row) for row in all_rows)
    ]
    yield from _of_days(now, tags, places, dice)
    yield from _of_months(now, tags, places, dice)
    yield from _of_minutes(now, all_rows, tags, places, dice)
    yield from _of_the_line(now, tags[1], dice)


def _of_days(now: dt.datetime, tags: list[str], places: list[str], dice: random.Random) -> Iterator[str]:
    for ago in range(DAYS):
        at = time_ns(day_of(now - ago * DAY, ZONE).since)
        for one in tags if ago < RECENT_DAYS else tags[:: 2 * TENTH] + tags[1 :: 2 * TENTH]:
            median = dice.uniform(60, 300)
            figures = f"median_mbps={median:.1f},p5_mbps={median / 2:.1f},p95_mbps={median * 1.2:.1f}"
            yield f"line_day{one} {figures},target_mbps=150,ratio={median / 150:.3f},tests=6i,bytes=240000000i {at}"
        for one in places:
            yield f"place_day{one} share={dice.random():.3f},ratio={dice.uniform(0.7, 1.5):.3f},lines=40i {at}"


def _of_months(now: dt.datetime, tags: list[str], places: list[str], dice: random.Random) -> Iterator[str]:
    month = Month.of(now)
    for _ in range(12):
        at = time_ns(month.since())
        for one in tags:
            figures = "low_mbps=120,high_mbps=180,median_mbps=150,target_mbps=150,consistency=0.9"
            code = dice.randrange(len(VERDICTS))
            counts = f"verdict_code={code}i,samples=120i,days=28i,peak_samples=60i,failed=1i"
            yield f"line_month{one} {figures},ratio={dice.random():.3f},{counts} {at}"
        for one in places:
            yield f"place_month{one} share={dice.random():.3f},lines=40i {at}"
        month = month.previous


def _of_minutes(
    now: dt.datetime, all_rows: list[LineRow], tags: list[str], places: list[str], dice: random.Random
) -> Iterator[str]:
    units = [_tags(row, unit=True) for row in all_rows[::2]]
    for ago in range(MINUTES):
        at = time_ns(now - ago * MINUTE)
        for i, one in enumerate(tags):
            code = CODES[dice.choice(STATE_OF)]
            figures = f"median_mbps=150.5,low_mbps=140,high_mbps=160,target_mbps=150,ratio={dice.random():.3f}"
            counts = (
                f"state_code={code}i,samples=20i,failed=0i,maintenance=0i,acknowledged=0i,latency_bad=0i,loss_bad=0i"
            )
            yield (
                f"line_state{one} {figures},{counts},age_s={dice.random():.2f},since_s=5,rtt_ms=20,loss_percent=0"
                f",lat={20 + i / 4000:.4f},lon={106 + i / 4000:.4f} {at}"
            )
        for one in units:
            figures = 'online=1i,unhealthy=0i,version="1.0.0",age_s=5,temp_c=50,throttled=0i,clock_synced=1i'
            yield f"unit_state{one} {figures},disk_free_bytes=1i,spool_depth=0i,completeness=1 {at}"
        if ago % 10 == 0:
            for one in tags:
                yield f"completeness{one} expected=9000i,stored=9000i,missing=0i,evicted=0i,rejected=0i,ratio=1 {at}"
    counts = ",".join(f"{state}=5i" for state in STATES)
    for ago in range(1440):
        at = time_ns(now - ago * MINUTE)
        for one in places if ago < MINUTES else [one for one in places if "scope=all" in one]:
            yield f"place_state{one} lines=40i,{counts} {at}"
        yield f"collector_state up=1i,units={UNITS}i,units_online={UNITS}i {at}"


def _of_the_line(now: dt.datetime, tags: str, dice: random.Random) -> Iterator[str]:
    for ago in range(MINUTES, 7 * 1440):
        at = time_ns(now - ago * MINUTE)
        figures = "median_mbps=80,low_mbps=75,high_mbps=85,target_mbps=70"
        yield f"line_state{tags} state_code={CODES['meeting']}i,{figures} {at}"
    for n in range(7 * 288):
        at = time_ns(now - n * 5 * MINUTE)
        yield f"latency{tags} seq={n}i,sent=20i,received=20i,rtt_p50_ms=20,rtt_p95_ms=30 {at}"
    for n in range(7 * 8):
        at = time_ns(now - n * dt.timedelta(hours=3))
        figures = (
            f"down_mbps={dice.uniform(50, 90):.1f},rtt_loaded_ms=80,rtt_idle_ms=20,radio_rsrp_dbm=-100,radio_sinr_db=3"
        )
        yield f'speed{tags} seq={n}i,{figures},bytes=40000000i,budget_used_bytes=1i,budget_bytes=5i,server="s" {at}'


def _filled(influx: Influx, now: dt.datetime) -> int:
    influx.create(DATABASE)
    written, batch = 0, []
    for line in lines(now):
        batch.append(line)
        if len(batch) == BATCH:
            _written(influx, batch)
            written, batch = written + len(batch), []
    _written(influx, batch)
    return written + len(batch)


def _written(influx: Influx, batch: list[str]) -> None:
    """Writes again what a busy database gave up on. Raises RuntimeError where that goes on."""
    for left in reversed(range(REFUSALS)):
        try:
            influx.write(DATABASE, "\n".join(batch))
        except (RuntimeError, TimeoutError):
            if not left:
                raise
            time.sleep(1)
        else:
            return


def _took(influx: Influx, where: tuple[str, str, str], query: str) -> Took:
    seconds, size = [], 0
    before = _cpu_s(influx)
    for _ in range(TRIES):
        start = time.perf_counter()
        size = len(influx.query(query, DATABASE))
        seconds.append(time.perf_counter() - start)
    cpu_s = (_cpu_s(influx) - before) / TRIES
    return Took(*where, round(statistics.median(seconds), 3), round(max(seconds), 3), round(cpu_s, 3), size)


def _cpu_s(influx: Influx) -> float:
    times = psutil.Process(influx.pid).cpu_times()
    return float(times.user + times.system)


def _asked(now: dt.datetime) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Where a query is from, and the query as the database gets it."""
    line = {"agent": ["nd-0000"], "line": ["4g"]}
    year, month = span(f"{DAYS}d", now), Month.of(now).previous
    whole_month = Span(month.since(), month.until() - dt.timedelta(milliseconds=1))
    for key in DASHBOARDS:
        board = dashboard(key, "en")
        for panel in board["panels"]:
            wide = whole_month if key == "report" else year
            when = span(panel["timeFrom"], now) if "timeFrom" in panel else wide
            for target in panel["targets"]:
                yield (key, panel["title"], target["refId"]), expand(target["query"], line, alls(board), when)
    for rule in yaml.safe_load((FOLDER / "provisioning/alerting/rules.yaml").read_text())["groups"][0]["rules"]:
        for node in (node for node in rule["data"] if "query" in node["model"]):
            since = now - dt.timedelta(seconds=node["relativeTimeRange"]["from"])
            yield ("alert rules", rule["uid"], node["refId"]), expand(node["model"]["query"], {}, {}, Span(since, now))


def _text(found: list[Took], points: int, filled_s: float, load: float) -> str:
    kept = sum(one.seconds <= BAR_S for one in found)
    within = sum(one.influxd_cpu_s <= BAR_S for one in found)
    table = "\n".join(
        f"| {one.dashboard} | {one.panel} | {one.query} | {one.seconds:.3f} | {one.worst_s:.3f} |"
        f" {one.influxd_cpu_s:.3f} | {one.answer_bytes / 1000:.0f} |"
        for one in sorted(found, key=lambda one: -one.seconds)
    )
    return f"""# Grafana's queries on a year of 4,000 lines

`python -m bench dashboards`: influxd 1.6.7, {points:,} points ({filled_s:.0f} s to write), {UNITS:,} units, {AREAS}
communes in 10 districts, {DAYS} days; each query {TRIES} times, one after the other. The bar is {BAR_S:g} s:
{kept} of {len(found)} queries keep it by the clock (load of the machine: {load:.1f} on {os.cpu_count()} cores),
{within} by the processor's time that the database took, which the clock of a quiet machine does not exceed.

| dashboard | panel | query | median, s | worst, s | influxd's CPU, s | answer, kB |
|---|---|---|---|---|---|---|
{table}
"""


def main(*_: str) -> int:
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as folder, Influx(Path(folder)) as influx:
        start = time.perf_counter()
        points = _filled(influx, now)
        filled_s = time.perf_counter() - start
        print(f"{points:,} points in {filled_s:.0f} s", flush=True)
        found = [_took(influx, where, query) for where, query in _asked(now)]
    load = os.getloadavg()[1]
    text = _text(found, points, filled_s, load)
    answers: dict[str, Any] = {
        "points": points,
        "bar_s": BAR_S,
        "load": load,
        "queries": [asdict(one) for one in found],
    }
    write("dashboards", answers, text)
    print(text)
    return int(any(one.influxd_cpu_s > BAR_S for one in found))
