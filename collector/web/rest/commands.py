"""Commands over REST: the one part of the interface that reaches units."""

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from collector.commands.commands import Outcome, SentCommand, TooManyCommands
from collector.web.context import Context
from collector.web.errors import RequestError
from collector.web.parameters import AgentName, Parameters
from collector.web.responses import Answer
from collector.web.views import View
from xomnet.contract import remote_settings
from xomnet.contract.commands import OPERATOR, Change, CommandName, Reply
from xomnet.contract.values import Name


class CommandRequest(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a unit is asked for; the first three are of `settings`."""

    name: CommandName
    line: Name | None = None
    """Of `measure`; absent: each line of the unit."""
    server: Literal["other"] | None = None
    """Of `measure`: not the first measurement server."""
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 30.0
    """How long this request may wait for the unit's answer."""


class SendCommandParameters(Parameters, frozen=True, kw_only=True):
    agent: AgentName
    body: CommandRequest


class CommandParameters(Parameters, frozen=True, kw_only=True):
    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    """Only described as a UUID: no command has an id of another form, and the answer says so."""


class CommandView(View, frozen=True, kw_only=True, omit_defaults=True):
    """A command, and what has become of it. `reply` is the unit's own word, there once it is `answered`."""

    id: UUID
    agent: str
    name: CommandName
    line: str | None = None
    asked_at: dt.datetime
    expires: dt.datetime
    outcome: Outcome
    detail: str | None = None
    reply: Reply | None = None


async def send_command(context: Context, given: SendCommandParameters) -> Answer:
    """200 with the outcome; 202 if there is none yet."""
    agent, wanted, commands = given.agent, given.body, context.services.commands
    _check(context, agent, wanted)
    try:
        change = Change(settings=wanted.settings, unset=wanted.unset, prove_s=wanted.prove_s)
        sent = commands.ask(agent, wanted.name, wanted.line, wanted.server, OPERATOR, change=change)
    except TooManyCommands as error:
        raise RequestError(503, str(error), "commands", "the same request, later", 10) from error
    sent = await commands.wait_for_answer(sent, wanted.wait_s)
    status = 202 if sent.outcome == "waiting" else 200
    return Answer(command_view(sent), status, {"Location": f"/api/v1/commands/{sent.command.id}"})


async def get_command(context: Context, given: CommandParameters) -> Answer:
    try:
        sent = context.services.commands.get(UUID(given.id))
    except ValueError:
        sent = None
    if sent is None:
        raise RequestError(404, "no such command, or too long ago", "path", "an id that a POST gave")
    return Answer(command_view(sent))


def command_view(sent: SentCommand) -> CommandView:
    return CommandView(
        id=sent.command.id,
        agent=sent.agent,
        name=sent.command.name,
        line=sent.command.line,
        asked_at=sent.at,
        expires=sent.command.expires,
        outcome=sent.outcome,
        detail=sent.detail,
        reply=sent.reply,
    )


def _check(context: Context, agent: str, wanted: CommandRequest) -> None:
    """Raises RequestError if the unit can't do what is wanted."""
    lines = [row.line for row in context.services.registry().lines_of(agent, context.now())]
    if not lines:
        raise RequestError(404, f"no unit {agent} in the registry", "path", "a unit that /api/v1/agents lists")
    if wanted.line is not None and wanted.line not in lines:
        raise RequestError(404, f"no line {wanted.line} at {agent}", "line", " or ".join(lines))
    if wanted.name != "settings" and (wanted.settings or wanted.unset or wanted.prove_s):
        raise RequestError(400, f"{wanted.name} changes no settings", "name", "settings")
    for key in wanted.settings or {}:
        if remote_settings.template_of(key) is None:
            raise RequestError(400, f"{key} cannot be changed remotely", "settings", remote_settings.suggestion(key))
