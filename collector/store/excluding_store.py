"""What readers are given: a store in which each result says why it does not count, and figures are without those.

A line that no entry touches is read as from the store itself. Of one that is touched the figures are taken from its
rows, a bounded number at a time, however many results are left out.
"""

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from collector.store import Added, Agents, Figures, Lines, Store
from collector.store.exclusions import Exclusions, Row
from collector.store.line_id import LineId
from collector.store.pages import PAGE_ROWS, pages_back
from collector.store.points import Point, Rejection
from collector.store.row_types import (
    Download,
    EventRow,
    HealthRow,
    LatencyFigures,
    LatencyRow,
    OutageRow,
    OutageTotal,
    Sample,
    SpeedRow,
    Stamp,
)

CurrentExclusions = Callable[[], Exclusions]
SEARCH_AGAIN_S = 600.0
"""How long the last health that counts is known of a unit whose later ones are many and left out."""
END = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


class _LastHealth(NamedTuple):
    known_until: float
    of: tuple[int, dt.datetime]
    """The version of the entries, and the last health that does not count."""
    row: HealthRow | None


class _NothingCounted(NamedTuple):
    """That nothing counts of what a line has from `since` to `until`."""

    known_until: float
    version: int
    since: dt.datetime
    until: dt.datetime


class ExcludingStore:
    """A `Store` around another one. What entries of a server leave out was measured all the same: they change neither
    `last_results` nor `health`.
    """

    def __init__(self, store: Store, exclusions: CurrentExclusions) -> None:
        self._store, self._exclusions = store, exclusions
        self.figures = ExcludingFigures(store, exclusions)
        self._nothing_counted: dict[tuple[str, LineId], _NothingCounted] = {}
        self._last_health: dict[tuple[str, bool], _LastHealth] = {}

    def add(self, results: Sequence[Point]) -> Added:
        return self._store.add(results)

    def find(self, results: Sequence[Point]) -> Added:
        return self._store.find(results)

    def write(self, points: Sequence[Point]) -> list[Rejection]:
        return self._store.write(points)

    def rewrite(self, points: Sequence[Point]) -> list[Rejection]:
        return self._store.rewrite(points)

    def speed(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[SpeedRow]:
        rows = self._store.speed(line, since, until, raw, latest)
        return self._filled(line, rows, lambda s, u, n: self._store.speed(line, s, u, raw, n), since, until, latest)

    def latency(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[LatencyRow]:
        rows = self._store.latency(line, since, until, raw, latest)
        return self._filled(line, rows, lambda s, u, n: self._store.latency(line, s, u, raw, n), since, until, latest)

    def outages(
        self, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[OutageRow]:
        rows = self._store.outages(line, since, until, latest)
        return self._filled(line, rows, partial(self._store.outages, line), since, until, latest)

    def samples(
        self, since: dt.datetime, until: dt.datetime, lines: Lines = None, latest: int | None = None
    ) -> dict[LineId, list[Sample]]:
        return {
            line: self._filled(line, rows, partial(self._samples, line), since, until, latest)
            for line, rows in self._store.samples(since, until, lines, latest).items()
        }

    def stamps(
        self, measurement: str, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[Stamp]:
        return self._store.stamps(measurement, line, since, until, latest)

    def last_results(self, since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        exclusions = self._exclusions()
        last = self._store.last_results(since, lines)
        for line in [line for line in {*last, *(lines or ())} if exclusions.may_touch(line, last.get(line, since))]:
            last.pop(line, None)
            found = [at for kind in ("speed", "latency") if (at := self._last_counted(exclusions, kind, line, since))]
            if found:
                last[line] = max(found)
        return last

    def health(self, since: dt.datetime, agent: str | None = None, raw: bool = False) -> dict[str, HealthRow]:
        exclusions = self._exclusions()
        last: dict[str, HealthRow] = {}
        for unit, row in self._store.health(since, agent, raw).items():
            counted: HealthRow | None = row
            if exclusions.of_row(LineId(unit, ""), row) is not None:
                counted = self._health_before(exclusions, unit, row.at, since, raw)
            if counted is not None:
                last[unit] = counted
        return last

    def healths(
        self, agent: str, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[HealthRow]:
        rows = self._store.healths(agent, since, until, raw, latest)
        read = partial(self._healths, agent, raw)
        return self._filled(LineId(agent, ""), rows, read, since, until, latest)

    def events(
        self,
        name: str | None,
        since: dt.datetime,
        until: dt.datetime,
        agent: str | None = None,
        latest: int | None = None,
    ) -> dict[LineId, list[EventRow]]:
        exclusions = self._exclusions()
        found = self._store.events(name, since, until, agent, latest)
        return {line: exclusions.marked(line, rows) for line, rows in found.items()}

    def numbers(
        self, agent: str, spool: str, first: int, last: int, since: dt.datetime, until: dt.datetime
    ) -> dict[int, str]:
        return self._store.numbers(agent, spool, first, last, since, until)

    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        return self._store.spool_depths(agents, since, received_before)

    def has_results(self, line: LineId, since: dt.datetime, until: dt.datetime) -> bool:
        return self._store.has_results(line, since, until)

    def ping(self) -> None:
        self._store.ping()

    def close(self) -> None:
        self._store.close()

    def _samples(self, line: LineId, since: dt.datetime, until: dt.datetime, latest: int) -> list[Sample]:
        return self._store.samples(since, until, [line], latest).get(line, [])

    def _healths(self, agent: str, raw: bool, since: dt.datetime, until: dt.datetime, latest: int) -> list[HealthRow]:
        return self._store.healths(agent, since, until, raw, latest)

    def _filled(
        self,
        line: LineId,
        rows: Sequence[Row],
        read: Callable[[dt.datetime, dt.datetime, int], Sequence[Row]],
        since: dt.datetime,
        until: dt.datetime,
        latest: int | None,
    ) -> list[Row]:
        """The rows, marked. Where their number is bounded, what does not count takes no place of what does: more is
        read from before.
        """
        exclusions = self._exclusions()
        marked = exclusions.marked(line, rows)
        if latest is None or len(marked) < latest or all(row.excluded is None for row in marked):
            return marked
        pages = pages_back(read, since, until, max(latest, PAGE_ROWS))
        return _latest_counted((exclusions.marked(line, page) for page in pages), latest)

    def _last_counted(
        self, exclusions: Exclusions, measurement: str, line: LineId, since: dt.datetime
    ) -> dt.datetime | None:
        """Of a line of which nothing counts, only what is new is read again, and all of it every SEARCH_AGAIN_S."""
        known = self._nothing_counted.get((measurement, line))
        if known is not None and (
            known.version != exclusions.version or time.monotonic() > known.known_until or since < known.since
        ):
            known = None
        first, newest = (since, since) if known is None else (max(since, known.until),) * 2
        for page in pages_back(partial(self._store.stamps, measurement, line), first, END):
            newest = max(newest, page[-1].at)
            for stamp in reversed(page):
                if exclusions.reason(line, *stamp) is None:
                    self._nothing_counted.pop((measurement, line), None)
                    return stamp.at
        if known is None:
            known = _NothingCounted(time.monotonic() + SEARCH_AGAIN_S, exclusions.version, since, newest)
        self._nothing_counted[measurement, line] = known._replace(until=newest)
        return None

    def _health_before(
        self, exclusions: Exclusions, agent: str, at: dt.datetime, since: dt.datetime, raw: bool
    ) -> HealthRow | None:
        """The last health of a unit that counts, where the one at an instant is the last and does not."""
        of = (exclusions.version, at)
        known = self._last_health.get((agent, raw))
        if known is None or known.of != of or time.monotonic() > known.known_until:
            pages = pages_back(partial(self._healths, agent, raw), since, END)
            rows = (row for page in pages for row in reversed(page))
            row = next((one for one in rows if exclusions.of_row(LineId(agent, ""), one) is None), None)
            known = _LastHealth(time.monotonic() + SEARCH_AGAIN_S, of, row)
            self._last_health[agent, raw] = known
        return known.row if known.row is not None and known.row.at >= since else None


class ExcludingFigures:
    """`Figures` without what does not count."""

    def __init__(self, store: Store, exclusions: CurrentExclusions) -> None:
        self._store, self._exclusions = store, exclusions

    @property
    def _figures(self) -> Figures:
        return self._store.figures

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        exclusions = self._exclusions()
        found = self._figures.downloads(since, until, agents)
        return {line: exclusions.marked(line, rows) for line, rows in found.items()}

    def latency(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, LatencyFigures]:
        exclusions = self._exclusions()
        found = self._figures.latency(since, until, agents)
        for line in _touched(exclusions, found, since, until):
            rows = self._rows(line, partial(self._latency, line), since, until)
            found[line] = LatencyFigures.of(
                (r.sent, r.received, r.rtt_p50_ms, r.rtt_p95_ms, r.jitter_ms, exclusions.of_row(line, r)) for r in rows
            )
        return found

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]:
        exclusions = self._exclusions()
        found = self._figures.outages(since, until, agents)
        for line in _touched(exclusions, found, since, until):
            rows = self._rows(line, partial(self._store.outages, line), since, until)
            found[line] = OutageTotal.of((row.duration_s, exclusions.of_row(line, row)) for row in rows)
        return found

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        return self._figures.counts(since, until)

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        return self._figures.rolled_counts(measurement, since, until)

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        return self._figures.points(measurement, since, until)

    def _latency(self, line: LineId, since: dt.datetime, until: dt.datetime, latest: int) -> list[LatencyRow]:
        return self._store.latency(line, since, until, latest=latest)

    @staticmethod
    def _rows(
        line: LineId,
        read: Callable[[dt.datetime, dt.datetime, int], Sequence[Row]],
        since: dt.datetime,
        until: dt.datetime,
    ) -> Iterator[Row]:
        return (row for page in pages_back(read, since, until) for row in page)


def _touched(exclusions: Exclusions, lines: Iterable[LineId], since: dt.datetime, until: dt.datetime) -> list[LineId]:
    return [line for line in lines if exclusions.may_touch(line, since, until)]


def _latest_counted(pages: Iterable[Sequence[Row]], latest: int) -> list[Row]:
    """Of rows from the latest back, those that count up to `latest`, and of the others what has room beside them."""
    counted: list[Row] = []
    left_out: list[Row] = []
    for page in pages:
        for row in reversed(page):
            of = counted if row.excluded is None else left_out
            if len(of) < latest:
                of.append(row)
        if len(counted) == latest:
            break
    return sorted([*counted, *left_out[: latest - len(counted)]], key=lambda row: row.at)
