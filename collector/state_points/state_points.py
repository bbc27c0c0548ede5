"""Collects the points of every minute from the store, the broker and completeness."""

import datetime as dt
from collections.abc import Callable, Iterable

from collector.completeness.completeness import CompletenessSnapshot
from collector.ingest.presence import Presence
from collector.judge.line_states import Snapshot
from collector.judge.line_tracker import LOOK_BACK
from collector.state_points.heartbeat import heartbeat_point
from collector.state_points.latency import DEFAULT_LIMITS, LatencyLimits, latency_fields
from collector.state_points.places import place_state_points
from collector.state_points.units import unit_state_point, units_of
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import Point, Value
from collector.store.row_types import LatencyFigures
from xomnet.registry.registry import Registry

LATENCY_WINDOW = dt.timedelta(hours=1)
LATENCY_EVERY = dt.timedelta(minutes=5)
"""Units probe as often; until the next reading the last figures stay."""


class StatePoints:
    """Asks store, broker and completeness, once a snapshot; `LineStates` writes what it gives."""

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        agents: Callable[[], Iterable[Presence]],
        completeness: Callable[[], CompletenessSnapshot | None],
        limits: LatencyLimits = DEFAULT_LIMITS,
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
            heartbeat_point(snapshot, units),
        ]
