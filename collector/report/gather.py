"""From store and registry to the values of the report."""

import datetime as dt
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from collector.judge.assess import counted_mbps
from collector.judge.verdict import Month, line_verdict
from collector.report.model import LineMonth, MonthlyReport
from collector.report.summary import alphabetical, plain
from collector.rollups.aggregate import portions
from collector.rollups.months import AT_ONCE, first_rows
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.row_types import OutageRow, Sample
from xomnet.access import ACCESSES
from xomnet.area import SEPARATOR, areas_of, is_within, last_level
from xomnet.registry.registry import SMALLEST_STEP, LineRow, Registry
from xomnet.targets import Targets

LONGEST_OUTAGE = dt.timedelta(days=62)
"""How long before a month an outage may have begun that still lasts in it."""


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
    """The month of every line registered in it: judged by its registry row at the end, or now, and told under the
    place where it stood when the month began, as in `line_month`. Days are those of the registry's zone; results from
    before `kept_since` are no longer in the store. A few units are read at a time. Raises ReportError or
    StoreUnavailable.
    """
    since, until = bounds(registry, month, now)
    if since > now:
        raise ReportError(f"{month} has not begun; the present month is {Month.of(now)}")
    if kept_since is not None and since < kept_since:
        raise ReportError(f"the results of {month} are no longer all kept: store.keep_days lets go of what is older")
    at_end, at_start = {LineId.of(row): row for row in registry.rows_within(since, until)}, first_rows(registry, since)
    shown = [
        replace(at_start[line], plan_mbps=row.plan_mbps, target_mbps=row.target_mbps) for line, row in at_end.items()
    ]
    rows = lines_within(sorted(shown, key=_by_place), area, month)
    before_kept = kept_since is None or bounds(registry, month.previous, now)[0] >= kept_since
    units: dict[str, list[LineRow]] = {}
    for row in at_end.values():
        units.setdefault(row.agent, []).append(row)
    months: dict[LineId, LineMonth] = {}
    for some in portions((row.agent for row in rows), AT_ONCE):
        months |= _months(store, registry, month, now, [units[agent] for agent in some], before_kept)
    day = (until - SMALLEST_STEP).astimezone(registry.zone).date()
    in_force = {access: targets.in_force(access, day) for access in ACCESSES}
    lines = [replace(months[LineId.of(row)], row=row) for row in rows]
    return MonthlyReport(month, area, now, in_force, lines, before_kept)


def _months(
    store: Store,
    registry: Registry,
    month: Month,
    now: dt.datetime,
    units: Sequence[Sequence[LineRow]],
    before_kept: bool,
) -> dict[LineId, LineMonth]:
    """Of all lines of some units."""
    (since, until), (before, before_end) = bounds(registry, month, now), bounds(registry, month.previous, now)
    lines = [LineId.of(row) for unit in units for row in unit]
    samples = store.samples(since, until, lines)
    samples_before = store.samples(before, before_end, lines) if before_kept else {}
    months: dict[LineId, LineMonth] = {}
    for unit in units:
        due = {LineId.of(row): registered_days(registry, LineId.of(row), month, now) for row in unit}
        made = {line: [s for s in samples.get(line, ()) if s.excluded is None] for line in due}
        heard = {line: test_days(made[line], registry) for line in due}
        for row in unit:
            line = LineId.of(row)
            own = samples.get(line, ())
            began = [o for o in store.outages(line, since - LONGEST_OUTAGE, until) if o.excluded is None]
            outages = clip_outages(began, since, until)
            ended = registry.end_of(*line)
            judged_at = now if ended is None else min(now, ended)
            row_before = registry.at(*line, before_end - SMALLEST_STEP) or row
            months[line] = LineMonth(
                row=row,
                verdict=line_verdict(own, row, registry, month, judged_at),
                before=line_verdict(samples_before.get(line, ()), row_before, registry, month.previous, judged_at),
                failed_at=tuple(s.at for s in own if s.asked is None and s.error and counted_mbps(s) is not None),
                outages=len(outages),
                outage_s=sum(outages),
                longest_outage_s=max(outages, default=0.0),
                silent_days=len(due[line] - heard[line]),
                unit_silent_days=len(set().union(*due.values()).difference(*heard.values())),
                last_test_at=made[line][-1].at if made[line] else None,
                taken_out_at=ended if ended is not None and ended <= until else None,
            )
    return months


def bounds(registry: Registry, month: Month, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """First instant of a month, and the first that is no longer in it, or now."""
    zone = registry.zone.key
    return month.since(zone), min(now, month.until(zone))


def lines_within(rows: Sequence[LineRow], area: str | None, month: Month) -> list[LineRow]:
    """Those within an area, at whatever level; all for None. Raises ReportError where there is none."""
    found = [row for row in rows if area is None or is_within(row.area, area.strip(SEPARATOR))]
    if found:
        return found
    if not rows:
        raise ReportError(f"no line was registered in {month}: look at the column `from` of the registry")
    raise ReportError(f"no line is in the area {area!r}; the closest: {', '.join(closest_areas(rows, area or ''))}")


def closest_areas(rows: Iterable[LineRow], area: str, most: int = 3) -> list[str]:
    """Areas of some lines, at any level, that are written most like one that there is not."""
    places = sorted({place for row in rows for place in areas_of(row.area)})
    like = {place: _likeness(place, area) for place in places}
    return sorted(places, key=lambda place: -like[place])[:most]


def _likeness(place: str, asked: str) -> float:
    """Of the whole path, or of its last name alone; whatever the letters' case and accents."""
    asked = plain(asked)
    return max(difflib.SequenceMatcher(None, one, asked).ratio() for one in (plain(place), plain(last_level(place))))


def registered_days(registry: Registry, line: LineId, month: Month, now: dt.datetime) -> set[dt.date]:
    """Days of a month that are over and on which a line was registered."""
    whole = ((a, b) for a, b in _days(*bounds(registry, month, now)) if b - a == dt.timedelta(days=1))
    return {
        start.date() for start, end in whole if registry.at(*line, start) and registry.at(*line, end - SMALLEST_STEP)
    }


def test_days(samples: Iterable[Sample], registry: Registry) -> set[dt.date]:
    """Days of which there is a test, of whatever outcome."""
    return {sample.at.astimezone(registry.zone).date() for sample in samples}


def clip_outages(outages: Iterable[OutageRow], since: dt.datetime, until: dt.datetime) -> list[float]:
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
