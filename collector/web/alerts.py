"""Alerts over REST: what is open; who has taken it on; when what happens to lines is meant."""

import datetime as dt

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.alerts.service import AlertService
from collector.alerts.silences import AcknowledgementRequest, MaintenanceRequest
from collector.alerts.store import TooManySilences
from collector.services import Services
from collector.store.line_id import LineId
from collector.web import query
from collector.web.alert_view import AcknowledgedList, MaintenanceList, alerts_view
from collector.web.api import json
from collector.web.errors import RequestError, unknown_line
from collector.web.operator import body_of, require_operator


class AlertApi:
    """Reading needs no token, changing does. The book is on a disk, which may be slow: never on the event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/v1/alerts", self.alerts, methods=["GET"]),
            Route("/api/v1/lines/{agent}/{line}/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/api/v1/maintenance", self.maintenance, methods=["GET"]),
            Route("/api/v1/maintenance", self.add, methods=["POST"]),
            Route("/api/v1/maintenance/{id:int}", self.end, methods=["DELETE"]),
        ]

    @property
    def _desk(self) -> AlertService:
        if self._services.alerts is None:
            raise RequestError(503, "alerts are not decided here", "alerts", "a running collector", 5)
        return self._services.alerts

    def alerts(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        kept = self._desk.kept
        return json(alerts_view(kept.book().alerts, kept.acknowledged(), kept.letters(), kept.failed()))

    async def acknowledge(self, request: Request) -> Response:
        require_operator(request)
        query.refuse_unknown(request.query_params, ())
        asked, now = await body_of(request, AcknowledgementRequest), dt.datetime.now(dt.UTC)
        line = LineId(request.path_params["agent"], request.path_params["line"])
        if self._services.registry().at(*line, now) is None:
            raise unknown_line(*line)
        desk = self._desk
        given = await run_in_threadpool(desk.acknowledge, line, asked.by, asked.note, asked.whole_alert, now)
        if not given:
            raise RequestError(
                409, f"{line.agent} / {line.line} has no trouble to take on", "path", "a line in trouble"
            )
        return json(AcknowledgedList(acknowledged=given))

    def maintenance(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        return json(MaintenanceList(maintenance=self._desk.kept.windows(dt.datetime.now(dt.UTC))))

    async def add(self, request: Request) -> Response:
        require_operator(request)
        query.refuse_unknown(request.query_params, ())
        asked, now = await body_of(request, MaintenanceRequest), dt.datetime.now(dt.UTC)
        fault = asked.fault(now)
        if fault is not None:
            raise RequestError(400, fault, "body", "see /openapi.json")
        if not any(asked.covers(row) for row in self._services.registry().current(now)):
            raise RequestError(404, "no line in the registry is meant by this", "body", "names as in /api/v1/lines")
        try:
            window = await run_in_threadpool(self._desk.kept.add_window, asked, now)
        except TooManySilences as error:
            raise RequestError(409, str(error), "maintenance", "fewer, or wider ones") from error
        return json(window, 201, {"Location": f"/api/v1/maintenance/{window.id}"})

    async def end(self, request: Request) -> Response:
        require_operator(request)
        query.refuse_unknown(request.query_params, ())
        now, kept = dt.datetime.now(dt.UTC), self._desk.kept
        ended = await run_in_threadpool(kept.end_window, request.path_params["id"], now)
        if ended is None:
            raise RequestError(
                404, "no such maintenance, or it is over", "path", "an id that /api/v1/maintenance lists"
            )
        return json(ended)
