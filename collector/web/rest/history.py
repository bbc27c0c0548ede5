"""Stored results and events over REST: those of a range of time, oldest first, as JSON or CSV."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from msgspec import Meta

from collector.store import Store
from collector.store.line_id import LineId
from collector.store.row_types import LatencyRow, OutageRow, SpeedRow, StoredRow
from collector.web import views
from collector.web.context import Context
from collector.web.csv_export import csv_file
from collector.web.errors import RequestError, bad_parameter, unknown_unit
from collector.web.parameters import AgentName, LineName, Parameters
from collector.web.responses import Answer
from collector.web.rest.lines import registered_line
from xomnet.contract.values import Instant

MAX_RANGE = dt.timedelta(days=31)
DEFAULT_RANGE = dt.timedelta(hours=24)
MAX_RESULTS = 20_000
"""In one answer: a month of the schedule has 9,000 of latency."""
TOO_MANY = MAX_RESULTS + 1

Since = Annotated[
    Instant | None, Meta(description=f"Included. By default 24 hours before `to`, at most {MAX_RANGE.days} days")
]
Until = Annotated[Instant | None, Meta(description="Not included. By default now")]
Format = Annotated[Literal["json", "csv"], Meta(description="JSON or CSV")]
R = TypeVar("R", SpeedRow, LatencyRow, OutageRow)


class HistoryParameters(Parameters, frozen=True, kw_only=True, rename={"from_": "from"}):
    agent: AgentName
    from_: Since = None
    to: Until = None
    format: Format = "json"


class LineHistoryParameters(HistoryParameters, frozen=True, kw_only=True):
    line: LineName


async def list_speed(context: Context, given: LineHistoryParameters) -> Answer:
    return await _list_results(
        context, given, "speed", views.SpeedView, views.SpeedHistory,
        lambda store, *of: store.speed(*of, raw=True, latest=TOO_MANY), views.speed_view,
    )  # fmt: skip


async def list_latency(context: Context, given: LineHistoryParameters) -> Answer:
    return await _list_results(
        context, given, "latency", views.LatencyView, views.LatencyHistory,
        lambda store, *of: store.latency(*of, raw=True, latest=TOO_MANY), views.latency_view,
    )  # fmt: skip


async def list_outages(context: Context, given: LineHistoryParameters) -> Answer:
    return await _list_results(
        context, given, "outages", views.OutageView, views.OutageHistory,
        lambda store, *of: store.outages(*of, latest=TOO_MANY), views.outage_view,
    )  # fmt: skip


async def list_events(context: Context, given: HistoryParameters) -> Answer:
    since, until = time_range(given.from_, given.to, context.now())
    if not context.services.registry_with_removed().has_agent(given.agent):
        raise unknown_unit(given.agent)

    def read(store: Store) -> Answer:
        rows = store.events(None, since, until, given.agent, TOO_MANY)
        results = views.event_views(rows)
        _check_number(results)
        if given.format == "csv":
            return Answer(csv_file(f"{given.agent}_events.csv", views.EventView, results))
        return Answer(views.EventHistory(agent=given.agent, from_=since, to=until, results=results))

    return await context.reads.read(read)


def time_range(
    since: dt.datetime | None, until: dt.datetime | None, now: dt.datetime
) -> tuple[dt.datetime, dt.datetime]:
    """[from, to) in UTC. Raises RequestError."""
    until = until or now
    since = since or until - DEFAULT_RANGE
    if since >= until:
        raise bad_parameter("from", since.isoformat(), f"a time before to={until.isoformat()}")
    if until - since > MAX_RANGE:
        allowed = f"at most {MAX_RANGE.days} days before to={until.isoformat()}"
        raise bad_parameter("from", since.isoformat(), allowed)
    return since, until


async def _list_results(
    context: Context,
    given: LineHistoryParameters,
    kind: str,
    view: type[views.StoredView],
    history: type[views.History],
    rows: Callable[[Store, LineId, dt.datetime, dt.datetime], Sequence[R]],
    view_of: Callable[[R], views.StoredView],
) -> Answer:
    """A line's results of one kind; `view` is of each, `history` of all."""
    now = context.now()
    line = registered_line(context, LineId(given.agent, given.line), now)
    since, until = time_range(given.from_, given.to, now)

    def read(store: Store) -> Answer:
        found = rows(store, line, since, until)
        _check_number(found)
        results = [view_of(row) for row in found]
        if given.format == "csv":
            return Answer(csv_file(f"{line.agent}_{line.line}_{kind}.csv", view, results))
        return Answer(history(agent=line.agent, line=line.line, from_=since, to=until, results=results))

    return await context.reads.read(read)


def _check_number(found: Sequence[StoredRow | views.StoredView]) -> None:
    """Raises RequestError rather than leave some out in silence."""
    if len(found) >= TOO_MANY:
        latest = found[-MAX_RESULTS].at.isoformat()
        what = f"more than {MAX_RESULTS} results in this time range"
        allowed = f"a shorter range; the latest {MAX_RESULTS} begin at {latest}"
        raise RequestError(400, what, "query parameter from", allowed)
