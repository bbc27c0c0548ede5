"""From the spool to the collector, again and again until it answers."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from agent.clock.clock import ClockReading, ReadClock
from agent.clock.timestamps import of_answer
from agent.delivery.ack_stats import AckStats
from agent.delivery.spool import Spool, SpoolError
from xomnet import __version__
from xomnet.contract.commands import Reply
from xomnet.contract.messages import Ack, AgentState, Event, decode_ack, encode
from xomnet.contract.topics import topic
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Handler, Link, Message, Will
from xomnet.runtime import failpoints
from xomnet.runtime.log import Log

log = Log("agent.delivery.uplink")

WINDOW = 64
"""Results that may be under way without an answer."""
ANSWER_S, FIRST_RESEND_S, LAST_RESEND_S = 10.0, 30.0, 900.0
"""A resend comes at random between the first, which an answer may take, and a bound that doubles up to the last."""
LOOK_EVERY_S = 2.0
LET_GO_S = 400.0
"""What is answered is deleted with the next commit, or after so long without one: each write wears the card."""
HANGS_S = 180.0
"""Longer than finding the broker's name and connecting to it may take."""
TAKEOVER_EVENT_S = 3_600.0
DATING_KEPT = 1_000


@dataclass(slots=True)
class _Sent:
    attempts: int
    again_at: float


class CommandReceiver(Protocol):
    """Commands to this unit come in and their answers go out on the uplink's connection, in the network's thread."""

    def receive(self, payload: bytes) -> None: ...

    def replies(self) -> Iterator[Reply]: ...

    def on_answer(self, call: Callable[[], None]) -> None:
        """`call` is called whenever there is a reply to send."""

    def note_answer(self, boot_ns: int) -> None:
        """The collector answered something that was sent at this CLOCK_BOOTTIME."""


