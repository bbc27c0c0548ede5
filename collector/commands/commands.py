"""Commands to units and their outcomes. A command is published on `cmd`, its reply comes on `reply` with its id.

Nothing is kept over a restart: a command is valid for minutes, and the results of a test arrive like all others.
"""

import asyncio
import datetime as dt
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

import msgspec

from xomnet.contract.commands import Change, Command, CommandName, Reply, decode_reply
from xomnet.contract.messages import encode
from xomnet.contract.topics import topic
from xomnet.mqtt.link import Connection
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log

log = Log("collector.commands.commands")

VALID = dt.timedelta(seconds=60)
"""How long a unit may wait until it begins: it does one thing at a time."""
GRACE = dt.timedelta(seconds=45)
"""What was begun in time has come to its end, and its answer is here."""
MAX_WAITING = 500
KEPT = 2000

Outcome = Literal["waiting", "answered", "undelivered", "no_answer"]


class TooManyCommands(Exception):
    """Too many commands wait for an answer already."""


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command to a unit and its outcome. `detail` says why there is no answer."""

    agent: str
    command: Command
    at: dt.datetime
    outcome: Outcome = "waiting"
    reply: Reply | None = None
    detail: str | None = None


@dataclass(slots=True)
class _Entry:
    sent: SentCommand
    done: Future[SentCommand] = field(default_factory=Future)


class Commands:
    """`ask`, `get` and `wait_for_answer` are for any thread; the network thread sends and receives."""

    def __init__(self, now: UtcClock, grace: dt.timedelta = GRACE) -> None:
        self._now, self._grace = now, grace
        self._lock = threading.RLock()
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._to_send: deque[UUID] = deque()
        self._mids: dict[int, UUID] = {}
        self._wake: Callable[[], None] = lambda: None

    def on_queued(self, call: Callable[[], None]) -> None:
        """Calls back when there is something to send."""
        self._wake = call

    def ask(
        self,
        agent: str,
        name: CommandName,
        line: str | None = None,
        server: str | None = None,
        asked: str | None = None,
        valid: dt.timedelta = VALID,
        id_: UUID | None = None,
        change: Change | None = None,
    ) -> SentCommand:
        """Sends a command as soon as the broker is there. Raises TooManyCommands."""
        now = self._now()
        command = Command(id=id_ or uuid.uuid4(), name=name, expires=now + valid, line=line, server=server, asked=asked)
        if change is not None:
            command = msgspec.structs.replace(command, **msgspec.structs.asdict(change))
        entry = _Entry(SentCommand(agent, command, now))
        with self._lock:
            self._end_overdue()
            if sum(one.sent.outcome == "waiting" for one in self._entries.values()) >= MAX_WAITING:
                raise TooManyCommands(f"{MAX_WAITING} commands wait for an answer already")
            self._entries[command.id] = entry
            while len(self._entries) > KEPT:
                self._entries.popitem(last=False)
            self._to_send.append(command.id)
        log.info("asked", agent=agent, name=name, line=line, by=asked, id=str(command.id))
        self._wake()
        return entry.sent

    def get(self, id_: UUID) -> SentCommand | None:
        """A command with its outcome so far; None if the id is unknown or forgotten."""
        with self._lock:
            self._end_overdue()
            entry = self._entries.get(id_)
            return None if entry is None else entry.sent

    async def wait_for_answer(self, asked: SentCommand, limit_s: float) -> SentCommand:
        """Waits at most `limit_s` for the outcome; after that it is still `waiting`."""
        with self._lock:
            entry = self._entries.get(asked.command.id)
        if entry is None:
            return asked
        await asyncio.wait([asyncio.wrap_future(entry.done)], timeout=limit_s)
        return self.get(asked.command.id) or asked

    def _end_overdue(self) -> None:
        now = self._now()
        for entry in self._entries.values():
            if entry.sent.outcome == "waiting" and now > entry.sent.command.expires + self._grace:
                self._end(entry, "no_answer", detail="the unit has not answered: away, busy, or too old for commands")

    def _end(self, entry: _Entry, outcome: Outcome, reply: Reply | None = None, detail: str | None = None) -> None:
        entry.sent = replace(entry.sent, outcome=outcome, reply=reply, detail=detail)
        if not entry.done.done():
            entry.done.set_result(entry.sent)

    # --- network thread

    def send(self, connection: Connection) -> None:
        """Publishes the queued commands that have not expired."""
        while self._to_send:
            id_ = self._to_send[0]
            with self._lock:
                entry = self._entries.get(id_)
            if entry is not None and entry.sent.command.expires > self._now():
                mid = connection.publish(topic(entry.sent.agent, "cmd"), encode(entry.sent.command))
                self._mids[mid] = id_
            elif entry is not None:
                with self._lock:
                    self._end(entry, "undelivered", detail="the broker was away until it was too late")
            self._to_send.popleft()

    def on_published(self, mid: int, reason: str | None) -> None:
        """The broker's answer to a command: where nobody listens, there is nothing to wait for."""
        id_ = self._mids.pop(mid, None)
        with self._lock:
            entry = None if id_ is None else self._entries.get(id_)
            if entry is None or reason is None or entry.sent.outcome != "waiting":
                return
            self._end(entry, "undelivered", detail=f"{reason}: the unit is offline, or too old for commands")

    def on_connected(self) -> None:
        """Packet ids start again with a connection."""
        self._mids.clear()

    def on_reply(self, agent: str, payload: bytes) -> None:
        """A message on an agent's `reply`."""
        try:
            reply = decode_reply(payload)
        except msgspec.DecodeError as error:
            log.warning("reply not understood", agent=agent, reason=str(error))
            return
        with self._lock:
            entry = self._entries.get(reply.id)
            if entry is None or not agent == reply.agent == entry.sent.agent:
                log.warning("reply to nothing", agent=agent, payload=reply.agent, id=str(reply.id))
                return
            if entry.sent.outcome == "answered":
                return
            self._end(entry, "answered", reply)
        log.info("answered", agent=agent, ok=reply.ok, error=reply.error, id=str(reply.id))
