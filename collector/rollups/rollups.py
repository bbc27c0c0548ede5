"""Roll-ups of lines and places by hour and day: a bucket is computed again whenever one of its results is stored.

All state is in the database. A stored result marks its hour and its day. At the start and every night the number of
results behind each roll-up is compared with the number stored. This finds the buckets that were marked when the
collector died, and those with results of other processes: `resend`, or a second collector of a shared subscription.
What a new exclusion touches is computed again too; for which entries that is done, is in the record.
"""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from collector.judge.verdict import Month
from collector.periodic import PeriodicWorker
from collector.rollups.aggregate import (
    HOUR,
    Fields,
    RollupBucket,
    day_of,
    hour_of,
    hours_of,
    line_fields,
    line_point,
    place_points,
    portions,
)
from collector.rollups.months import ClosedVerdicts, write_months
from collector.rollups.revision import rewrite_month, touched_hours
from collector.store import Store
from collector.store.derived_points import rewrite_own, write_own
from collector.store.errors import StoreUnavailable
from collector.store.exclusion_table import ExclusionTable
from collector.store.line_id import LineId
from collector.store.points import COUNTED, EPOCH, Point
from xomnet.registry.registry import Registry
from xomnet.runtime.log import Log

log = Log("collector.rollups.rollups")

SWEEP_DAYS = 62
"""How many days are compared: at least this month and the last."""
DAYS_EVERY = 6
"""Today takes long to read: it is computed once in this number of rounds."""
ALL_FROM_UNITS = 20
"""If this many units of a bucket have new results, all units are computed."""
UNITS_A_QUERY = 50
"""Units whose day one query reads: 30,000 probes, about as many as an hour of a province."""
MAX_POINTS = 2000
"""Points that are collected before they are written."""
NIGHT = dt.timedelta(hours=2)
CLOCK = dt.timedelta(seconds=1)
"""How much slower than the thread's timer a clock may run between two rounds while it is corrected."""

PART = "rollups"
"""The name under which the record keeps for which exclusions they are computed."""

K = TypeVar("K", int, RollupBucket, Month)

_HOUR_NS = 3_600_000_000_000
Marked = set[str] | None
"""Units with new results; None: all of them."""


