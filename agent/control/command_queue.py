"""Commands to this unit: which are accepted, each at most once, and their replies.

The network's thread receives commands and sends the replies; the unit's loop runs them.
"""

import datetime as dt
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

import msgspec

from agent.clock.clock import ClockReading, ReadClock, boot_ns
from agent.clock.timestamps import best_estimate
from agent.delivery.spool import Spool, SpoolError
from agent.errors import RequestRefused
from xomnet.contract.commands import Command, Reply, decode_command
from xomnet.contract.values import to_text
from xomnet.runtime.log import Log

log = Log("agent.control.command_queue")

MAX_VALIDITY = dt.timedelta(hours=1)
"""A command that is valid for longer is refused: its id would have to be kept for as long."""
MAX_ACCEPTED = 64
"""Commands whose ids are kept: those that have not expired."""
MAX_WAITING = 8
KEY = "commands"
"""The spool's key of the ids (`get_value`): a restart must not run a command twice."""

AcceptedCommands = Mapping[UUID, dt.datetime]
"""Ids of the commands that were accepted -> when each expires."""


class _CommandId(msgspec.Struct):
    """Enough of a command of a later version to reply to it."""

    id: UUID


def find_refusal(command: Command, now: ClockReading, accepted: AcceptedCommands) -> RequestRefused | None:
    """Why a new command is not accepted; None if it is. `now` is the best time known. Pure."""
    if not now.synced:
        return RequestRefused(
            "clock_unknown", "the unit's clock is not set, so it cannot tell whether the command has expired"
        )
    if command.expires <= now.wall:
        late_s = (now.wall - command.expires).total_seconds()
        return RequestRefused("expired", f"the command arrived {late_s:.0f} s after it expired, by the unit's clock")
    if command.expires > now.wall + MAX_VALIDITY:
        return RequestRefused(
            "too_long", f"the command is valid for longer than {MAX_VALIDITY.total_seconds() / 3600:g} h"
        )
    if len(accepted) >= MAX_ACCEPTED:
        return RequestRefused("too_many", f"{MAX_ACCEPTED} commands came within an hour; send fewer")
    return None


def drop_expired(accepted: AcceptedCommands, now: ClockReading) -> AcceptedCommands:
    """The accepted commands that could arrive again."""
    return {id_: expires for id_, expires in accepted.items() if not now.synced or expires > now.wall}


class CommandQueue:
    """Between the network's thread (`receive`, `replies`) and the loop (`wait`, `take`, `reply`, `refuse`)."""

    def __init__(self, agent: str, spool: Spool, assume_synced: bool, read_clock: ReadClock) -> None:
        self.agent, self._spool, self._assume_synced, self._read_clock = agent, spool, assume_synced, read_clock
        self._waiting: deque[Command] = deque()
        self._replies: deque[Reply] = deque(maxlen=2 * MAX_WAITING)
        self._arrived = threading.Event()
        self._on_reply: Callable[[], None] = lambda: None
        self._accepted: AcceptedCommands = _load_accepted(spool)
        self.last_contact_ns = 0
        """CLOCK_BOOTTIME of the last moment at which the collector surely received something, or a command arrived."""
        self._local_replies: dict[UUID, queue.SimpleQueue[Reply]] = {}
        """Commands that were given on this machine -> where their replies go."""

    def on_reply(self, call: Callable[[], None]) -> None:
        """Sets the function that is called when there is a reply to send."""
        self._on_reply = call

    def receive(self, payload: bytes) -> None:
        """Queues a command for the loop, or refuses it with a reply. A command that arrives again is dropped."""
        try:
            command = decode_command(payload)
        except msgspec.DecodeError as error:
            log.warning("command not understood", reason=str(error))
            try:
                named = msgspec.json.decode(payload, type=_CommandId)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return
            self._reply_refused(named.id, RequestRefused("not_understood", str(error)))
            return
        if command.id in self._accepted:
            log.warning("command came again", id=str(command.id))
            return
        self.note_contact(boot_ns())
        try:
            self._accept(command)
        except RequestRefused as refusal:
            self.refuse(command, refusal)

    def _accept(self, command: Command) -> None:
        now = self._now()
        self._accepted = drop_expired(self._accepted, now)
        if (refusal := find_refusal(command, now, self._accepted)) is not None:
            raise refusal
        if len(self._waiting) >= MAX_WAITING:
            raise RequestRefused("too_many", f"{MAX_WAITING} commands are waiting already")
        accepted = {**self._accepted, command.id: command.expires}
        try:
            self._spool.set_value(KEY, msgspec.json.encode(accepted).decode())
        except SpoolError as error:
            raise RequestRefused("spool", f"the command cannot be recorded: {error}") from error
        self._accepted = accepted
        self._waiting.append(command)
        self._arrived.set()

    def ask(self, command: Command, limit_s: float) -> Reply:
        """The reply to a command that is given on this machine. Raises RequestRefused if none comes in time."""
        if len(self._waiting) >= MAX_WAITING:
            raise RequestRefused("too_many", f"{MAX_WAITING} commands are waiting already")
        answer = self._local_replies[command.id] = queue.SimpleQueue()
        self._waiting.append(command)
        self._arrived.set()
        try:
            return answer.get(timeout=limit_s)
        except queue.Empty:
            raise RequestRefused("busy", f"the unit was busy for {limit_s:g} s") from None

    def note_contact(self, at_ns: int) -> None:
        """The collector sent something at this CLOCK_BOOTTIME, or acknowledged what was sent then."""
        self.last_contact_ns = max(self.last_contact_ns, at_ns)

    def replies(self) -> Iterator[Reply]:
        """The replies to send; each is removed when the next one is asked for."""
        while self._replies:
            yield self._replies[0]
            self._replies.popleft()

    def _now(self) -> ClockReading:
        return best_estimate(self._read_clock(self._assume_synced), str(self._spool.boot), self._spool.times)

    def _reply_refused(self, id_: UUID, refusal: RequestRefused) -> None:
        self.reply(Reply(id=id_, agent=self.agent, ok=False, error=refusal.error, detail=to_text(refusal.detail)))

    # --- the loop

    def wait(self, seconds: float) -> None:
        """Waits until a command arrives or `wake` is called, at most `seconds`."""
        self._arrived.wait(seconds)
        self._arrived.clear()

    def wake(self) -> None:
        """Ends a `wait`."""
        self._arrived.set()

    def take(self) -> Command | None:
        """The next command that has not expired; None if there is none."""
        while self._waiting:
            command = self._waiting.popleft()
            if not self.is_expired(command):
                return command
            self.refuse(command, RequestRefused("expired", "the unit was busy until the command expired"))
        return None

    def is_expired(self, command: Command) -> bool:
        """True if nothing more may be started for the command."""
        return command.expires <= self._now().wall

    def refuse(self, command: Command, refusal: RequestRefused) -> None:
        """Replies that the command is not done, and why."""
        log.warning("command refused", name=command.name, error=refusal.error, reason=refusal.detail)
        self._reply_refused(command.id, refusal)

    def reply(self, reply: Reply) -> None:
        """Gives the reply to the caller of `ask` on this machine, or sends it as soon as there is a connection."""
        if (local := self._local_replies.pop(reply.id, None)) is not None:
            local.put(reply)
            return
        self._replies.append(reply)
        self._on_reply()


def _load_accepted(spool: Spool) -> AcceptedCommands:
    try:
        return msgspec.json.decode(spool.get_value(KEY) or "{}", type=dict[UUID, dt.datetime])
    except (SpoolError, msgspec.DecodeError, UnicodeError) as error:
        log.error("commands not remembered", reason=str(error))
        return {}
