"""What each command does, in the unit's loop. No command can make the unit run a program or read a file by name."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from msgspec.structs import replace

from agent.control.command_queue import CommandQueue
from agent.control.identify import identify
from agent.control.remote_config import RemoteConfig
from agent.delivery.spool import SpoolError
from agent.errors import RequestRefused
from agent.measure.runner import TestRequest
from agent.settings import LineSettings
from xomnet.contract.commands import OPERATOR, Command, Reply, Tested
from xomnet.contract.messages import Speed
from xomnet.contract.values import to_text
from xomnet.runtime.log import Log

log = Log("agent.control.handlers")


class CommandTarget(Protocol):
    """The unit's loop, as commands see it."""

    remote: RemoteConfig | None
    """None if the settings come from no file."""

    @property
    def lines(self) -> Sequence[LineSettings]: ...

    def servers(self, line: LineSettings) -> tuple[str, ...]: ...

    def run_requested_test(self, line: LineSettings, request: TestRequest) -> Tested:
        """Runs one test and commits its result. Raises RequestRefused."""

    def report(self) -> int:
        """Commits the unit's health; returns the number of results that wait."""


def run_pending(target: CommandTarget, commands: CommandQueue) -> None:
    """Runs the commands that wait, and replies to each."""
    while (command := commands.take()) is not None:
        log.info("command", name=command.name, line=command.line, id=str(command.id))
        try:
            reply = _run(command, target, commands)
        except (RequestRefused, SpoolError) as error:
            word = error.error if isinstance(error, RequestRefused) else "spool"
            commands.refuse(command, RequestRefused(word, str(error)))
        else:
            commands.reply(reply)


def summarize(line: str, result: Speed, spool: UUID, seq: int | None) -> Tested:
    """A result in short; `seq` is None if the disk refused it."""
    return Tested(
        line=line,
        spool=None if seq is None else spool,
        seq=seq,
        server=result.server,
        down_mbps=result.down_mbps,
        bytes=result.bytes,
        flags=result.flags,
        error=result.error,
        error_detail=result.error_detail,
    )


def _run(command: Command, target: CommandTarget, commands: CommandQueue) -> Reply:
    done = Reply(id=command.id, agent=commands.agent, ok=True)
    match command.name:
        case "measure":
            detail, tests = _measure(command, target, commands)
            return replace(done, detail=detail, tested=tests)
        case "report":
            return replace(done, detail=f"health sent; {target.report()} results waiting")
        case "identify":
            return replace(done, detail=identify())
        case "settings":
            return _change_settings(command, target.remote, done)


def _change_settings(command: Command, remote: RemoteConfig | None, done: Reply) -> Reply:
    if remote is None:
        raise RequestRefused("forbidden", "this unit has no settings file")
    detail = None
    if command.settings or command.unset:
        detail = remote.change(command.settings or {}, command.unset, command.prove_s)
    now = remote.config_in_force()
    ignored = None if now.ignored is None else to_text(now.ignored)
    return replace(
        done, detail=detail, settings=now.settings, changed=now.changed, trial_s=now.trial_s, ignored=ignored
    )


def _measure(command: Command, target: CommandTarget, commands: CommandQueue) -> tuple[str | None, tuple[Tested, ...]]:
    lines = [line for line in target.lines if command.line in (None, line.line)]
    if not lines:
        raise RequestRefused(
            "unknown_line", f"found {command.line}; this unit's lines: {', '.join(line.line for line in target.lines)}"
        )
    if command.server not in (None, "other"):
        raise RequestRefused("not_understood", f"server: found {command.server}; allowed: other")
    request = TestRequest(command.asked or OPERATOR, command.server == "other")
    tests: list[Tested] = []
    refusals: list[RequestRefused] = []
    for line in lines:
        try:
            if commands.is_expired(command):
                raise RequestRefused("expired", "the command expired during the tests before this one")
            tests.append(target.run_requested_test(line, request))
        except RequestRefused as refusal:
            refusals.append(refusal)
            tests.append(Tested(line=line.line, error=refusal.error, error_detail=to_text(refusal.detail)))
    if len(refusals) == len(lines):
        raise refusals[0]
    alone = request.other_server and any(len(target.servers(line)) < 2 for line in lines)
    return "only one measurement server is set, so there is no other" if alone else None, tuple(tests)
