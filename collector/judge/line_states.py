"""Every registered line, judged every minute: for the page, and as `line_state` points for Grafana and its alerts.

Silent lines have a point too: an alert whose series vanishes is resolved, so silence must be a value.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from collector.judge.assess import Judgement, JudgingRules
from collector.judge.line_tracker import LineTracker
from collector.periodic import PeriodicWorker
from collector.store import Store
from collector.store.derived_points import write_own
from collector.store.line_id import LineId
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.row_types import Sample
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.log import Log
from xomnet.states import CODES, worst_first

log = Log("collector.judge.line_states")


@dataclass(frozen=True, slots=True)
class LineStatus:
    """A registered line, its judgement, and the tests of the window, for a small chart."""

    row: LineRow
    judgement: Judgement
    samples: tuple[Sample, ...] = ()

    @property
    def id(self) -> LineId:
        return LineId.of(self.row)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All lines as they were at an instant, worst first."""

    at: dt.datetime
    lines: tuple[LineStatus, ...]

    def line(self, agent: str, line: str) -> LineStatus | None:
        return next((s for s in self.lines if s.id == (agent, line)), None)


RegisteredSince = Callable[[LineRow], dt.datetime | None]
"""From when on a result of a line was to be expected; None where that is not known."""


def take_snapshot(
    store: Store,
    registry: Registry,
    rules: JudgingRules,
    now: dt.datetime,
    tracker: LineTracker | None = None,
    registered_since: RegisteredSince = lambda row: None,
) -> Snapshot:
    """Judges every line registered now; without a `tracker` all history is read. Raises StoreUnavailable."""
    tracker = LineTracker(store, rules) if tracker is None else tracker
    rows = registry.current(now)
    targets = {LineId.of(row): registry.target_mbps(row, now) for row in rows}
    tracker.update(targets, now)
    lines = [
        LineStatus(row, *tracker.judgement(row, targets[LineId.of(row)], now, registered_since(row))) for row in rows
    ]
    return Snapshot(now, tuple(sorted(lines, key=_worst_first)))


def _worst_first(status: LineStatus) -> tuple[int, float, str, str]:
    ratio = status.judgement.ratio
    return worst_first(status.judgement.state), -1.0 if ratio is None else ratio, status.row.agent, status.row.line


NOTHING_MORE: Mapping[LineId, Mapping[str, Value]] = {}


def line_state_points(snapshot: Snapshot, more: Mapping[LineId, Mapping[str, Value]] = NOTHING_MORE) -> list[Point]:
    """A point for every line, at the snapshot's time; `more` has what others know of a line, by field."""
    return [_point(s, snapshot.at, more.get(s.id, {})) for s in snapshot.lines]


def _point(status: LineStatus, at: dt.datetime, more: Mapping[str, Value]) -> Point:
    row, judged = status.row, status.judgement
    age = None if judged.last_result_at is None else (at - judged.last_result_at).total_seconds()
    since = None if judged.since is None else (at - judged.since).total_seconds()
    fields: dict[str, Value | None] = {
        "state": judged.state,
        "median_mbps": judged.median_mbps,
        "low_mbps": judged.low_mbps,
        "high_mbps": judged.high_mbps,
        "now_mbps": judged.now_mbps,
        "samples": judged.samples,
        "target_mbps": float(judged.target_mbps),
        "ratio": judged.ratio,
        "age_s": age,
        "lat": row.lat,
        "lon": row.lon,
        "state_code": CODES[judged.state],
        "since_s": since,
        "failed": sum(sample.error is not None and sample.excluded is None for sample in status.samples),
        "excluded": sum(sample.excluded is not None for sample in status.samples),
        **more,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return Point("line_state", tags_of(row, row.line), known, time_ns(at))


class LineFieldSource(Protocol):
    """Knows more of lines than their judgement: fields of `line_state`, asked before the points are written."""

    def line_fields(self, snapshot: Snapshot) -> Mapping[LineId, Mapping[str, Value]]: ...


class PointSource(Protocol):
    """Gives points of the same minute, written together with those of the lines."""

    def points(self, snapshot: Snapshot) -> Sequence[Point]: ...


class SnapshotListener(Protocol):
    """Is given each snapshot after it is written; takes note and returns at once."""

    def on_snapshot(self, snapshot: Snapshot) -> None: ...


class LineStates(PeriodicWorker):
    """Takes a snapshot every `interval_s` and writes its points. `latest` is None until the first one.

    `checkpoint` is the file with the state of each line, so that the first snapshot of the next process is soon made.
    Of two sources with the same field the later one wins.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        rules: JudgingRules,
        interval_s: float = 60.0,
        checkpoint: Path | None = None,
        field_sources: Sequence[LineFieldSource] = (),
        point_sources: Sequence[PointSource] = (),
        listeners: Sequence[SnapshotListener] = (),
        registered_since: RegisteredSince = lambda row: None,
    ) -> None:
        super().__init__("line-states", interval_s, self.take, log, "lines not judged")
        self._store, self._registry, self._registered_since = store, registry, registered_since
        self.rules = rules
        self._tracker = LineTracker(store, rules, checkpoint)
        self.latest: Snapshot | None = None
        self._field_sources, self._point_sources, self._listeners = field_sources, point_sources, listeners

    def on_stored(self, points: Sequence[Point]) -> None:
        """New results were stored: their lines are read at the next snapshot. From any thread."""
        self._tracker.on_stored(points)

    def take(self, now: dt.datetime) -> Snapshot:
        """One snapshot, written to the store. Raises StoreUnavailable."""
        snapshot = take_snapshot(self._store, self._registry(), self.rules, now, self._tracker, self._registered_since)
        more: dict[LineId, dict[str, Value]] = {}
        for fields_of in self._field_sources:
            for line, fields in fields_of.line_fields(snapshot).items():
                more.setdefault(line, {}).update(fields)
        beside = [point for source in self._point_sources for point in source.points(snapshot)]
        write_own(self._store, [*line_state_points(snapshot, more), *beside])
        self.latest = snapshot
        for listener in self._listeners:
            listener.on_snapshot(snapshot)
        return snapshot

    def stop(self, timeout_s: float = 5.0) -> None:
        super().stop(timeout_s)
        if not self.is_alive() and self.latest is not None:
            self._tracker.save_checkpoint(self.latest.at)
