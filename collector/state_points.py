"""What is written every minute beside the states of the lines: places, units, the collector itself, and what a line's
last hour of latency says. Pure functions, and one that asks the others.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from collector.completeness.completeness import Found
from collector.completeness.reconcile import NOTHING, Counts
from collector.ingest.presence import Presence
from collector.judge.assess import Judgement
from collector.judge.line_states import Snapshot
from collector.judge.line_tracker import LOOK_BACK
from collector.rollups.aggregate import by_place
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.row_types import HealthRow, LatencyFigures
from xomnet.registry.registry import LineRow, Registry
from xomnet.states import STATES, State

LATENCY_WINDOW = dt.timedelta(hours=1)
LATENCY_EVERY = dt.timedelta(minutes=5)
"""As often as units probe: in between the figures of the last time stand."""
FEWEST_PROBES = 3
"""Of an hour's twelve: one probe that lost three of ten echoes says nothing of an hour."""

JUDGED: frozenset[State] = frozenset({"meeting", "short"})

HEALTH_AGE = dt.timedelta(minutes=15)
"""Three times the interval of a unit."""
HOT_C = 80.0
"""Where a Raspberry Pi begins to slow down."""
FULL_DISK_BYTES = 200_000_000
"""Less free than twice a spool of the usual size."""
FULL_SPOOL = 100_000
"""Results; more than half of what a spool of the usual size holds, four months of being cut off."""
UNDER_VOLTAGE, SLOWED = 0b0001, 0b1110
"""Bits of `Health.throttled` that are of now."""


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """Above them a line's latency or loss of the last hour is bad."""

    latency_ms: float = 100.0
    loss_percent: float = 2.0


def latency_fields(latency: LatencyFigures, limits: LatencyLimits) -> dict[str, Value]:
    """The fields of `line_state` that tell of the last hour; those that nothing is known of are absent."""
    fields: dict[str, Value] = {}
    enough = latency.probes >= FEWEST_PROBES
    if latency.rtt_p50_ms is not None:
        fields["rtt_ms"] = float(latency.rtt_p50_ms)
        if enough:
            fields["latency_bad"] = int(latency.rtt_p50_ms > limits.latency_ms)
    if latency.loss_percent is not None:
        fields["loss_percent"] = latency.loss_percent
        if enough:
            fields["loss_bad"] = int(latency.loss_percent > limits.loss_percent)
    return fields


def place_state_points(snapshot: Snapshot) -> list[Point]:
    """Of every place and access that has a line."""
    lines = ((status.row, status.judgement) for status in snapshot.lines)
    return [
        Point("place_state", tags, place_state_fields(members), time_ns(snapshot.at))
        for tags, members in by_place(lines)
    ]


def place_state_fields(judgements: Sequence[Judgement]) -> dict[str, Value]:
    count: dict[str, Value] = {state: sum(one.state == state for one in judgements) for state in STATES}
    judged = [one for one in judgements if one.state in JUDGED]
    fields: dict[str, Value] = {"lines": len(judgements), **count}
    if judged:
        fields["share"] = sum(one.state == "meeting" for one in judged) / len(judged)
    if ratios := [one.ratio for one in judged if one.ratio is not None]:
        fields["ratio"] = median(ratios)
    return fields


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """A registered unit and what is known of it at an instant; None where nothing is."""

    row: LineRow
    at: dt.datetime
    seen: Presence | None = None
    health: HealthRow | None = None
    tally: Counts = NOTHING
    """Of what its manifests promised in 30 days."""

    @property
    def online(self) -> bool:
        """What the broker said; before it said anything, whether the unit was heard lately."""
        return self.seen.online if self.seen is not None else self.heard

    @property
    def heard(self) -> bool:
        return self.health is not None and self.at - self.health.at <= HEALTH_AGE

    @property
    def problem(self) -> str | None:
        """The first of what is wrong, a word: what must be mended before the next can be known comes first."""
        if not self.online:
            return "offline"
        if self.health is None or not self.heard:
            return "no_health"
        bits, temperature = self.health.throttled or 0, self.health.temp_c
        found = {
            "under_voltage": bool(bits & UNDER_VOLTAGE),
            "hot": temperature is not None and temperature >= HOT_C,
            "throttled": bool(bits & SLOWED),
            "disk_full": self.health.disk_free_bytes < FULL_DISK_BYTES,
            "clock": not self.health.clock_synced,
            "spool_full": self.health.spool_depth >= FULL_SPOOL,
            "completeness": self.tally.missing > 0,
        }
        return next((word for word, wrong in found.items() if wrong), None)


