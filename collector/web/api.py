"""The REST interface. `views` says what is answered, `openapi` describes it from the same types."""

import csv
import datetime as dt
import io
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.alerts.dispatcher import Dispatcher
from collector.judge.line_states import Snapshot
from collector.judge.line_tracker import LOOK_BACK
from collector.services import Services
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.web import query, views
from collector.web.completeness_view import completeness_view
from collector.web.errors import RequestError, not_counted_yet, not_judged_yet, taken_out, unknown_line, unknown_unit
from collector.web.openapi import document
from collector.web.reads import StoreReads
from xomnet import __version__

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RANGE = ("from", "to", "format")


def json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer of our types."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def problem(error: RequestError) -> Response:
    """`{"error": {"what", "where", "allowed"}}` with its status."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return json(views.Error(error=views.StatusProblem.of(error)), error.status, headers)


class Api:
    """The endpoints. They read `services` and write nothing."""

    def __init__(self, services: Services, reads: StoreReads) -> None:
        self._services, self._reads = services, reads
        self._openapi = msgspec.json.encode(document())

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/v1/lines", self.lines),
            Route("/api/v1/lines/{agent}/{line}", self.line),
            Route("/api/v1/lines/{agent}/{line}/speed", self.speed),
            Route("/api/v1/lines/{agent}/{line}/latency", self.latency),
            Route("/api/v1/lines/{agent}/{line}/outages", self.outages),
            Route("/api/v1/agents", self.agents),
            Route("/api/v1/agents/{agent}/events", self.events),
            Route("/api/v1/completeness", self.completeness),
            Route("/api/v1/rejected", self.rejected),
            Route("/openapi.json", self.openapi),
            Route("/healthz", self.healthz),
            Route("/metrics", self.metrics),
        ]

    def _snapshot(self) -> Snapshot:
        snapshot = self._services.lines.latest
        if snapshot is None:
            raise not_judged_yet()
        return snapshot

    def lines(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, query.FACETS)
        asked = query.filter_of(request.query_params)
        snapshot, now = self._snapshot(), dt.datetime.now(dt.UTC)
        lines = [
            views.line_view(status, now, self._services.completeness.latest)
            for status in snapshot.lines
            if asked.matches(status)
        ]
        return json(views.Lines(computed_at=snapshot.at, lines=lines))

    def line(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        line = self._known(request)
        ended = self._services.ever().ended(*line)
        if ended is not None:
            raise taken_out(*line, ended)
        status = self._snapshot().line(*line)
        if status is None:  # registered since the last snapshot
            raise not_judged_yet()
        return json(views.line_view(status, dt.datetime.now(dt.UTC), self._services.completeness.latest))

    def _known(self, request: Request) -> LineId:
        """A line that is registered, or was: what is stored of it stays."""
        line = LineId(request.path_params["agent"], request.path_params["line"])
        if self._services.ever().latest(*line, dt.datetime.now(dt.UTC)) is None:
            raise unknown_line(*line)
        return line

    def _range(self, request: Request) -> tuple[dt.datetime, dt.datetime, bool]:
        """From when to when, and whether as CSV."""
        query.refuse_unknown(request.query_params, RANGE)
        since, until = query.time_range(request.query_params, dt.datetime.now(dt.UTC))
        return since, until, query.choice(request.query_params, "format", ("json", "csv")) == "csv"

    async def speed(self, request: Request) -> Response:
        (since, until, as_csv), line = self._range(request), self._known(request)
        rows = await self._reads.read(lambda store: store.speed(line, since, until, raw=True))
        results = [views.speed_view(row) for row in rows]
        if as_csv:
            return _csv(views.SpeedView, results, f"{line.agent}_{line.line}_speed.csv")
        return json(views.SpeedHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))

    async def latency(self, request: Request) -> Response:
        (since, until, as_csv), line = self._range(request), self._known(request)
        rows = await self._reads.read(lambda store: store.latency(line, since, until, raw=True))
        results = [views.latency_view(row) for row in rows]
        if as_csv:
            return _csv(views.LatencyView, results, f"{line.agent}_{line.line}_latency.csv")
        return json(views.LatencyHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))

    async def outages(self, request: Request) -> Response:
        (since, until, as_csv), line = self._range(request), self._known(request)
        rows = await self._reads.read(lambda store: store.outages(line, since, until))
        results = [views.outage_view(row) for row in rows]
        if as_csv:
            return _csv(views.OutageView, results, f"{line.agent}_{line.line}_outages.csv")
        return json(views.OutageHistory(agent=line.agent, line=line.line, from_=since, to=until, results=results))

    async def events(self, request: Request) -> Response:
        (since, until, as_csv), agent = self._range(request), request.path_params["agent"]
        if not self._services.ever().knows(agent):
            raise unknown_unit(agent)
        results = views.event_views(await self._reads.read(lambda store: store.events(None, since, until, agent)))
        if as_csv:
            return _csv(views.EventView, results, f"{agent}_events.csv")
        return json(views.EventHistory(agent=agent, from_=since, to=until, results=results))

    async def agents(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        now = dt.datetime.now(dt.UTC)
        health = await self._reads.read(lambda store: store.health(now - LOOK_BACK, raw=True))
        registered = self._services.registry().current(now)
        return json(views.Agents(agents=views.agent_views(self._services.agents.agents(), registered, health)))

    def completeness(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        found = self._services.completeness.latest
        if found is None:
            raise not_counted_yet()
        return json(completeness_view(found, self._services.registry().current(dt.datetime.now(dt.UTC))))

    def rejected(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        letters = self._services.dead_letters
        return json(views.RejectedView(counts=letters.counts(), rejected=letters.recent()))

    async def openapi(self, _: Request) -> Response:
        return json(self._openapi)

    async def metrics(self, _: Request) -> Response:
        return Response(self._services.metrics.text(), headers={"Content-Type": METRICS_TYPE})

    async def healthz(self, _: Request) -> Response:
        parts = {"store": await self._store_health(), "broker": self._broker_health(), "snapshot": self._age_health()}
        if self._services.courier is not None:
            parts["notify"] = await run_in_threadpool(_notify_health, self._services.courier)
        ok = all(part == "ok" for part in parts.values())
        check = views.HealthCheck(status="ok" if ok else "failing", version=__version__, **parts)
        return json(check, 200 if ok else 503, None if ok else {"Retry-After": "5"})

    async def _store_health(self) -> str:
        try:
            await self._reads.ping()
        except StoreUnavailable as error:
            return f"unavailable: {error}"
        return "ok"

    def _broker_health(self) -> str:
        return self._services.agents.trouble() or "ok"

    def _age_health(self) -> str:
        snapshot = self._services.lines.latest
        if snapshot is None:
            return "not taken yet"
        age = (dt.datetime.now(dt.UTC) - snapshot.at).total_seconds()
        limit = old_after_s(self._services)
        return "ok" if age <= limit else f"too old: {age:.0f} s, at most {limit:.0f} s"


def _notify_health(courier: Dispatcher) -> str:
    try:
        return courier.trouble(dt.datetime.now(dt.UTC)) or "ok"
    except sqlite3.Error as error:
        return f"the alert book can't be read: {error}"


def old_after_s(services: Services) -> float:
    """From which age on a snapshot is old: three were missed."""
    return max(30.0, 3 * services.lines.interval_s)


def _csv(view: type[msgspec.Struct], results: Sequence[msgspec.Struct], name: str) -> Response:
    """One row a result, absent as empty; the parts of a list have spaces between them. The byte-order mark is for
    Excel.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(view.__struct_fields__)
    for result in results:
        writer.writerow([_cell(getattr(result, field)) for field in view.__struct_fields__])
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response("\ufeff" + text.getvalue(), 200, headers, "text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    match value:
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bool():
            return str(value).lower()
        case tuple():
            return _cell(" ".join(map(str, value)))
        case str() if value[:1] in "=+-@\t\r":
            return "'" + value if value else value  # a spreadsheet must not take a server's word for a formula
        case _:
            return value
