"""What the collector asks of this unit: which commands are taken on, each at most once, and their answers.

The network's thread hears them and sends the answers, the unit's loop does them.
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
from xomnet.runtime.log import Log

log = Log("agent.control.command_queue")

LONGEST = dt.timedelta(hours=1)
"""A command that is good for longer is none of ours: its id would have to be remembered for ever."""
MAX_REMEMBERED = 64
"""Commands whose ids are remembered: those of the last hour at most."""
WAITING = 8
KEY = "commands"
"""Where the spool keeps the ids: a restart must not run a command twice."""

Taken = Mapping[UUID, dt.datetime]
"""The commands that were taken on -> when each expires."""


class _Named(msgspec.Struct):
    """Enough of a command of a later version to answer it."""

    id: UUID


def refused(command: Command, now: ClockReading, taken: Taken) -> RequestRefused | None:
    """Why a command that was not heard before is not taken on. `now` is the best time known."""
    if not now.synced:
        return RequestRefused("clock_unknown", "the unit does not know the time, so not whether this is too late")
    if command.expires <= now.wall:
        late_s = (now.wall - command.expires).total_seconds()
        return RequestRefused("expired", f"it came {late_s:.0f} s after its time, by the unit's clock")
    if command.expires > now.wall + LONGEST:
        return RequestRefused("too_long", f"it is good for longer than {LONGEST.total_seconds() / 3600:g} h")
    if len(taken) >= MAX_REMEMBERED:
        return RequestRefused("too_many", f"{MAX_REMEMBERED} commands within an hour")
    return None


def unexpired(taken: Taken, now: ClockReading) -> Taken:
    """Those that could come again."""
    return {id_: expires for id_, expires in taken.items() if not now.synced or expires > now.wall}


class CommandQueue:
    """Between the network's thread (`receive`, `replies`) and the loop (`wait`, `take`, `answer`)."""

    def __init__(self, agent: str, spool: Spool, assume_synced: bool, read_clock: ReadClock) -> None:
        self.agent, self._spool, self._assume_synced, self._read_clock = agent, spool, assume_synced, read_clock
        self._waiting: deque[Command] = deque()
        self._replies: deque[Reply] = deque(maxlen=2 * WAITING)
        self._arrived = threading.Event()
        self._call_back: Callable[[], None] = lambda: None
        self._taken: Taken = _read(spool)
        self.answered_ns = 0
        """CLOCK_BOOTTIME of the last moment of which is known that the collector hears this unit, or is heard by it."""
        self._here: dict[UUID, queue.SimpleQueue[Reply]] = {}
        """Commands of this machine itself -> where their answers go."""

    def on_answer(self, call: Callable[[], None]) -> None:
        """Calls back when there is a reply to send."""
        self._call_back = call

    def receive(self, payload: bytes) -> None:
        """A message on our `cmd`: for the loop, or refused with an answer. One that was heard before is dropped."""
        try:
            command = decode_command(payload)
        except msgspec.DecodeError as error:
            log.warning("command not understood", reason=str(error))
            try:
                named = msgspec.json.decode(payload, type=_Named)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return
            self._say(named.id, RequestRefused("not_understood", str(error)))
            return
        if command.id in self._taken:
            log.warning("command came again", id=str(command.id))
            return
        self.note_answer(boot_ns())
        try:
            self._take_on(command)
        except RequestRefused as refusal:
            self.refuse(command, refusal)

    def _take_on(self, command: Command) -> None:
        now = self._now()
        self._taken = unexpired(self._taken, now)
        if (refusal := refused(command, now, self._taken)) is not None:
            raise refusal
        if len(self._waiting) >= WAITING:
            raise RequestRefused("too_many", f"{WAITING} commands wait already")
        taken = {**self._taken, command.id: command.expires}
        try:
            self._spool.keep(KEY, msgspec.json.encode(taken).decode())
        except SpoolError as error:
            raise RequestRefused("spool", f"it can't be remembered: {error}") from error
        self._taken = taken
        self._waiting.append(command)
        self._arrived.set()

    def ask(self, command: Command, limit_s: float) -> Reply:
        """The answer to a command given on this machine. Raises RequestRefused where none comes in time."""
        if len(self._waiting) >= WAITING:
            raise RequestRefused("too_many", f"{WAITING} commands wait already")
        answer = self._here[command.id] = queue.SimpleQueue()
        self._waiting.append(command)
        self._arrived.set()
        try:
            return answer.get(timeout=limit_s)
        except queue.Empty:
            raise RequestRefused("busy", f"the unit was at something else for {limit_s:g} s") from None

    def note_answer(self, at_ns: int) -> None:
        """The collector has said something, or answered what was said then."""
        self.answered_ns = max(self.answered_ns, at_ns)

    def replies(self) -> Iterator[Reply]:
        """Those to be sent; each is gone when the next one is asked for."""
        while self._replies:
            yield self._replies[0]
            self._replies.popleft()

    def _now(self) -> ClockReading:
        return best_estimate(self._read_clock(self._assume_synced), str(self._spool.boot), self._spool.times)

    def _say(self, id_: UUID, refusal: RequestRefused) -> None:
        self.answer(Reply(id=id_, agent=self.agent, ok=False, error=refusal.error, detail=one_line(refusal.detail)))

    # --- the loop

    def wait(self, seconds: float) -> None:
        """Until a command comes, or `wake`, at most so long."""
        self._arrived.wait(seconds)
        self._arrived.clear()

    def wake(self) -> None:
        """Ends a `wait`."""
        self._arrived.set()

    def take(self) -> Command | None:
        """The next command that is not too late by now."""
        while self._waiting:
            command = self._waiting.popleft()
            if not self.is_late(command):
                return command
            self.refuse(command, RequestRefused("expired", "the unit was busy until it was too late"))
        return None

    def is_late(self, command: Command) -> bool:
        """Whether nothing more may be begun for it."""
        return command.expires <= self._now().wall

    def refuse(self, command: Command, refusal: RequestRefused) -> None:
        """Answers that it is not done."""
        log.warning("command refused", name=command.name, error=refusal.error, reason=refusal.detail)
        self._say(command.id, refusal)

    def answer(self, reply: Reply) -> None:
        """Goes to whoever asks on this machine, or out as soon as there is a connection."""
        if (here := self._here.pop(reply.id, None)) is not None:
            here.put(reply)
            return
        self._replies.append(reply)
        self._call_back()


def _read(spool: Spool) -> Taken:
    try:
        return msgspec.json.decode(spool.kept(KEY) or "{}", type=dict[UUID, dt.datetime])
    except (SpoolError, msgspec.DecodeError, UnicodeError) as error:
        log.error("commands not remembered", reason=str(error))
        return {}


def one_line(text: str) -> str:
    """As the contract takes it."""
    return "".join(c if c.isprintable() else " " for c in text)[:512]
