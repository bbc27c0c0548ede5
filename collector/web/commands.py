"""Asking a unit over REST: `POST /api/v1/agents/{agent}/commands`, `GET /api/v1/commands/{id}`."""

import datetime as dt
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.commands.commands import TooManyCommands
from collector.services import Services
from collector.web import query
from collector.web.api import json
from collector.web.command_view import CommandRequest, command_view
from collector.web.errors import RequestError, unknown_unit
from collector.web.operator import body_of, require_operator
from xomnet.contract import remote_settings
from xomnet.contract.commands import OPERATOR, Change


class CommandApi:
    """The one part of REST that reaches units."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/v1/agents/{agent}/commands", self.ask, methods=["POST"]),
            Route("/api/v1/commands/{id}", self.found, methods=["GET"]),
        ]

    async def ask(self, request: Request) -> Response:
        """200 with what became of it; 202 where nothing has yet."""
        require_operator(request)
        query.refuse_unknown(request.query_params, ())
        wanted = await body_of(request, CommandRequest)
        agent = request.path_params["agent"]
        self._check(agent, wanted)
        commands = self._services.commands
        try:
            change = Change(settings=wanted.settings, unset=wanted.unset, prove_s=wanted.prove_s)
            asked = commands.ask(agent, wanted.name, wanted.line, wanted.server, OPERATOR, change=change)
        except TooManyCommands as error:
            raise RequestError(503, str(error), "commands", "the same request, later", 10) from error
        asked = await commands.answer(asked, wanted.wait_s)
        waiting = asked.outcome == "waiting"
        where = {"Location": f"/api/v1/commands/{asked.command.id}"}
        return json(command_view(asked), 202 if waiting else 200, where)

    def _check(self, agent: str, wanted: CommandRequest) -> None:
        now = dt.datetime.now(dt.UTC)
        lines = [row.line for row in self._services.registry().lines_of(agent, now)]
        if not lines:
            raise unknown_unit(agent)
        if wanted.line is not None and wanted.line not in lines:
            raise RequestError(404, f"no line {wanted.line} at {agent}", "line", " or ".join(lines))
        if wanted.name != "settings" and (wanted.settings or wanted.unset or wanted.prove_s):
            raise RequestError(400, f"{wanted.name} changes no settings", "name", "settings")
        for key in wanted.settings or {}:
            if remote_settings.form(key) is None:
                raise RequestError(400, f"{key} is not changed from afar", "settings", remote_settings.allowed(key))

    async def found(self, request: Request) -> Response:
        query.refuse_unknown(request.query_params, ())
        try:
            asked = self._services.commands.found(UUID(request.path_params["id"]))
        except ValueError:
            asked = None
        if asked is None:
            raise RequestError(404, "no such command, or too long ago", "path", "an id that a POST gave")
        return json(command_view(asked))
