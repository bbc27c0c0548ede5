"""The verdicts of the months, written for dashboards: of the present one as it would be now, and of the one before.

A line belongs for a month to where it stood when the month began, or when it came within it: so a row that is added to
the registry in mid-month changes no tags, and leaves no second series behind.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from collector.judge.verdict import Month, Verdict, line_verdict
from collector.rollups.aggregate import by_place, month_fields, place_month_fields, portions
from collector.store import Store
from collector.store.derived_points import write_own
from collector.store.line_id import LineId
from collector.store.points import Point, tags_of, time_ns
from xomnet.registry.registry import LineRow, Registry

AT_ONCE = 10
"""Units in one step."""


IsClosed = Callable[[Month], bool]
"""True of a month whose figures no longer change."""


def none_closed(month: Month) -> bool:
    return False


def write_months(
    store: Store,
    registry: Registry,
    now: dt.datetime,
    kept_since: dt.datetime | None,
    is_closed: IsClosed = none_closed,
) -> Iterator[None]:
    """Writes `line_month` and `place_month`, a few units with each step, so that others have their turn in between.

    A month of which the database has let go of results is left as it was written. Raises StoreUnavailable.
    """
    zone = registry.zone.key
    present = Month.of(now, zone)
    for month in (present.previous, present):
        if not is_closed(month) and (kept_since is None or kept_since <= month.since(zone)):
            yield from _write_month(store, registry, month, now)


def _write_month(store: Store, registry: Registry, month: Month, now: dt.datetime) -> Iterator[None]:
    since, until = month.since(registry.zone.key), month.until(registry.zone.key)
    units: dict[str, list[LineRow]] = {}
    for row in registry.rows_within(since, min(now, until)):
        units.setdefault(row.agent, []).append(row)
    places = first_rows(registry, since)
    verdicts: list[tuple[LineRow, Verdict]] = []
    for some in portions(units, AT_ONCE):
        found = unit_verdicts(store, registry, month, now, [row for agent in some for row in units[agent]], places)
        verdicts += found
        points = [
            Point("line_month", tags_of(place, place.line), month_fields(v), time_ns(since)) for place, v in found
        ]
        write_own(store, points)
        yield
    points = [
        Point("place_month", tags, place_month_fields(members), time_ns(since)) for tags, members in by_place(verdicts)
    ]
    write_own(store, points)
    yield


def unit_verdicts(
    store: Store,
    registry: Registry,
    month: Month,
    now: dt.datetime,
    rows: Sequence[LineRow],
    places: Mapping[LineId, LineRow],
) -> list[tuple[LineRow, Verdict]]:
    """The months of the lines of a few units, each under its row of `places`. Raises StoreUnavailable."""
    since, until = month.since(registry.zone.key), month.until(registry.zone.key)
    samples = store.figures.downloads(since, min(now, until), sorted({row.agent for row in rows}))
    verdicts: list[tuple[LineRow, Verdict]] = []
    for row in rows:
        line, ended = LineId.of(row), registry.end_of(row.agent, row.line)
        judged_at = now if ended is None else min(now, ended)
        verdicts.append((places[line], line_verdict(samples.get(line, []), row, registry, month, judged_at)))
    return verdicts


def first_rows(registry: Registry, since: dt.datetime) -> dict[LineId, LineRow]:
    """Of every line the row that was in force at an instant, or the first one after it."""
    first: dict[LineId, LineRow] = {}
    for row in registry.rows():
        line = LineId.of(row)
        if line not in first:
            first[line] = registry.at(*line, since) or row
    return first