class Uplink(Handler):
    """Publishes what the spool holds, oldest first, in a window; deletes only what an ack names.

    Without an answer a result goes again after a reconnect, or after a time that doubles from 30 s to 15 min, with
    full jitter. A PUBACK moves nothing. Where the clock is not synchronised, the answers tell the server's time.
    """

    def __init__(
        self,
        broker: Broker,
        agent: str,
        spool: Spool,
        hold_s: float,
        assume_synced: bool,
        read_clock: ReadClock,
        commands: CommandReceiver | None = None,
    ) -> None:
        self._commands, self._read_clock = commands, read_clock
        self._agent, self._spool, self._hold_s, self._assume_synced = agent, spool, hold_s, assume_synced
        self._sent: dict[int, _Sent] = {}
        self._mids: dict[int, int] = {}
        self._spool_id = spool.id
        self._first_sent: dict[int, int] = {}
        """Results of this process -> CLOCK_BOOTTIME when they first went out: an answer to one is not older."""
        self.refusal: str | None = None
        """Why the broker did not deliver the last result; None where it did."""
        self.heard = AckStats(spool.id)
        self._takeovers, self._takeover_said_at = 0, -TAKEOVER_EVENT_S
        self._let_go_at: float | None = None
        self._changed = threading.Event()
        self._look_again_at = 0.0
        offline = encode(AgentState(agent=agent, online=False, version=__version__))
        self._link = Link(
            broker,
            client_id=agent,
            handler=self,
            subscriptions=(topic(agent, "ack"), *(() if commands is None else (topic(agent, "cmd"),))),
            will=Will(topic(agent, "state"), offline),
        )
        spool.on_commit(self._committed)
        if commands is not None:
            commands.on_answer(self._link.wake)

    @property
    def alive(self) -> bool:
        """False where the network thread stands still; being offline is not that."""
        return self._link.is_alive() and time.monotonic() - self._link.alive_at < HANGS_S

    @property
    def connected(self) -> bool:
        return self._link.connected

    @property
    def away(self) -> str | None:
        """Why there is no connection to the broker; None while there is one, or before the first try has ended."""
        return self._link.away

    def start(self) -> None:
        self._link.start()

    def stop(self) -> None:
        """Says that the unit goes offline on purpose, then leaves."""
        if self._link.connected:
            said = threading.Event()
            payload = encode(AgentState(agent=self._agent, online=False, version=__version__))

            def goodbye(connection: Connection) -> None:
                connection.publish(topic(self._agent, "state"), payload, retain=True)
                said.set()

            self._link.call(goodbye)
            said.wait(1)
        self._link.stop()

    def _committed(self) -> None:
        self._changed.set()
        self._link.wake()

    def on_connected(self, connection: Connection) -> None:
        now = self._read_clock(self._assume_synced)
        state = AgentState(agent=self._agent, online=True, version=__version__, at=now.wall if now.synced else None)
        connection.publish(topic(self._agent, "state"), encode(state), retain=True)
        self._look_again_at = time.monotonic() + random.uniform(0, 1)  # noqa: S311  # many units reconnect together

    def on_message(self, connection: Connection, message: Message) -> None:
        if self._commands is not None and message.topic == topic(self._agent, "cmd"):
            self._commands.receive(message.payload)
            return
        if message.topic != topic(self._agent, "ack"):
            return  # some brokers deliver more than was asked for
        try:
            ack = decode_ack(message.payload)
        except msgspec.DecodeError as error:
            log.warning("ack not understood", reason=str(error))
            return
        for rejected in ack.rejected:
            log.error("result rejected", seq=rejected.seq, reason=rejected.reason)
        answered = [(stored.spool, stored.seqs) for stored in ack.stored]
        answered += [(rejected.spool, (rejected.seq,)) for rejected in ack.rejected]
        failpoints.at("uplink.acked")
        try:
            self._take_time(ack)
            for spool, seqs in answered:
                self._spool.forget(seqs, spool, later=True)
                self._let_go_at = time.monotonic() + LET_GO_S
        except SpoolError as error:
            log.error("acknowledged results stay", reason=str(error))
            return
        failpoints.at("uplink.forgotten")
        self.heard = self.heard.after(ack, self._spool.id)
        for _, seqs in answered:
            for seq in seqs:
                self._sent.pop(seq, None)
                self._first_sent.pop(seq, None)
        if ack.stored:
            log.info(
                "acknowledged", results=sum(len(stored.seqs) for stored in ack.stored), waiting=self._spool.depth()
            )
        self._changed.set()

    def _take_time(self, ack: Ack) -> None:
        """Learns that the way there and back is whole, and the server's time: it wrote this after it had read a result
        that this process was first to send.
        """
        now = self._read_clock(self._assume_synced)
        mine = [stored.seqs for stored in ack.stored if stored.spool == self._spool.id]
        sent = [self._first_sent[seq] for seqs in mine for seq in seqs if seq in self._first_sent]
        if sent and self._commands is not None:
            self._commands.note_answer(max(sent))
        if sent and not now.synced:
            self._spool.learn(of_answer(ack.time, max(sent), now.boot_ns))

    def on_published(self, connection: Connection, mid: int, reason: str | None) -> None:
        """The broker's answer decides nothing but when to try again: a refused message need not wait its full time."""
        failpoints.at("uplink.puback")
        seq = self._mids.pop(mid, None)
        if reason != self.refusal:
            self.refusal = reason
            if reason is not None:
                log.warning("broker did not deliver", seq=seq, reason=reason)
        if reason is not None and seq in self._sent:
            sent = self._sent[seq]
            sent.again_at = min(sent.again_at, time.monotonic() + random.uniform(2, 5) * 2 ** min(sent.attempts, 8))  # noqa: S311

    def on_tick(self, connection: Connection) -> None:
        now = time.monotonic()
        self._let_go(now)
        for reply in () if self._commands is None else self._commands.replies():
            connection.publish(topic(self._agent, "reply"), encode(reply))
        if self._spool.id != self._spool_id:  # a new file began, and its numbers with it
            self._spool_id = self._spool.id
            self._sent.clear()
            self._mids.clear()
            self._first_sent.clear()
        if now < self._look_again_at and not self._changed.is_set():
            return
        self._changed.clear()
        self._look_again_at = now + LOOK_EVERY_S
        waiting = {seq for seq, sent in self._sent.items() if sent.again_at > now}
        room = WINDOW - len(waiting)
        if room <= 0:
            return
        reading = self._read_clock(self._assume_synced)
        try:
            due = self._spool.pending(room, reading, self._hold_s, waiting)
        except SpoolError as error:
            log.error("spool not readable", reason=str(error))
            return
        for result in due:
            self._sent[result.seq] = self._next(result.seq, now)
            self._dating(result.seq, reading)
            self._mids[connection.publish(topic(self._agent, "up"), result.payload)] = result.seq
            failpoints.at("uplink.published")
        under_way = waiting | {result.seq for result in due}
        self._sent = {seq: sent for seq, sent in self._sent.items() if seq in under_way}  # others were evicted

    def _let_go(self, now: float) -> None:
        if self._let_go_at is None or now < self._let_go_at:
            return
        self._let_go_at = None
        try:
            self._spool.let_go()
        except SpoolError as error:
            log.error("acknowledged results stay", reason=str(error))
            self._let_go_at = now + LET_GO_S

    def _dating(self, seq: int, reading: ClockReading) -> None:
        if seq >= self._spool.first_seq:
            self._first_sent.setdefault(seq, reading.boot_ns)
        if len(self._first_sent) > DATING_KEPT:
            del self._first_sent[next(iter(self._first_sent))]

    def _next(self, seq: int, now: float) -> _Sent:
        attempts = self._sent[seq].attempts + 1 if seq in self._sent else 0
        wait_s = min(LAST_RESEND_S, FIRST_RESEND_S * 2**attempts)
        return _Sent(attempts, now + random.uniform(ANSWER_S, wait_s))  # noqa: S311

    def on_lost(self) -> None:
        self._sent.clear()
        self._mids.clear()

    def on_taken_over(self) -> None:
        """Another machine uses this unit's name: said once an hour, with how often it happened."""
        self._takeovers += 1
        if time.monotonic() - self._takeover_said_at < TAKEOVER_EVENT_S:
            return
        detail = "another machine connected with this unit's name"
        log.error("session taken over", times=self._takeovers, reason=detail)
        try:
            event = Event(name="session_taken_over", detail=detail, count=self._takeovers)
            self._spool.commit(event, None, self._read_clock(self._assume_synced))
        except SpoolError as error:
            log.error("result not kept", kind="Event", reason=str(error))
            return
        self._takeovers, self._takeover_said_at = 0, time.monotonic()
