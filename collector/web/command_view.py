"""What REST says and takes of commands, as types."""

import datetime as dt
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from collector.commands.commands import Outcome, SentCommand
from collector.web.views import View
from xomnet.contract.commands import Change, CommandName, Reply
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


def command_view(asked: SentCommand) -> CommandView:
    return CommandView(
        id=asked.command.id,
        agent=asked.agent,
        name=asked.command.name,
        line=asked.command.line,
        asked_at=asked.at,
        expires=asked.command.expires,
        outcome=asked.outcome,
        detail=asked.detail,
        reply=asked.reply,
    )
