"""What the collector asks of units, and what became of it. Written to `cmd`, answered on `reply`, matched by id.

Nothing of this is kept over a restart: a command is good for minutes, and the results of a test go their own way.
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
    """So many commands wait for an answer that no more are taken on."""


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command to a unit, and what has come of it. `detail` says why there is no answer."""

    agent: str
    command: Command
    at: dt.datetime
    outcome: Outcome = "waiting"
    reply: Reply | None = None
    detail: str | None = None


@dataclass(slots=True)
class _Entry:
    asked: SentCommand
    ended: Future[SentCommand] = field(default_factory=Future)


class Commands:
    """`ask`, `found` and `answer` from any thread; the network's thread sends and hears."""

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
            if sum(one.asked.outcome == "waiting" for one in self._entries.values()) >= MAX_WAITING:
                raise TooManyCommands(f"{MAX_WAITING} commands wait for an answer already")
            self._entries[command.id] = entry
            while len(self._entries) > KEPT:
                self._entries.popitem(last=False)
            self._to_send.append(command.id)
        log.info("asked", agent=agent, name=name, line=line, by=asked, id=str(command.id))
        self._wake()
        return entry.asked

    def found(self, id_: UUID) -> SentCommand | None:
        """What has become of a command by now; None for one that is not known (any more)."""
        with self._lock:
            self._end_overdue()
            entry = self._entries.get(id_)
            return None if entry is None else entry.asked

    async def answer(self, asked: SentCommand, limit_s: float) -> SentCommand:
        """Waits until something has become of it, at most so long; then it is still `waiting`."""
        with self._lock:
            entry = self._entries.get(asked.command.id)
        if entry is None:
            return asked
        await asyncio.wait([asyncio.wrap_future(entry.ended)], timeout=limit_s)
        return self.found(asked.command.id) or asked

    def _end_overdue(self) -> None:
        now = self._now()
        for entry in self._entries.values():
            if entry.asked.outcome == "waiting" and now > entry.asked.command.expires + self._grace:
                self._end(entry, "no_answer", detail="the unit has not answered: away, busy, or too old for commands")

    def _end(self, entry: _Entry, outcome: Outcome, reply: Reply | None = None, detail: str | None = None) -> None:
        entry.asked = replace(entry.asked, outcome=outcome, reply=reply, detail=detail)
        if not entry.ended.done():
            entry.ended.set_result(entry.asked)

    # --- network thread

    def send(self, connection: Connection) -> None:
        """Publishes what was asked for, unless it is too late by now."""
        while self._to_send:
            id_ = self._to_send[0]
            with self._lock:
                entry = self._entries.get(id_)
            if entry is not None and entry.asked.command.expires > self._now():
                mid = connection.publish(topic(entry.asked.agent, "cmd"), encode(entry.asked.command))
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
            if entry is None or reason is None or entry.asked.outcome != "waiting":
                return
            self._end(entry, "undelivered", detail=f"{reason}: the unit is offline, or too old for commands")

    def on_connected(self) -> None:
        """Packet ids begin anew with a connection."""
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
            if entry is None or not agent == reply.agent == entry.asked.agent:
                log.warning("reply to nothing", agent=agent, payload=reply.agent, id=str(reply.id))
                return
            if entry.asked.outcome == "answered":
                return
            self._end(entry, "answered", reply)
        log.info("answered", agent=agent, ok=reply.ok, error=reply.error, id=str(reply.id))
