"""The pages for people. They read the snapshot; only the page of a line reads the store."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Meta
from starlette.responses import HTMLResponse, Response

from collector.judge.assess import MAX_TESTS, Judgement
from collector.judge.line_states import LineStatus
from collector.judge.line_tracker import LOOK_BACK
from collector.services import Services
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.row_types import EventRow
from collector.web.axis import HOURS, Axis, Hours, default_hours, fit_axis
from collector.web.context import Context
from collector.web.errors import RequestError, not_judged_yet, unknown_line
from collector.web.line_actions import line_actions, refusal_texts
from collector.web.line_filter import FilterParameters
from collector.web.line_page import LineHistory, line_page, removal_text
from collector.web.overview import overview
from collector.web.page_request import PageRequest
from collector.web.parameters import AnyParameters, LineParameters
from xomnet import __version__
from xomnet.contract.values import Instant
from xomnet.plan import PROVINCE_TIME
from xomnet.states import LOOKS

R = TypeVar("R")

TEMPLATES = Path(__file__).parent / "templates"
MONTH = dt.timedelta(hours=HOURS[-1])
TICK = dt.timedelta(microseconds=1)
"""The precision of a stored time."""
MAX_EVENTS = 20
MAX_EVENTS_READ = 1000
"""With the receipts, which are not shown."""
MAX_SPEED, MAX_LATENCY, MAX_OUTAGES = 2000, 10_000, 2000
"""The latest of a line that are read whole: more than a month of the schedule has."""

environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


class OverviewParameters(FilterParameters, frozen=True, kw_only=True, forbid_unknown_fields=False):
    all: Annotated[Literal["1"] | None, Meta(description="Every row, however many")] = None


class LinePageParameters(LineParameters, frozen=True, kw_only=True, forbid_unknown_fields=False):
    hours: Annotated[Hours | None, Meta(description="The range of the charts; by default what the data fill")] = None
    test: Annotated[Instant | None, Meta(description="Whose figures are all shown; by default the last")] = None


def _only(rows: Sequence[R]) -> R | None:
    return rows[0] if rows else None


def _newest(events: Mapping[LineId, Sequence[EventRow]], line: LineId) -> list[EventRow]:
    """Events of a line and of its unit, without the daily receipts."""
    found = [*events.get(LineId(line.agent, ""), ()), *events.get(line, ())]
    return sorted((one for one in found if one.name != "manifest"), key=lambda one: one.at, reverse=True)[:MAX_EVENTS]


def show_overview(context: Context, given: OverviewParameters, request: PageRequest) -> Response:
    t, now = request.texts, context.now()
    snapshot = context.services.lines.latest
    if snapshot is None:
        return _show_loading(request)
    content = overview(snapshot, given.filter(), t, now, show_all=given.all is not None)
    age_s = (now - snapshot.at).total_seconds()
    return _render(
        request,
        "overview.html",
        refresh_s=5 if len(content.rows) <= 200 else 30,
        page=content,
        computed=t.moment(snapshot.at),
        computed_at=snapshot.at,
        computed_ago=t.ago(max(0.0, age_s)),
        old=age_s > context.max_snapshot_age_s,
        rejected=sum(context.services.dead_letters.counts().values()),
    )


async def show_line(context: Context, given: LinePageParameters, request: PageRequest) -> Response:
    if context.services.lines.latest is None:
        return _show_loading(request)
    return await context.reads.read(lambda store: _show_line(store, context, given, request))


def _show_line(store: Store, context: Context, given: LinePageParameters, request: PageRequest) -> Response:
    """Reads and draws: neither is for the event loop."""
    t, now, services = request.texts, context.now(), context.services
    line = LineId(given.agent, given.line)
    status, ended = _line_status(services, line, now), services.registry_with_removed().end_of(*line)
    until = now if ended is None else min(now, ended)
    rules = services.lines.rules
    history, axis, hours = _read_history(store, line, given, rules.window, until, now)
    if given.test is not None and history.test is None:
        raise RequestError(404, "no test of this line began then", "query parameter test", "a time of its table")
    found = services.completeness.latest
    complete = None if found is None else found.line(line).tally.ratio
    content = line_page(status, history, axis, hours, rules, t, now, complete, given.test is not None)
    may_change = context.operator.enabled
    if ended is not None:
        gone = replace(content, why=removal_text(t, ended))
        return _render(request, "line.html", page=gone, actions=None, may_change=False)
    return _render(
        request,
        "line.html",
        refresh_s=10 if hours <= 24 else 60,
        page=content,
        actions=line_actions(services.alerts, status, may_change, t, now),
        may_change=may_change,
        refusals=refusal_texts(t),
    )


def _read_history(
    store: Store, line: LineId, given: LinePageParameters, window: dt.timedelta, until: dt.datetime, now: dt.datetime
) -> tuple[LineHistory, Axis, int]:
    """What the page shows, and over which range. Raises StoreUnavailable."""
    samples = store.samples(until - MONTH - window, until, [line], MAX_TESTS).get(line, [])
    in_month = [sample.at for sample in samples if sample.at >= until - MONTH]
    if given.hours is None:
        hours = default_hours(in_month[0] if in_month else None, until)
        axis = fit_axis(in_month, hours, until)
    else:
        hours = given.hours
        axis = Axis(until - dt.timedelta(hours=hours), until)
    samples = [sample for sample in samples if sample.at >= axis.since - window]
    # An outage belongs to the axis by its end, and may have begun before it.
    outages = store.outages(line, axis.since - dt.timedelta(days=1), until, MAX_OUTAGES)
    outages = [row for row in outages if row.at + dt.timedelta(seconds=row.duration_s) > axis.since]
    latency = store.latency(line, axis.since, until, latest=MAX_LATENCY)
    tested = given.test or (samples[-1].at if samples and samples[-1].at >= axis.since else None)
    history = LineHistory(
        samples,
        store.speed(line, axis.since - window, until, latest=MAX_SPEED),
        latency,
        outages,
        test=_only(store.speed(line, tested, tested + TICK, raw=True)) if tested else None,
        probe=_only(store.latency(line, latency[-1].at, latency[-1].at + TICK, raw=True)) if latency else None,
        health=store.health(now - LOOK_BACK, line.agent, raw=True).get(line.agent),
        events=_newest(store.events(None, axis.since, until, line.agent, MAX_EVENTS_READ), line),
    )
    return history, axis, hours


def _line_status(services: Services, line: LineId, now: dt.datetime) -> LineStatus:
    snapshot = services.lines.latest
    status = snapshot.line(*line) if snapshot else None
    if status is not None:
        return status
    registry = services.registry_with_removed()
    row = registry.latest(*line, now)
    if row is None:
        raise unknown_line(*line)
    if registry.end_of(*line) is None:
        raise not_judged_yet()
    return LineStatus(row, Judgement("not_assessable", 0, registry.target_mbps(row, now)))


def show_error(request: PageRequest, error: RequestError) -> Response:
    """An error for a person: what, where, what is allowed; never a trace."""
    t = request.texts
    headings = {
        400: t.text("This address has an invalid parameter"),
        404: t.text("There is no such page"),
        503: t.text("The figures can't be read right now"),
    }
    return _render(
        request,
        "problem.html",
        error.status,
        refresh_s=5 if error.status == 503 else 0,
        heading=headings.get(error.status, t.text("An error occurred in the program")),
        error=error,
    )


async def state_colours(_context: Context, _given: AnyParameters, _request: PageRequest) -> Response:
    """The colours of the states as CSS variables, from their one definition."""
    rules = "".join(f"--{state.replace('_', '-')}:{look.colour};" for state, look in LOOKS.items())
    classes = "".join(f".{state}{{--state:var(--{state.replace('_', '-')})}}" for state in LOOKS)
    return Response(f":root{{{rules}}}{classes}", headers={"Cache-Control": "no-cache"}, media_type="text/css")


def _show_loading(request: PageRequest) -> Response:
    """No line is judged yet."""
    return _render(request, "loading.html", refresh_s=2)


def _render(request: PageRequest, template: str, status: int = 200, refresh_s: int = 0, **content: Any) -> Response:
    t = request.texts
    html = environment.get_template(template).render(
        _=t.text,
        n_=t.plural,
        t=t,
        other=request.other_language,
        other_href=request.other_href,
        refresh_s=refresh_s,
        zone=PROVINCE_TIME,
        version=__version__,
        **content,
    )
    response = HTMLResponse(html, status, {"Cache-Control": "no-store", "Content-Language": t.language})
    response.headers["Vary"] = "Cookie"
    if status == 503:
        response.headers["Retry-After"] = "5"
    request.keep_language(response)
    return response
