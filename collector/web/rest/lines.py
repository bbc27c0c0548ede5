"""Lines over REST: how they are judged, and what is stored of them."""

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta

from collector.store.line_id import LineId
from collector.web import views
from collector.web.context import Context
from collector.web.csv_export import csv_file
from collector.web.errors import bad_parameter, not_judged_yet, removed_line, unknown_line
from collector.web.line_filter import FilterParameters
from collector.web.parameters import LineParameters
from collector.web.responses import Answer
from xomnet.contract.values import Instant

MAX_RANGE = dt.timedelta(days=31)
DEFAULT_RANGE = dt.timedelta(hours=24)


Since = Annotated[
    Instant | None, Meta(description=f"Included. By default 24 hours before `to`, at most {MAX_RANGE.days} days")
]
Until = Annotated[Instant | None, Meta(description="Not included. By default now")]
Format = Annotated[Literal["json", "csv"], Meta(description="JSON or CSV")]


class HistoryParameters(LineParameters, frozen=True, kw_only=True, rename={"from_": "from"}):
    from_: Since = None
    to: Until = None
    format: Format = "json"


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


def list_lines(context: Context, given: FilterParameters) -> Answer:
    chosen, snapshot, now = given.filter(), context.snapshot(), context.now()
    completeness = context.services.completeness.latest
    lines = [views.line_view(status, now, completeness) for status in snapshot.lines if chosen.matches(status)]
    return Answer(views.Lines(computed_at=snapshot.at, lines=lines))


def get_line(context: Context, given: LineParameters) -> Answer:
    now = context.now()
    line = _registered_line(context, given, now)
    ended = context.services.registry_with_removed().end_of(*line)
    if ended is not None:
        raise removed_line(*line, ended)
    status = context.snapshot().line(*line)
    if status is None:  # registered since the last snapshot
        raise not_judged_yet()
    return Answer(views.line_view(status, now, context.services.completeness.latest))


async def list_speed(context: Context, given: HistoryParameters) -> Answer:
    now = context.now()
    line, (since, until) = _registered_line(context, given, now), time_range(given.from_, given.to, now)
    rows = await context.reads.read(lambda store: store.speed(line, since, until, raw=True))
    results = [views.speed_view(row) for row in rows]
    if given.format == "csv":
        return Answer(csv_file(f"{line.agent}_{line.line}_speed.csv", views.SpeedView, results))
    return Answer(views.SpeedHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))


async def list_latency(context: Context, given: HistoryParameters) -> Answer:
    now = context.now()
    line, (since, until) = _registered_line(context, given, now), time_range(given.from_, given.to, now)
    rows = await context.reads.read(lambda store: store.latency(line, since, until, raw=True))
    results = [views.latency_view(row) for row in rows]
    if given.format == "csv":
        return Answer(csv_file(f"{line.agent}_{line.line}_latency.csv", views.LatencyView, results))
    return Answer(views.LatencyHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))


async def list_outages(context: Context, given: HistoryParameters) -> Answer:
    now = context.now()
    line, (since, until) = _registered_line(context, given, now), time_range(given.from_, given.to, now)
    rows = await context.reads.read(lambda store: store.outages(line, since, until))
    results = [views.outage_view(row) for row in rows]
    if given.format == "csv":
        return Answer(csv_file(f"{line.agent}_{line.line}_outages.csv", views.OutageView, results))
    return Answer(views.OutageHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))


def _registered_line(context: Context, given: LineParameters, now: dt.datetime) -> LineId:
    """A line that is in the registry, or was: its stored results stay. Raises RequestError."""
    line = LineId(given.agent, given.line)
    if context.services.registry_with_removed().latest(*line, now) is None:
        raise unknown_line(*line)
    return line