class Rollups(PeriodicWorker):
    """Works every `interval_s`. Results of more than `keep_days` ago are no longer all stored: those roll-ups stay."""

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        interval_s: float = 300.0,
        keep_days: int | None = None,
        sweep_days: int = SWEEP_DAYS,
        exclusions: ExclusionTable | None = None,
        closed: ClosedVerdicts | None = None,
    ) -> None:
        super().__init__("rollups", interval_s, self.step, log, "not rolled up")
        self._store, self._registry, self._exclusions, self._closed = store, registry, exclusions, closed
        self._interval = dt.timedelta(seconds=interval_s)
        self._keep, self._sweep_days = None if keep_days is None else dt.timedelta(days=keep_days), sweep_days
        self._lock = threading.Lock()
        self._new_hours: dict[int, Marked] = {}
        self._dirty: dict[RollupBucket, Marked] = {}
        self._rounds = 0
        self._round_at: dt.datetime | None = None
        self._night: dt.date | None = None
        self._to_compare: list[RollupBucket] = []
        self._months: Iterator[None] = iter(())
        self._revised: set[RollupBucket] = set()
        """Buckets that may have less to say than before."""
        self._revision: Iterator[None] = iter(())
        self._revised_for: int | None = None

    def on_stored(self, points: Iterable[Point]) -> None:
        """New results were stored: their hours and days are computed in the next round. From any thread."""
        with self._lock:
            for point in points:
                if point.measurement in COUNTED:
                    _mark(self._new_hours, point.time_ns // _HOUR_NS, {point.tags["agent"]})

    def step(self, now: dt.datetime) -> bool:
        """Computes a few buckets, or compares a day, or writes some lines' months; True while there is more.

        Raises StoreUnavailable; then the same work is done again.
        """
        if self._round_at is None or abs(now - self._round_at) >= self._interval - CLOCK:
            self._begin_round(now)
        if ready := self._due_buckets(now):
            self._write_buckets(ready)
            return not self._ending.is_set()
        try:
            if next(self._revision, self) is None:
                return True
        except StoreUnavailable:
            self._revision = self._revise(now)
            raise
        if self._to_compare:
            self._compare(self._to_compare[0])
            del self._to_compare[0]
            return True
        try:
            return next(self._months, self) is None
        except StoreUnavailable:
            self._months = self._write_months(now)
            raise

    def _write_months(self, now: dt.datetime) -> Iterator[None]:
        return write_months(self._store, self._registry(), now, self._kept_since(now), self._closed)

    def write_day(self, day: RollupBucket, now: dt.datetime) -> None:
        """Computes a day and its hours, as far as they have begun, from all that is stored. Raises StoreUnavailable."""
        for bucket in (one for one in (*hours_of(day), day) if one.since <= now):
            places, lines = self._compute(bucket, None)
            write_own(self._store, places + lines)

    def _begin_round(self, now: dt.datetime) -> None:
        zone = self._registry().zone
        with self._lock:
            seen, self._new_hours = self._new_hours, {}
        for hour, agents in seen.items():
            at = EPOCH + hour * HOUR
            for bucket in (hour_of(at), day_of(at, zone)):
                _mark(self._dirty, bucket, agents)
        for at in (now, now - HOUR):  # places have their lines also where none of them gave anything
            _mark(self._dirty, hour_of(at), set())
            _mark(self._dirty, day_of(at, zone), set())
        night = (now - NIGHT).astimezone(zone).date()
        if night != self._night:
            self._to_compare = [day_of(now - dt.timedelta(days=n), zone) for n in range(self._sweep_days)]
            self._months = self._write_months(now)
            self._night = night
        if self._exclusions is not None and self._revised_for != (version := self._exclusions.current().version):
            self._revision, self._revised_for = self._revise(now), version
        self._round_at, self._rounds = now, self._rounds + 1

    def _revise(self, now: dt.datetime) -> Iterator[None]:
        """Marks what new exclusions touch; and, as each step computes what is marked first, writes the months then."""
        if self._exclusions is None:
            return
        current, registry = self._exclusions.current(), self._registry()
        new = current.after(self._exclusions.applied(PART))
        months: dict[Month, Marked] = {}
        for hours, agent in touched_hours(self._store, registry, new, now):
            agents = None if agent is None else {agent}
            for at in hours:
                _mark(months, Month.of(at, registry.zone.key), agents)
                for bucket in (hour_of(at), day_of(at, registry.zone)):
                    _mark(self._dirty, bucket, agents)
                    self._revised.add(bucket)
            yield
        kept, closed = self._kept_since(now), self._closed.months() if self._closed is not None else ()
        for month, agents in sorted(months.items(), reverse=True):
            if month not in closed and (kept is None or kept <= month.since(registry.zone.key)):
                yield from rewrite_month(self._store, registry, month, agents, now)
        if new:
            self._exclusions.set_applied(PART, current.version)

    def _due_buckets(self, now: dt.datetime) -> list[RollupBucket]:
        """The buckets to compute, latest first; a bucket whose results are partly deleted is left as it is."""
        kept = self._kept_since(now)
        for bucket in [one for one in self._dirty if kept is not None and one.since < kept]:
            del self._dirty[bucket]
        days_too = self._rounds % DAYS_EVERY == 1
        at_once = (one for one in self._dirty if one.size == "hour" or one.until <= now or one in self._revised)
        ready = self._dirty if days_too else at_once
        return sorted(ready, key=lambda one: one.since, reverse=True)

    def _kept_since(self, now: dt.datetime) -> dt.datetime | None:
        return now - self._keep if self._keep else None

    def _compare(self, day: RollupBucket) -> None:
        """Marks the buckets with more results than they were computed from. Fewer are normal: old results go."""
        figures = self._store.figures
        stored: Counter[LineId] = Counter()
        for start in range(4):
            since = day.since + start * (day.until - day.since) / 4
            stored.update(figures.counts(since, since + (day.until - day.since) / 4))
        hourly = figures.rolled_counts("line_hour", day.since, day.until)
        daily = figures.rolled_counts("line_day", day.since, day.until)
        registry = self._registry()
        for line, count in stored.items():
            if registry.at(*line, day.since) is None:
                continue  # it has vanished from the registry, so nothing is made of it, tonight or any other night
            if count > hourly.get(line, 0):
                for hour in hours_of(day):
                    _mark(self._dirty, hour, {line.agent})
            if count > daily.get(line, 0):
                _mark(self._dirty, day, {line.agent})

    def _write_buckets(self, buckets: Sequence[RollupBucket]) -> None:
        """Computes some buckets and writes them together. Idempotent.

        Places are written first: if the collector dies in between, the comparison finds the lines and repeats both.
        """
        places: list[Point] = []
        lines: list[Point] = []
        again: list[Point] = []
        done: list[RollupBucket] = []
        for bucket in buckets:
            if self._ending.is_set() or len(places) + len(lines) + len(again) >= MAX_POINTS:
                break
            done.append(bucket)
            try:
                of_places, of_lines = self._compute(bucket, self._dirty[bucket])
            except StoreUnavailable:
                raise
            except Exception:  # a bad value in one hour must not stop all others
                log.exception("not rolled up", size=bucket.size, since=bucket.since.isoformat())
                continue
            if bucket in self._revised:
                again += [*of_places, *of_lines]
            else:
                places, lines = places + of_places, lines + of_lines
        write_own(self._store, places + lines)
        if again:
            rewrite_own(self._store, again)
        for bucket in done:
            del self._dirty[bucket]
            self._revised.discard(bucket)

    def _compute(self, bucket: RollupBucket, agents: Marked) -> tuple[list[Point], list[Point]]:
        """The points of all places, from all lines; and the points of some units' lines, from their results."""
        registry = self._registry()
        rows = {LineId.of(row): row for row in registry.current(bucket.since)}
        fresh: dict[LineId, Fields] = {}
        if agents is None and bucket.size == "hour":
            fresh = self._compute_lines(bucket, None, registry)
        else:
            for some in portions((line.agent for line in rows) if agents is None else agents, UNITS_A_QUERY):
                fresh |= self._compute_lines(bucket, some, registry)
        known = fresh if agents is None else {**self._read_line_points(bucket), **fresh}
        places = place_points(bucket, ((row, known.get(line, {})) for line, row in rows.items()))
        return places, [line_point(bucket, rows[line], fields) for line, fields in fresh.items()]

    def _compute_lines(
        self, bucket: RollupBucket, agents: list[str] | None, registry: Registry
    ) -> dict[LineId, Fields]:
        """The figures of every line with results in the bucket, by the row in force."""
        figures, span = self._store.figures, (bucket.since, bucket.until)
        downloads = figures.downloads(*span, agents)
        latency = figures.latency(*span, agents)
        outages = figures.outages(*span, agents)
        found: dict[LineId, Fields] = {}
        for line in downloads.keys() | latency.keys() | outages.keys():
            if (row := registry.at(*line, bucket.since)) is not None:
                target = registry.target_mbps(row, bucket.since)
                found[line] = line_fields(downloads.get(line, ()), latency.get(line), outages.get(line), target)
        return found

    def _read_line_points(self, bucket: RollupBucket) -> dict[LineId, Fields]:
        found = self._store.figures.points(f"line_{bucket.size}", bucket.since, bucket.until)
        return {LineId(one.tags["agent"], one.tags["line"]): one.fields for one in found}


def _mark(marks: dict[K, Marked], key: K, agents: Marked) -> None:
    """Adds some units; from `ALL_FROM_UNITS` on it is all, which also bounds the memory."""
    before = marks.get(key, set())
    if before is None or agents is None:
        marks[key] = None
    else:
        together = before | agents
        marks[key] = None if len(together) >= ALL_FROM_UNITS else together
