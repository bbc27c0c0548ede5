"""Stored results and events over REST: those of a range of time, oldest first, as JSON or CSV."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from msgspec import Meta

from collector.store import Store
from collector.store.line_id import LineId
from collector.web import views
from collector.web.context import Context
from collector.web.csv_export import csv_file
from collector.web.errors import bad_parameter, unknown_unit
from collector.web.parameters import AgentName, LineName, Parameters
from collector.web.responses import Answer
from collector.web.rest.lines import registered_line
from xomnet.contract.values import Instant

MAX_RANGE = dt.timedelta(days=31)
DEFAULT_RANGE = dt.timedelta(hours=24)

Since = Annotated[
    Instant | None, Meta(description=f"Included. By default 24 hours before `to`, at most {MAX_RANGE.days} days")
]
Until = Annotated[Instant | None, Meta(description="Not included. By default now")]
Format = Annotated[Literal["json", "csv"], Meta(description="JSON or CSV")]
Read = Callable[[Store, LineId, dt.datetime, dt.datetime], Iterable[views.StoredView]]


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
        lambda store, line, since, until: map(views.speed_view, store.speed(line, since, until, raw=True)),
    )  # fmt: skip


async def list_latency(context: Context, given: LineHistoryParameters) -> Answer:
    return await _list_results(
        context, given, "latency", views.LatencyView, views.LatencyHistory,
        lambda store, line, since, until: map(views.latency_view, store.latency(line, since, until, raw=True)),
    )  # fmt: skip


async def list_outages(context: Context, given: LineHistoryParameters) -> Answer:
    return await _list_results(
        context, given, "outages", views.OutageView, views.OutageHistory,
        lambda store, line, since, until: map(views.outage_view, store.outages(line, since, until)),
    )  # fmt: skip


async def list_events(context: Context, given: HistoryParameters) -> Answer:
    since, until = time_range(given.from_, given.to, context.now())
    if not context.services.registry_with_removed().has_agent(given.agent):
        raise unknown_unit(given.agent)
    rows = await context.reads.read(lambda store: store.events(None, since, until, given.agent))
    results = views.event_views(rows)
    if given.format == "csv":
        return Answer(csv_file(f"{given.agent}_events.csv", views.EventView, results))
    return Answer(views.EventHistory(agent=given.agent, from_=since, to=until, results=results))


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
    read: Read,
) -> Answer:
    """A line's results of one kind; `view` is of each, `history` of all."""
    now = context.now()
    line = registered_line(context, LineId(given.agent, given.line), now)
    since, until = time_range(given.from_, given.to, now)
    results = await context.reads.read(lambda store: list(read(store, line, since, until)))
    if given.format == "csv":
        return Answer(csv_file(f"{line.agent}_{line.line}_{kind}.csv", view, results))
    return Answer(history(agent=line.agent, line=line.line, from_=since, to=until, results=results))
