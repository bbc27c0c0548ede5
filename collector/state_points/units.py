"""`unit_state`: whether each unit is online and healthy, and its first problem if it is not. Pure."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.completeness.completeness import CompletenessSnapshot
from collector.completeness.reconcile import NOTHING, Counts
from collector.ingest.presence import Presence
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.row_types import HealthRow
from xomnet.registry.registry import LineRow

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
        """The broker's last word; without one, whether the unit sent its health lately."""
        return self.seen.online if self.seen is not None else self.reports

    @property
    def reports(self) -> bool:
        return self.health is not None and self.at - self.health.at <= HEALTH_AGE

    @property
    def problem(self) -> str | None:
        """The first problem, a word of PROBLEMS, or None: a problem that hides others comes before them."""
        if not self.online:
            return "offline"
        if self.health is None or not self.reports:
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
"""Every word of the field `problem` of `unit_state`."""


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
    found: CompletenessSnapshot | None,
) -> list[UnitStatus]:
    """A unit for each agent of some rows, at the place of the first of its rows."""
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
