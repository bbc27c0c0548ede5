"""Commands to a unit and its answers, as types: what travels on `cmd` and `reply`.

A short fixed list, never a shell. A command is run at most once, and not after `expires`.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, json

from xomnet.contract.messages import decode_with
from xomnet.contract.remote_settings import Key, Setting
from xomnet.contract.values import Count, Instant, Mbps, Name, Seconds, TestBytes, Text, Word, Words

CommandName = Literal["measure", "settings", "report", "identify"]
MAX_CHANGES = 64
ProveS = Annotated[float, Meta(gt=0, le=86_400)]
OPERATOR, CONFIRMATION = "operator", "confirmation"
"""Who may ask for a test: Command.asked and, in its result, Speed.asked."""


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `settings` is to change. With neither of the first two the unit only says what is in force."""

    settings: Annotated[dict[Key, Setting], Meta(max_length=MAX_CHANGES)] | None = None
    """See xomnet.contract.remote_settings."""
    unset: Annotated[tuple[Key, ...], Meta(max_length=MAX_CHANGES)] = ()
    """Keys that get agent.yaml's value again."""
    prove_s: ProveS | None = None
    """Seconds within which the collector must answer under the new settings; else they are rolled back."""


class Command(Change, frozen=True, kw_only=True, omit_defaults=True):
    v: Literal[1] = 1
    id: UUID
    name: CommandName
    expires: Instant
    line: Name | None = None
    """Of `measure`; absent: each line of the unit, one after the other."""
    server: Word | None = None
    """Of `measure`: `other` asks for another measurement server than the first one."""
    asked: Word | None = None
    """Of `measure`: who asks (see Speed.asked); absent: an operator."""


class Tested(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one asked test found, in short; the whole result goes the way of all results, as `(spool, seq)`."""

    line: Name
    spool: UUID | None = None
    """Absent with `seq` where the unit's disk refused the result."""
    seq: Count | None = None
    server: Text | None = None
    down_mbps: Mbps | None = None
    bytes: TestBytes | None = None
    flags: Words = ()
    error: Word | None = None
    error_detail: Text | None = None


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`ok` is False where the unit refused; then `error` is the reason in a word and `detail` in a sentence."""

    v: Literal[1] = 1
    id: UUID
    agent: Name
    ok: bool
    detail: Text | None = None
    error: Word | None = None
    tested: Annotated[tuple[Tested, ...], Meta(max_length=8)] = ()
    settings: dict[str, Setting] | None = None
    """Of `settings`: the values in force of all settings that the server may change."""
    changed: tuple[str, ...] = ()
    """The keys among them that the server has changed; the others are agent.yaml's, or follow from it."""
    trial_s: Seconds | None = None
    """Seconds until the last change is rolled back unless the collector answers; absent: no trial."""
    ignored: Text | None = None
    """Why the changes are not in force: they do not fit agent.yaml any more."""


_commands = json.Decoder(Command)
_replies = json.Decoder(Reply)


def decode_command(payload: bytes) -> Command:
    """A command. Raises msgspec.DecodeError."""
    return decode_with(_commands, payload)


def decode_reply(payload: bytes) -> Reply:
    """A unit's answer. Raises msgspec.DecodeError."""
    return decode_with(_replies, payload)
