"""From store and registry to the values of the report."""

import datetime as dt
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from collector.assess import counted_mbps
from collector.months import first_rows
from collector.report.model import ACCESSES, LineMonth, MonthlyReport
from collector.report.summary import alphabetical, plain
from collector.store import LineId, OutageRow, Sample, Store
from collector.verdict import Month, line_verdict
from xomnet.registry import LineRow, Registry
from xomnet.targets import Targets

LONGEST_OUTAGE = dt.timedelta(days=62)
"""How long before a month an outage may have begun that still lasts in it."""

TICK = dt.timedelta(microseconds=1)

Samples = Mapping[LineId, Sequence[Sample]]


class ReportError(Exception):
    """No report can be made; the text says why and what to do."""


def gather(
    store: Store,
    registry: Registry,
    targets: Targets,
    month: Month,
    area: str | None,
    now: dt.datetime,
    kept_since: dt.datetime | None = None,
) -> MonthlyReport:
    """The month of every line registered at its end, or now: judged by its registry row of then, and told under the
    place where it stood when the month began, as in `line_month`. Days are those of the registry's zone; results from
    before `kept_since` are no longer in the store. Raises ReportError or StoreUnavailable.
    """
    since, until = bounds(registry, month, now)
    if since > now:
        raise ReportError(f"{month} has not begun; the present month is {Month.of(now)}")
    if kept_since is not None and since < kept_since:
        raise ReportError(f"the results of {month} are no longer all kept: store.keep_days lets go of what is older")
    end = until - TICK
    judged, places = {_id(row): row for row in registry.current(end)}, first_rows(registry, since)
    every = sorted((places[line] for line in judged), key=_by_place)
    rows = lines_of(every, area, month)
    units = {row.agent for row in rows}
    with_neighbours = {_id(row): row for row in every if row.agent in units}
    samples = monthly_samples(store, since, until, with_neighbours)
    compared = kept_since is None or bounds(registry, month.previous, now)[0] >= kept_since
    before = monthly_samples(store, *bounds(registry, month.previous, now), with_neighbours) if compared else {}
    heard = {line: test_days(samples.get(line, ()), registry) for line in with_neighbours}
    due = {line: registered_days(registry, line, month, now) for line in with_neighbours}
    lines = []
    for row in rows:
        line, last_month = _id(row), month.previous
        own = samples.get(line, ())
        outages = clipped(store.outages(line, since - LONGEST_OUTAGE, until), since, until)
        unit = [other for other in with_neighbours if other.agent == row.agent]
        row_before = registry.at(*line, bounds(registry, last_month, now)[1] - TICK) or row
        lines.append(
            LineMonth(
                row=row,
                verdict=line_verdict(own, judged[line], registry, month, now),
                before=line_verdict(before.get(line, ()), row_before, registry, last_month, now),
                failed_at=tuple(s.at for s in own if s.asked is None and s.error and counted_mbps(s) is not None),
                outages=len(outages),
                outage_s=sum(outages),
                longest_outage_s=max(outages, default=0.0),
                silent_days=len(due[line] - heard[line]),
                unit_silent_days=len(set().union(*(due[o] for o in unit)).difference(*(heard[o] for o in unit))),
                last_test_at=own[-1].at if own else None,
            )
        )
    day = end.astimezone(registry.zone).date()
    in_force = {access: targets.in_force(access, day) for access in ACCESSES}
    return MonthlyReport(month, area, now, in_force, lines, compared)


def bounds(registry: Registry, month: Month, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """First instant of a month, and the first that is no longer in it, or now."""
    zone = registry.zone.key
    return month.since(zone), min(now, month.until(zone))


def lines_of(rows: Sequence[LineRow], area: str | None, month: Month) -> list[LineRow]:
    """Those within an area, at whatever level; all for None. Raises ReportError where there is none."""
    wanted = None if area is None else area.strip("/").split("/")
    found = [row for row in rows if wanted is None or row.area.split("/")[: len(wanted)] == wanted]
    if found:
        return found
    if not rows:
        raise ReportError(f"no line was registered in {month}: look at the column `from` of the registry")
    raise ReportError(f"no line is in the area {area!r}; the closest: {', '.join(closest(rows, area or ''))}")


def closest(rows: Iterable[LineRow], area: str, most: int = 3) -> list[str]:
    """Areas of some lines, at any level, that are written most like one that there is not."""
    places = sorted(
        {"/".join(parts[:n]) for row in rows for parts in [row.area.split("/")] for n in range(1, len(parts) + 1)}
    )
    like = {place: _likeness(place, area) for place in places}
    return sorted(places, key=lambda place: -like[place])[:most]


def _likeness(place: str, asked: str) -> float:
    """Of the whole path, or of its last name alone; whatever the letters' case and accents."""
    asked = plain(asked)
    return max(
        difflib.SequenceMatcher(None, one, asked).ratio() for one in (plain(place), plain(place.rpartition("/")[2]))
    )


def monthly_samples(store: Store, since: dt.datetime, until: dt.datetime, lines: Collection[LineId]) -> Samples:
    """The tests of some lines, read a day at a time: a database need not answer for a whole month at once."""
    found: dict[LineId, list[Sample]] = {}
    for start, end in _days(since, until):
        for line, samples in store.samples(start, end).items():
            if line in lines:
                found.setdefault(line, []).extend(samples)
    return found


def registered_days(registry: Registry, line: LineId, month: Month, now: dt.datetime) -> set[dt.date]:
    """Days of a month that are over and on which a line was registered."""
    whole = ((a, b) for a, b in _days(*bounds(registry, month, now)) if b - a == dt.timedelta(days=1))
    return {start.date() for start, _ in whole if registry.at(*line, start) is not None}


def test_days(samples: Iterable[Sample], registry: Registry) -> set[dt.date]:
    """Days of which there is a test, of whatever outcome."""
    return {sample.at.astimezone(registry.zone).date() for sample in samples}


def clipped(outages: Iterable[OutageRow], since: dt.datetime, until: dt.datetime) -> list[float]:
    """Of each outage that touches a time, the seconds within it."""
    spans = ((max(o.at, since), min(o.at + dt.timedelta(seconds=o.duration_s), until)) for o in outages)
    return [(end - start).total_seconds() for start, end in spans if end > start]


def _days(since: dt.datetime, until: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    while since < until:
        end = min(since + dt.timedelta(days=1), until)
        yield since, end
        since = end


def _by_place(row: LineRow) -> tuple[tuple[str, str], tuple[str, str], str, str]:
    return alphabetical(row.area), alphabetical(row.hamlet), row.agent, row.line


def _id(row: LineRow) -> LineId:
    return LineId(row.agent, row.line)
