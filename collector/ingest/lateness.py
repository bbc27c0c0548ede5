"""Which results came later than their unit's own reports explain.

A report of health says how many results waited in the unit's spool. So of what was measured before it, no more than
that may come after it for the first time. Each report says so by itself: one that claims 100,000 explains nothing that
was measured before the report before it. What no report explains is late: an honest unit has none of it, and who
writes the past with a stolen key has little else.

A unit's reports are held in memory; after a restart they are those of the store. Where nothing is known of a unit,
nothing is late.
"""

import datetime as dt
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from collector.ingest.validate import Accepted
from collector.store.points import Point, when
from xomnet.runtime.log import Log

log = Log("collector.ingest.lateness")

GRACE = dt.timedelta(hours=1)
"""What was measured less than this before a report may still be on its way."""
MAX_ERROR = dt.timedelta(days=1)
"""A result's own bound of its error counts up to this: a unit dates what it measured under an unset clock after all
that it has reported.
"""
LOOK_BACK, MARGIN = dt.timedelta(days=366), dt.timedelta(days=1)
MAX_UNITS, MAX_REPORTS = 20_000, 16
RECENT = 128
"""Results of a unit that are remembered as explained: twice what it has under way."""


class Reports(Protocol):
    def spool_depths(
        self, agent: str, since: dt.datetime, received_before: dt.datetime
    ) -> list[tuple[dt.datetime, int]]:
        """As in `Store`."""


@dataclass(slots=True)
class _Report:
    at: dt.datetime
    left: int
    """How many results from before `at` it still explains."""


@dataclass(slots=True)
class UnitReports:
    """A unit's reports, oldest first, without those that a later one makes needless; each explains more than the one
    before it.
    """

    reports: list[_Report] = field(default_factory=list)
    since: dt.datetime | None = None
    """The store's reports since then are among them."""
    explained: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))

    def report(self, at: dt.datetime, waiting: int) -> None:
        """One that is not the newest says nothing new."""
        if not self.reports or at > self.reports[-1].at:
            self._keep(_Report(at, waiting))

    def load(self, since: dt.datetime, stored: Iterable[tuple[dt.datetime, int]]) -> None:
        """Puts the store's reports since then before those that came."""
        came, self.reports, self.since = self.reports, [], since
        for report in sorted([*(_Report(*one) for one in stored), *came], key=lambda report: report.at):
            self._keep(report)

    def refuses(self, measured: dt.datetime) -> bool:
        """Whether a report is known that explains no more of such results."""
        return any(report.left <= 0 for report in self._about(measured))

    def explain(self, measured: dt.datetime) -> None:
        for report in self._about(measured):
            report.left -= 1

    def _keep(self, report: _Report) -> None:
        self.reports = [*(earlier for earlier in self.reports if earlier.left < report.left), report]
        if len(self.reports) > MAX_REPORTS:
            del self.reports[-2]

    def _about(self, measured: dt.datetime) -> list[_Report]:
        """Those that count such a result among what waited."""
        return [report for report in self.reports if report.at - GRACE > measured]


class Lateness:
    """For one thread. Raises StoreUnavailable before anything is counted of a result."""

    def __init__(self, store: Reports) -> None:
        self._store = store
        self._units: OrderedDict[str, UnitReports] = OrderedDict()

    def mark(self, results: Sequence[Accepted], received: dt.datetime) -> list[Accepted]:
        """The same results in the order in which they came, with `late` on the points of those that are."""
        marked: list[Accepted] = []
        late: dict[str, int] = {}
        for one in results:
            if self._is_late(one, received):
                point = replace(one.point, fields={**one.point.fields, "late": True})
                late[one.id.agent] = late.get(one.id.agent, 0) + 1
                marked.append(replace(one, point=point))
            else:
                marked.append(one)
            if one.point.measurement == "health":
                self._note_report(one, received)
        for agent, count in late.items():
            log.warning("later than its reports explain", agent=agent, results=count)
        return marked

    def _is_late(self, one: Accepted, received: dt.datetime) -> bool:
        measured = _end(one.point)
        if measured >= received - GRACE:
            return False
        unit = self._unit(one.id.agent)
        digest = hash(f"{one.id.spool}/{one.id.seq}/{one.point.time_ns}")  # of a text, so that it is salted
        if digest in unit.explained:
            return False
        if not unit.refuses(measured):
            self._load(one.id.agent, unit, measured, received)
        if unit.refuses(measured):
            return True
        unit.explain(measured)
        unit.explained.append(digest)
        return False

    def _load(self, agent: str, unit: UnitReports, measured: dt.datetime, received: dt.datetime) -> None:
        """Asks the store for the reports that tell of a result, unless that was done."""
        first = max(measured, received - LOOK_BACK)
        if unit.since is None or first < unit.since:
            since = first - MARGIN
            unit.load(since, self._store.spool_depths(agent, since, received))

    def _note_report(self, one: Accepted, received: dt.datetime) -> None:
        waiting = one.point.fields.get("spool_depth")
        if isinstance(waiting, int):
            at = when(one.point.time_ns) - _error_of(one.point)
            self._unit(one.id.agent).report(min(at, received), waiting)

    def _unit(self, agent: str) -> UnitReports:
        unit = self._units.setdefault(agent, UnitReports())
        self._units.move_to_end(agent)
        if len(self._units) > MAX_UNITS:
            self._units.popitem(last=False)
        return unit


def _end(point: Point) -> dt.datetime:
    """The latest instant at which the measurement may have ended."""
    duration_s = point.fields.get("duration_s", 0.0) if point.measurement == "outage" else 0.0
    return when(point.time_ns) + dt.timedelta(seconds=float(duration_s)) + min(_error_of(point), MAX_ERROR)


def _error_of(point: Point) -> dt.timedelta:
    return dt.timedelta(seconds=float(point.fields.get("at_error_s", 0.0)))
