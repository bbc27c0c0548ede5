"""A unit's months, what a thief with its certificate sends, and every figure that people see, to compare them."""

import dataclasses
import datetime as dt
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from collector.completeness.completeness import Completeness
from collector.ingest.dead_letters import DeadLetters
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates, line_state_points
from collector.judge.verdict import Month, Verdict
from collector.metrics import Metrics
from collector.report.gather import gather
from collector.rollups.months import write_months
from collector.rollups.rollups import DAYS_EVERY, Rollups
from collector.store import Store
from collector.store.excluding_store import ExcludingStore
from collector.store.exclusion_table import ExclusionTable
from collector.store.line_id import LineId
from collector.store.points import Point, milliseconds, when
from collector.store.row_types import OutageTotal
from tests.support.rolled import everything, settle
from tests.support.stored import AGENT, LINE, event, health, latency, manifest, outage, registry, speed
from xomnet.targets import Target, Targets

NOW = dt.datetime(2026, 10, 14, 3, 20, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
MOBILE, UNIT, OTHER = LineId(AGENT, "4g"), LineId(AGENT, ""), LineId("nd-b-2", "ftth")
STOLEN = NOW - 10 * MINUTE
"""From then on everything that the unit sends is the thief's."""
UPGRADED = NOW - 60 * DAY
"""Points from before have no time of receipt."""
FIRST = NOW - 90 * DAY
ANOTHER_SPOOL = str(uuid.UUID(int=0xBAD))
TARGETS = Targets(
    [
        Target(access=access, from_=dt.date(2024, 10, 8), down_mbps=mbps)  # type: ignore[arg-type]
        for access, mbps in (("fixed", 150), ("mobile", 70))
    ]
)


def sent(point: Point, received: dt.datetime | None = None, late: bool = False, spool: str | None = None) -> Point:
    """A result as the intake stores it; `received` None: as 0.1.0 stored it."""
    more: dict[str, Any] = {} if received is None else {"received_ms": milliseconds(received)}
    more |= {"late": True} if late else {}
    more |= {} if spool is None else {"spool": spool}
    return dataclasses.replace(point, fields={**point.fields, **more})


def honest() -> list[Point]:
    """Every third day of three months: of each line two tests and two probes, some outages; the unit's health and
    receipts. Another unit's too.
    """
    points: list[Point] = []
    for line, middle in ((LINE, 140.0), (MOBILE, 90.0), (OTHER, 180.0)):
        for day in range(0, 90, 3):
            for hour in (2, 13):
                at, seq = FIRST + day * DAY + hour * HOUR, 20 * day + hour + 2000 * len(line.line)
                figure = middle + (7 * day + hour) % 23
                points.append(speed(at, seq, line, down_mbps=figure, bytes=10**6 + day, rtt_loaded_ms=20.0 + hour))
                points.append(latency(at, seq + 1, line, rtt_p50_ms=10.0 + day % 7, rtt_p95_ms=30.0, jitter_ms=1.25))
            if day % 9 == 0:
                points.append(outage(at, seq + 2, line, duration_s=61.7 + day))
    last = NOW - 5 * MINUTE - HOUR
    points += [speed(last, 9001, line, down_mbps=145.5) for line in (LINE, MOBILE, OTHER)]
    points.append(latency(last + MINUTE, 9002))
    points += [health(last - n * HOUR, 9003 - n, version="0.2.0", temp_c=50.0 + n) for n in range(3)]
    points.append(manifest(last, 9010, [9001, 9002], 9003, first=9001))
    received = (None if when(p.time_ns) < UPGRADED else when(p.time_ns) + MINUTE for p in points)
    return [sent(point, at) for point, at in zip(points, received, strict=True)]


def forged(spool: str | None = None, late: bool = False, seq: int = 50_000) -> list[Point]:
    """Three months of a line that is ten times as fast, never lost and cool: some at the very microseconds of the
    honest ones, all received after the theft.
    """
    points: list[Point] = []
    for line in (LINE, MOBILE):
        for n in range(15):
            day = 6 * n + n % 2
            at, seq = FIRST + day * DAY + 2 * HOUR, seq + 11
            points.append(speed(at, seq, line, down_mbps=950.0, bytes=10**8, rtt_loaded_ms=1.0))
            points.append(latency(at, seq + 1, line, rtt_p50_ms=0.5, rtt_p95_ms=0.75, jitter_ms=0.1))
            points.append(speed(at + 3 * HOUR, seq + 2, line, down_mbps=None, error="connect", flags=("link_down",)))
            if day % 12 == 0:
                points.append(outage(at, seq + 3, line, duration_s=7000.3))
    for n in range(14):
        at, seq = STOLEN - n * HOUR, seq + 11
        points.append(speed(at, seq, down_mbps=1.5))
        points.append(latency(at, seq + 1, rtt_p50_ms=900.0))
        points.append(health(at, seq + 2, version="9.9", temp_c=99.0))
    points.append(manifest(STOLEN, seq + 20, range(60_000, 60_900), 60_900, first=60_000))
    points.append(event(STOLEN, seq + 21, "evicted", UNIT, first_seq=9001, last_seq=9003))
    return [sent(point, STOLEN + MINUTE, late, spool) for point in points]


class Everybody(NamedTuple):
    """Every figure, without the numbers of what is left out."""

    rolled: dict[tuple[object, ...], Any]
    months: dict[tuple[object, ...], Any]
    judged: dict[LineId, Any]
    report: dict[LineId, Any]
    completeness: dict[LineId, Any]
    health: Any
    last: dict[LineId, dt.datetime]
    hour: Any


class Province:
    """The collector's parts around a store, as `collector.run` wires them."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.raw, self.table = store, ExclusionTable(folder / "record.db")
        self.store = ExcludingStore(store, self.table.current)
        self.lines = LineStates(
            self.store, registry, JudgingRules(), checkpoint=folder / "courses.json", exclusions=self.table.current
        )
        self.rollups = Rollups(self.store, registry, sweep_days=100, exclusions=self.table)
        dead = DeadLetters(folder / "dead-letters.jsonl")
        self.completeness = Completeness(self.store, registry, dead, Metrics(), exclusions=self.table.current)

    def night(self) -> None:
        """Writes all months, those of the summer as in their time."""
        for now in (NOW - 40 * DAY, NOW):
            for _ in write_months(self.store, registry(), now, None):
                pass

    def receive(self, points: list[Point]) -> None:
        assert self.raw.write(points) == []
        for part in (self.lines, self.completeness, self.rollups):
            part.on_stored(points)

    def settle(self) -> None:
        """Until every part has done its work: rounds later, of which none changes what `now` is for people."""
        for n in range(DAYS_EVERY):
            settle(self.rollups, NOW + n % 2 * 10 * MINUTE)
        while self.completeness.step(NOW):
            pass

    def figures(self) -> Everybody:
        self.settle()
        snapshot = self.lines.take(NOW)
        states = {LineId(p.tags["agent"], p.tags["line"]): p.fields for p in line_state_points(snapshot)}
        months: dict[tuple[object, ...], Any] = {}
        for measurement in ("line_month", "place_month"):
            for one in self.raw.figures.points(measurement, FIRST - 60 * DAY, NOW + DAY):
                months[measurement, one.time_ns, *sorted(one.tags.items())] = _without(one.fields)
        report = gather(self.store, registry(), TARGETS, Month(2026, 9), None, NOW)
        assert self.completeness.latest is not None
        return Everybody(
            {key: _without(fields) for key, fields in everything(self.raw, FIRST - DAY, NOW + DAY).items()},
            months,
            {line.id: (line.judgement, _without(states[line.id])) for line in snapshot.lines},
            {
                LineId.of(one.row): dataclasses.replace(
                    one, verdict=_bare(one.verdict), before=one.before and _bare(one.before)
                )
                for one in report.lines
            },
            self.completeness.latest.lines,
            self.store.health(NOW - 35 * DAY),
            self.store.last_results(NOW - 35 * DAY),
            {
                line: one._replace(excluded=0) if isinstance(one, OutageTotal) else structs.replace(one, excluded=0)
                for found in (self.store.figures.latency(NOW - DAY, NOW), self.store.figures.outages(FIRST, NOW))
                for line, one in found.items()
                if getattr(one, "probes", 1)
            },
        )


def _without(fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "excluded"}


def _bare(verdict: Verdict) -> Verdict:
    return dataclasses.replace(verdict, excluded=0, excluded_for=())
