"""What new exclusions touch: which hours, and the months of some units written again."""

import datetime as dt
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from collector.judge.verdict import Month, Verdict
from collector.rollups.aggregate import HOUR, by_place, month_fields, place_month_fields, portions
from collector.rollups.months import AT_ONCE, first_rows, unit_verdicts
from collector.store import Store
from collector.store.derived_points import rewrite_own
from collector.store.exclusions import FAR, MEASURED_AHEAD, Exclusion
from collector.store.line_id import LineId
from collector.store.pages import pages_back
from collector.store.points import COUNTED, EPOCH, Point, tags_of, time_ns
from xomnet.registry.registry import SMALLEST_STEP, LineRow, Registry

SERVER_DAYS = 92
"""How many days back an entry of a server is followed: it may touch every line."""


class TouchedHours(NamedTuple):
    """Instants in the hours in which an entry touches results of a unit; None: of any unit."""

    at: frozenset[dt.datetime]
    agent: str | None


def touched_hours(
    store: Store, registry: Registry, entries: Iterable[Exclusion], now: dt.datetime
) -> Iterator[TouchedHours]:
    """The hours of what some entries touch, a page of results at a time. Raises StoreUnavailable."""
    end = now + MEASURED_AHEAD
    for entry in entries:
        if entry.scope == "server":
            since, until = max(entry.since, now - dt.timedelta(days=SERVER_DAYS)), min(entry.until or end, end)
            yield TouchedHours(frozenset(since + n * HOUR for n in range((until - since) // HOUR + 2)), None)
            continue
        if entry.basis == "measured":
            since, until = entry.since, min(entry.until or end, end)
        else:
            since, until = EPOCH, min(entry.until or FAR - MEASURED_AHEAD, now) + MEASURED_AHEAD
        for line in {LineId.of(row) for row in registry.rows() if entry.is_of(LineId.of(row))}:
            for measurement in COUNTED:
                for page in pages_back(partial(store.stamps, measurement, line), since, until):
                    ats = (stamp.at for stamp in page if entry.covers(stamp.at, stamp.received_ms))
                    hours = frozenset(at.replace(minute=0, second=0, microsecond=0) for at in ats)
                    yield TouchedHours(hours, line.agent)


def rewrite_month(
    store: Store, registry: Registry, month: Month, agents: set[str] | None, now: dt.datetime
) -> Iterator[None]:
    """Writes the month of some units, or of all (None), again, and the places where they stand: with what is stored of
    the other lines. A line whose month was never written is left out. A few units with each step. Raises
    StoreUnavailable.
    """
    since = month.since(registry.zone.key)
    stored = {_line_of(one): one for one in store.figures.points("line_month", since, since + SMALLEST_STEP)}
    places = first_rows(registry, since)
    rows = [
        row
        for row in registry.rows_within(since, min(now, month.until(registry.zone.key)))
        if LineId.of(row) in stored and (agents is None or row.agent in agents)
    ]
    fresh: list[tuple[LineRow, Verdict]] = []
    for some in portions((row.agent for row in rows), AT_ONCE):
        found = unit_verdicts(store, registry, month, now, [row for row in rows if row.agent in some], places)
        points = [
            Point("line_month", tags_of(place, place.line), month_fields(v), time_ns(since)) for place, v in found
        ]
        rewrite_own(store, points)
        fresh += found
        yield
    again = {LineId.of(place) for place, _ in fresh}
    others = [(places[line], _verdict(one)) for line, one in stored.items() if line in places and line not in again]
    touched = [tags for tags, _ in by_place(fresh)]
    points = [
        Point("place_month", tags, place_month_fields(members), time_ns(since))
        for tags, members in by_place([*fresh, *others])
        if tags in touched
    ]
    rewrite_own(store, points)
    yield


def _line_of(point: Point) -> LineId:
    return LineId(point.tags["agent"], point.tags["line"])


def _verdict(point: Point) -> Verdict:
    """As much of a stored verdict as the figures of places need."""
    fields = point.fields
    median_mbps = fields.get("median_mbps")
    return Verdict(
        fields["verdict"],  # type: ignore[arg-type]  # it was written as one
        float(fields["target_mbps"]),
        median_mbps=None if median_mbps is None else float(median_mbps),
    )
