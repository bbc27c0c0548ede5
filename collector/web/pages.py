"""The pages for people. They read the snapshot; only the page of a line reads the store."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus
from collector.judge.line_tracker import LOOK_BACK
from collector.services import Services
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.row_types import EventRow
from collector.texts.texts import LANGUAGES, Language, Texts
from collector.web import query
from collector.web.api import old_after_s
from collector.web.axis import HOURS, Axis, chosen_hours, fitted
from collector.web.errors import RequestError, not_judged_yet, unknown_line
from collector.web.line_page import History, line_page, taken_out
from collector.web.overview import overview
from collector.web.reads import StoreReads
from collector.web.refusals import refusals
from collector.web.standing import line_actions
from xomnet import __version__
from xomnet.states import LOOKS
from xomnet.targets import PROVINCE_TIME

R = TypeVar("R")

TEMPLATES = Path(__file__).parent / "templates"
COOKIE = "lang"
COOKIE_S = 365 * 86_400
MONTH = dt.timedelta(hours=HOURS[-1])
TICK = dt.timedelta(microseconds=1)
"""The precision of a stored time."""
MAX_EVENTS = 20

environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


class Pages:
    """The HTML endpoints."""

    def __init__(self, services: Services, reads: StoreReads) -> None:
        self._services, self._reads = services, reads

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.overview),
            Route("/lines/{agent}/{line}", self.line),
            Route("/states.css", self.state_colours),
        ]

    def overview(self, request: Request) -> Response:
        t, now = texts_of(request), dt.datetime.now(dt.UTC)
        asked = query.filter_of(request.query_params)
        snapshot = self._services.lines.latest
        if snapshot is None:
            return _loading(request, t)
        content = overview(snapshot, asked, t, now, show_all=query.choice(request.query_params, "all", ("1",)) == "1")
        age_s = (now - snapshot.at).total_seconds()
        return _page(
            request,
            "overview.html",
            t,
            refresh_s=5 if len(content.rows) <= 200 else 30,
            page=content,
            computed=t.moment(snapshot.at),
            computed_at=snapshot.at,
            computed_ago=t.ago(max(0.0, age_s)),
            old=age_s > old_after_s(self._services),
            rejected=sum(self._services.dead_letters.counts().values()),
        )

    async def line(self, request: Request) -> Response:
        t, now = texts_of(request), dt.datetime.now(dt.UTC)
        asked = query.choice(request.query_params, "hours", [str(hours) for hours in HOURS])
        chosen = query.instant(request.query_params, "test")
        if self._services.lines.latest is None:
            return _loading(request, t)
        line = LineId(request.path_params["agent"], request.path_params["line"])
        status, ended = self._status(line, now), self._services.ever().ended(*line)
        until = now if ended is None else min(now, ended)
        rules = self._services.lines.rules

        def read(store: Store) -> tuple[History, Axis, int]:
            speed = store.speed(line, until - MONTH - rules.window, until)
            in_month = [row.at for row in speed if row.at >= until - MONTH]
            if asked is None:
                hours = chosen_hours(in_month[0] if in_month else None, until)
                axis = fitted(in_month, hours, until)
            else:
                hours = int(asked)
                axis = Axis(until - dt.timedelta(hours=hours), until)
            speed = [row for row in speed if row.at >= axis.since - rules.window]
            # An outage belongs to the axis by its end, and may have begun before it.
            outages = store.outages(line, axis.since - dt.timedelta(days=1), until)
            outages = [row for row in outages if row.at + dt.timedelta(seconds=row.duration_s) > axis.since]
            latency = store.latency(line, axis.since, until)
            tested = chosen or (speed[-1].at if speed and speed[-1].at >= axis.since else None)
            history = History(
                speed,
                latency,
                outages,
                test=_only(store.speed(line, tested, tested + TICK, raw=True)) if tested else None,
                probe=_only(store.latency(line, latency[-1].at, latency[-1].at + TICK, raw=True)) if latency else None,
                health=store.health(now - LOOK_BACK, line.agent, raw=True).get(line.agent),
                events=_newest(store.events(None, axis.since, until, line.agent), line),
            )
            return history, axis, hours

        history, axis, hours = await self._reads.read(read)
        if chosen is not None and history.test is None:
            raise RequestError(404, "no test of this line began then", "query parameter test", "a time of its table")
        found = self._services.completeness.latest
        complete = None if found is None else found.line(line).tally.ratio
        content = line_page(status, history, axis, hours, rules, t, now, complete, chosen is not None)
        may_change = request.app.state.operator_token is not None
        if ended is not None:
            gone = replace(content, why=taken_out(t, ended))
            return _page(request, "line.html", t, page=gone, standing=None, may_change=False)
        said = await run_in_threadpool(line_actions, self._services.alerts, status, may_change, t, now)
        return _page(
            request, "line.html", t, refresh_s=10 if hours <= 24 else 60, page=content, standing=said,
            may_change=may_change, refusals=refusals(t),
        )  # fmt: skip

    def _status(self, line: LineId, now: dt.datetime) -> LineStatus:
        snapshot = self._services.lines.latest
        status = snapshot.line(*line) if snapshot else None
        if status is not None:
            return status
        registry = self._services.ever()
        row = registry.latest(*line, now)
        if row is None:
            raise unknown_line(*line)
        if registry.ended(*line) is None:
            raise not_judged_yet()
        return LineStatus(row, Judgement("not_assessable", 0, registry.target_mbps(row, now)))

    def problem(self, request: Request, error: RequestError) -> Response:
        """An error for a person: what, where, what is allowed; never a trace."""
        try:
            t = texts_of(request)
        except RequestError:
            t = Texts(LANGUAGES[0])
        headings = {
            400: t.text("This address asks for something that does not exist"),
            404: t.text("There is no such page"),
            503: t.text("The figures can't be read just now"),
        }
        return _page(
            request,
            "problem.html",
            t,
            error.status,
            refresh_s=5 if error.status == 503 else 0,
            heading=headings.get(error.status, t.text("Something went wrong in the program")),
            error=error,
        )

    async def state_colours(self, _: Request) -> Response:
        """The colours of the states as CSS variables, from their one definition."""
        rules = "".join(f"--{state.replace('_', '-')}:{look.colour};" for state, look in LOOKS.items())
        classes = "".join(f".{state}{{--state:var(--{state.replace('_', '-')})}}" for state in LOOKS)
        return Response(f":root{{{rules}}}{classes}", headers={"Cache-Control": "no-cache"}, media_type="text/css")


def _only(rows: Sequence[R]) -> R | None:
    return rows[0] if rows else None


def _newest(events: Mapping[LineId, Sequence[EventRow]], line: LineId) -> list[EventRow]:
    """Events of a line and of its unit, without the daily receipts."""
    found = [*events.get(LineId(line.agent, ""), ()), *events.get(line, ())]
    return sorted((one for one in found if one.name != "manifest"), key=lambda one: one.at, reverse=True)[:MAX_EVENTS]


def texts_of(request: Request) -> Texts:
    """The language asked for, else the one kept in the cookie, else Vietnamese. Raises RequestError."""
    asked = query.choice(request.query_params, "lang", LANGUAGES)
    kept = request.cookies.get(COOKIE)
    language = asked or (kept if kept in LANGUAGES else LANGUAGES[0])
    return Texts(cast(Language, language))


def _loading(request: Request, t: Texts) -> Response:
    """No line is judged yet."""
    return _page(request, "loading.html", t, refresh_s=2)


def _page(request: Request, template: str, t: Texts, status: int = 200, refresh_s: int = 0, **content: Any) -> Response:
    other: Language = "en" if t.language == "vi" else "vi"
    html = environment.get_template(template).render(
        _=t.text,
        n_=t.plural,
        t=t,
        other=other,
        other_href=str(request.url.include_query_params(lang=other).replace(scheme="", netloc="")),
        refresh_s=refresh_s,
        zone=PROVINCE_TIME,
        version=__version__,
        **content,
    )
    answer = HTMLResponse(html, status, {"Cache-Control": "no-store", "Content-Language": t.language})
    answer.headers["Vary"] = "Cookie"
    if status == 503:
        answer.headers["Retry-After"] = "5"
    if request.query_params.get("lang") == t.language and request.cookies.get(COOKIE) != t.language:
        answer.set_cookie(COOKIE, t.language, max_age=COOKIE_S, httponly=True, samesite="lax")
    return answer