PROBLEMS = (
    *("offline", "no_health", "under_voltage", "hot", "throttled"),
    *("disk_full", "clock", "spool_full", "completeness"),
)
"""Every word that `unit_state` may say."""


def unit_state_point(unit: UnitStatus) -> Point:
    health, problem = unit.health, unit.problem
    fields: dict[str, Value | None] = {
        "online": int(unit.online),
        "unhealthy": int(problem is not None),
        "problem": problem,
        "version": unit.seen.version if unit.seen is not None else None,
        "completeness": unit.tally.ratio,
        "lat": unit.row.lat,
        "lon": unit.row.lon,
    }
    if health is not None:
        fields |= {
            "version": health.version,
            "age_s": (unit.at - health.at).total_seconds(),
            "temp_c": health.temp_c,
            "throttled": health.throttled,
            "clock_synced": int(health.clock_synced),
            "disk_free_bytes": health.disk_free_bytes,
            "spool_depth": health.spool_depth,
        }
    known = {name: value for name, value in fields.items() if value is not None}
    return Point("unit_state", tags_of(unit.row, None), known, time_ns(unit.at))


def units_of(
    rows: Iterable[LineRow],
    at: dt.datetime,
    seen: Iterable[Presence],
    health: Mapping[str, HealthRow],
    found: Found | None,
) -> list[UnitStatus]:
    """A unit for each agent of some rows; the first of its rows says where it stands."""
    first: dict[str, LineRow] = {}
    for row in rows:
        first.setdefault(row.agent, row)
    last_seen = {one.agent: one for one in seen}
    tallies: dict[str, Counts] = {}
    for (agent, _), one in () if found is None else found.lines.items():
        tallies[agent] = tallies.get(agent, NOTHING) + one.tally
    return [
        UnitStatus(row, at, last_seen.get(agent), health.get(agent), tallies.get(agent, NOTHING))
        for agent, row in first.items()
    ]


def collector_state_point(snapshot: Snapshot, units: Sequence[UnitStatus]) -> Point:
    online = sum(unit.online for unit in units)
    fields: dict[str, Value] = {"up": 1, "lines": len(snapshot.lines), "units": len(units), "units_online": online}
    return Point("collector_state", {}, fields, time_ns(snapshot.at))


class StatePoints:
    """Asks store, broker and completeness, once a snapshot; `LineStates` writes what it gives."""

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        agents: Callable[[], Iterable[Presence]],
        completeness: Callable[[], Found | None],
        limits: LatencyLimits = LatencyLimits(),  # frozen
    ) -> None:
        self._store, self._registry, self._agents, self._completeness = store, registry, agents, completeness
        self._limits = limits
        self._latency_at: dt.datetime | None = None
        self._latency: dict[LineId, LatencyFigures] = {}

    def line_fields(self, snapshot: Snapshot) -> dict[LineId, dict[str, Value]]:
        """What the last hour of latency says of each line. Raises StoreUnavailable."""
        if self._latency_at is None or snapshot.at >= self._latency_at + LATENCY_EVERY:
            self._latency = self._store.figures.latency(snapshot.at - LATENCY_WINDOW, snapshot.at)
            self._latency_at = snapshot.at
        return {line: latency_fields(one, self._limits) for line, one in self._latency.items()}

    def points(self, snapshot: Snapshot) -> list[Point]:
        """Places, units, collector. Raises StoreUnavailable."""
        units = units_of(
            self._registry().current(snapshot.at),
            snapshot.at,
            self._agents(),
            self._store.health(snapshot.at - LOOK_BACK),
            self._completeness(),
        )
        return [
            *place_state_points(snapshot),
            *map(unit_state_point, units),
            collector_state_point(snapshot, units),
        ]
