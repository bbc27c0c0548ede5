"""The verdicts of the months, written for dashboards: of the present one as it would be now, and of the one before.

A line belongs for a month to where it stood when the month began, or when it came within it: so a row that is added to
the registry in mid-month changes no tags, and leaves no second series behind.
"""

import datetime as dt
from collections.abc import Iterator

from collector.judge.verdict import Month, Verdict, line_verdict
from collector.rollups.aggregate import by_place, month_fields, place_month_fields, portions
from collector.store import Store
from collector.store.derived_points import write_own
from collector.store.line_id import LineId
from collector.store.points import Point, tags_of, time_ns
from xomnet.registry.registry import LineRow, Registry

AT_ONCE = 10
"""Units in one step."""


def write_months(store: Store, registry: Registry, now: dt.datetime, kept_since: dt.datetime | None) -> Iterator[None]:
    """Writes `line_month` and `place_month`, a few units with each step, so that others have their turn in between.

    A month of which the database has let go of results is left as it was written. Raises StoreUnavailable.
    """
    zone = registry.zone.key
    present = Month.of(now, zone)
    for month in (present.previous, present):
        if kept_since is None or kept_since <= month.since(zone):
            yield from _write_month(store, registry, month, now)


def _write_month(store: Store, registry: Registry, month: Month, now: dt.datetime) -> Iterator[None]:
    since, until = month.since(registry.zone.key), month.until(registry.zone.key)
    units: dict[str, list[LineRow]] = {}
    for row in registry.rows_within(since, min(now, until)):
        units.setdefault(row.agent, []).append(row)
    places = first_rows(registry, since)
    verdicts: list[tuple[LineRow, Verdict]] = []
    for some in portions(units, AT_ONCE):
        samples = store.figures.downloads(since, min(now, until), some)
        points = []
        for row in (row for agent in some for row in units[agent]):
            ended = registry.end_of(row.agent, row.line)
            judged_at = now if ended is None else min(now, ended)
            verdict = line_verdict(samples.get(LineId.of(row), []), row, registry, month, judged_at)
            place = places[LineId.of(row)]
            verdicts.append((place, verdict))
            points.append(Point("line_month", tags_of(place, place.line), month_fields(verdict), time_ns(since)))
        write_own(store, points)
        yield
    points = [
        Point("place_month", tags, place_month_fields(members), time_ns(since)) for tags, members in by_place(verdicts)
    ]
    write_own(store, points)
    yield


def first_rows(registry: Registry, since: dt.datetime) -> dict[LineId, LineRow]:
    """Of every line the row that was in force at an instant, or the first one after it."""
    first: dict[LineId, LineRow] = {}
    for row in registry.rows():
        line = LineId.of(row)
        if line not in first:
            first[line] = registry.at(*line, since) or row
    return first


def write_some_months(
    store: Store,
    registry: Registry,
    months: Sequence[Month],
    now: dt.datetime,
    kept_since: dt.datetime | None,
    closed: ClosedVerdicts | None = None,
) -> Iterator[None]:
    """As `write_months`, of these months; of a closed one also where its results are no longer kept."""
    zone, done = registry.zone.key, closed.months() if closed is not None else ()
    for month in months:
        if closed is not None and month in done:
            yield from _write_closed(store, closed.verdicts(month), month.since(zone))
        elif kept_since is None or kept_since <= month.since(zone):
            yield from _write_month(store, registry, month, now)
