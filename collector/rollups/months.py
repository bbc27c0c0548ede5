"""The verdicts of the months, written for dashboards: of the present one as it would be now, and of the one before.
Those of a closed month are its record's, and are never computed again.

A line belongs for a month to where it stood when the month began, or when it came within it: so a row that is added to
the registry in mid-month changes no tags, and leaves no second series behind.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from collector.judge.verdict import Month, Verdict, line_verdict
from collector.rollups.aggregate import by_place, month_fields, place_month_fields, portions
from collector.store import Store
from collector.store.derived_points import rewrite_own, write_own
from collector.store.line_id import LineId
from collector.store.points import Point, tags_of, time_ns
from xomnet.registry.registry import SMALLEST_STEP, LineRow, Registry

AT_ONCE = 10
"""Units in one step."""
MAX_POINTS = 2000
"""Of a closed month in one step."""


class ClosedVerdicts(Protocol):
    """The record of the closed months. Raises StoreUnavailable."""

    def months(self) -> Sequence[Month]: ...

    def verdicts(self, month: Month) -> list[tuple[LineRow, Verdict]]:
        """Of every line, under the row of its place."""


def write_months(
    store: Store,
    registry: Registry,
    now: dt.datetime,
    kept_since: dt.datetime | None,
    closed: ClosedVerdicts | None = None,
) -> Iterator[None]:
    """Writes `line_month` and `place_month`, a few units with each step, so that others have their turn in between.

    A month of which the database has let go of results is left as it was written. Raises StoreUnavailable.
    """
    zone = registry.zone.key
    present = Month.of(now, zone)
    done = closed.months() if closed is not None else ()
    for month in dict.fromkeys((*done, present.previous, present)):
        if kept_since is not None and kept_since > month.since(zone):
            continue
        if closed is not None and month in done:
            yield from _write_closed(store, closed.verdicts(month), month.since(zone))
        else:
            yield from _write_month(store, registry, month, now)


def _write_closed(store: Store, verdicts: list[tuple[LineRow, Verdict]], since: dt.datetime) -> Iterator[None]:
    """Once: what the database has already is left as it is."""
    points = [*(_line_point(row, verdict, since) for row, verdict in verdicts), *_place_points(verdicts, since)]
    yield
    stored = [
        point
        for measurement in ("line_month", "place_month")
        for point in store.figures.points(measurement, since, since + SMALLEST_STEP)
    ]
    kept = {_key(point): point for point in stored}
    missing = [point for point in points if kept.get(_key(point)) != point]
    for start in range(0, len(missing), MAX_POINTS):
        rewrite_own(store, missing[start : start + MAX_POINTS])
        yield


def _key(point: Point) -> tuple[str, ...]:
    return (point.measurement, *(f"{name}={value}" for name, value in sorted(point.tags.items())))


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
        write_own(store, [_line_point(place, verdict, since) for place, verdict in found])
        yield
    write_own(store, _place_points(verdicts, since))
    yield


def _line_point(place: LineRow, verdict: Verdict, since: dt.datetime) -> Point:
    return Point("line_month", tags_of(place, place.line), month_fields(verdict), time_ns(since))


def _place_points(verdicts: Iterable[tuple[LineRow, Verdict]], since: dt.datetime) -> list[Point]:
    return [
        Point("place_month", tags, place_month_fields(members), time_ns(since)) for tags, members in by_place(verdicts)
    ]


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
