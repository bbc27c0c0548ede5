"""Which results came later than their unit's own reports explain.

A report of health says how many results waited in the unit's spool. So of what was measured before it, no more than
that may come after it for the first time. Each report says so by itself: one that claims 100,000 explains nothing that
was measured before the report before it. What no report explains is late: an honest unit has none of it, and who
writes the past with a stolen key has little else.

A unit's reports are held in memory; after a restart they are those of the store. Where nothing is known of a unit,
nothing is late.
"""

import datetime as dt
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from collector.ingest.validate import Accepted
from collector.store.points import Point, Value, time_ns, when
from xomnet.runtime.log import Log

log = Log("collector.ingest.lateness")

GRACE = dt.timedelta(hours=1)
"""What was measured less than this before a report may still be on its way."""
MAX_ERROR = dt.timedelta(days=1)
"""A result's own bound of its error counts up to this: a unit dates what it measured under an unset clock after all
that it has reported.
"""
LOOK_BACK, MARGIN = dt.timedelta(days=366), dt.timedelta(days=1)
UNITS_A_QUERY, NEAR = 50, dt.timedelta(days=8)
"""Units whose results are not older are asked for together."""
MAX_UNITS, MAX_REPORTS = 20_000, 16
RECENT = 128
"""Results of a unit that are remembered as explained: twice what it has under way."""


class Reports(Protocol):
    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        """As in `Store`."""


@dataclass(slots=True)
class _Bound:
    at: dt.datetime
    left: int
    """How many results from before `at` it still explains."""


@dataclass(slots=True)
class UnitReports:
    """A unit's reports, oldest first, without those that a later one makes needless; each explains more than the one
    before it.
    """

    reports: list[_Bound] = field(default_factory=list)
    since: dt.datetime | None = None
    """The store's reports since then are among them."""
    explained: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))

    def report(self, at: dt.datetime, waiting: int) -> None:
        """One that is not the newest says nothing new."""
        if not self.reports or at > self.reports[-1].at:
            self._keep(_Bound(at, waiting))

    def load(self, since: dt.datetime, stored: Iterable[tuple[dt.datetime, int]]) -> None:
        """Puts the store's reports since then before those that came."""
        came, self.reports, self.since = self.reports, [], since
        for report in sorted([*(_Bound(*one) for one in stored), *came], key=lambda report: report.at):
            self._keep(report)

    def about(self, measured: dt.datetime) -> list[_Bound]:
        """Those that count such a result among what waited."""
        return [report for report in self.reports if report.at - GRACE > measured]

    def refuses(self, measured: dt.datetime) -> bool:
        """Whether one of them explains no more."""
        return any(report.left <= 0 for report in self.about(measured))

    def _keep(self, report: _Bound) -> None:
        self.reports = [*(earlier for earlier in self.reports if earlier.left < report.left), report]
        if len(self.reports) > MAX_REPORTS:
            del self.reports[-2]


class Lateness:
    """For one thread. Raises StoreUnavailable; it may be asked of the same results again then."""

    def __init__(self, store: Reports) -> None:
        self._store = store
        self._units: OrderedDict[str, UnitReports] = OrderedDict()

    def mark(self, results: Sequence[Accepted], received: dt.datetime) -> list[Accepted]:
        """The same results in the order in which they came, with `late` on the points of those that are."""
        recent = received - GRACE
        recent_ns = time_ns(recent)
        ends = [None if one.point.time_ns >= recent_ns else _end_of(one.point) for one in results]
        old = [(one, end) for one, end in zip(results, ends, strict=True) if end is not None and end < recent]
        self._load([(one.id.agent, end) for one, end in old], received)
        marked: list[Accepted] = []
        late: Counter[str] = Counter()
        for one, end in zip(results, ends, strict=True):
            if end is not None and end < recent and self._is_late(one, end):
                late[one.id.agent] += 1
                marked.append(replace(one, point=replace(one.point, fields={**one.point.fields, "late": True})))
            else:
                marked.append(one)
            if one.point.measurement == "health":
                self._note_report(one, received)
        for agent, count in late.items():
            log.warning("later than its reports explain", agent=agent, results=count)
        return marked

    def _load(self, old: Iterable[tuple[str, dt.datetime]], received: dt.datetime) -> None:
        """Asks the store for the reports that tell of old results, unless they are known or not needed."""
        wanted: dict[str, dt.datetime] = {}
        for agent, measured in old:
            unit, first = self._unit(agent), max(measured, received - LOOK_BACK)
            if (unit.since is None or first < unit.since) and not unit.refuses(measured):
                wanted[agent] = min(first, wanted.get(agent, first))
        near = [agent for agent, first in wanted.items() if first > received - NEAR]
        groups = [near[start : start + UNITS_A_QUERY] for start in range(0, len(near), UNITS_A_QUERY)]
        groups += [[agent] for agent, first in wanted.items() if first <= received - NEAR]
        for agents in groups:
            since = min(wanted[agent] for agent in agents) - MARGIN
            found = self._store.spool_depths(agents, since, received)
            for agent in agents:
                self._unit(agent).load(since, found.get(agent, ()))

    def _is_late(self, one: Accepted, measured: dt.datetime) -> bool:
        unit = self._unit(one.id.agent)
        about = unit.about(measured)
        if not about:
            return False
        digest = hash(
            f"{one.point.fields['spool']}/{one.id.seq}/{one.point.time_ns}"
        )  # of a text, so that it is salted
        if digest in unit.explained:
            return False
        if unit.refuses(measured):
            return True
        for report in about:
            report.left -= 1
        unit.explained.append(digest)
        return False

    def _note_report(self, one: Accepted, received: dt.datetime) -> None:
        waiting = one.point.fields.get("spool_depth")
        if isinstance(waiting, int):
            at = when(one.point.time_ns) - _seconds(one.point.fields.get("at_error_s", 0.0))
            self._unit(one.id.agent).report(min(at, received), waiting)

    def _unit(self, agent: str) -> UnitReports:
        unit = self._units.get(agent)
        if unit is None:
            unit = self._units[agent] = UnitReports()
            if len(self._units) > MAX_UNITS:
                self._units.popitem(last=False)
        else:
            self._units.move_to_end(agent)
        return unit


def _end_of(point: Point) -> dt.datetime:
    """The latest instant at which the measurement may have ended."""
    end = when(point.time_ns)
    if point.measurement == "outage":
        end += _seconds(point.fields["duration_s"])
    if (error := point.fields.get("at_error_s")) is not None:
        end += min(_seconds(error), MAX_ERROR)
    return end


def _seconds(value: Value) -> dt.timedelta:
    return dt.timedelta(seconds=float(value))
