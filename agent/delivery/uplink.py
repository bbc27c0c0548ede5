"""From the spool to the collector, again and again until it acknowledges."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from agent.clock.clock import ClockReading, ReadClock
from agent.clock.timestamps import server_reference
from agent.delivery.ack_stats import AckStats
from agent.delivery.permission import keep_permission
from agent.delivery.spool import Spool, SpoolError
from xomnet import __version__
from xomnet.contract.commands import Reply
from xomnet.contract.messages import Ack, AgentState, Event, decode_ack, encode
from xomnet.contract.topics import topic
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Handler, Link, Message, Will
from xomnet.runtime import failpoints
from xomnet.runtime.backoff import back_off_s
from xomnet.runtime.log import Log

log = Log("agent.delivery.uplink")

WINDOW = 64
"""Results that may be under way without an acknowledgement."""
ANSWER_S, FIRST_RESEND_S, LAST_RESEND_S = 10.0, 30.0, 900.0
"""A resend comes at a random time between ANSWER_S, which an acknowledgement may take, and a bound that doubles from
FIRST_RESEND_S to LAST_RESEND_S.
"""
POLL_S = 2.0
FLUSH_S = 400.0
"""Acknowledged results are deleted with the next commit, or after this time without one: each write wears the card."""
HANGS_S = 180.0
"""Longer than finding the broker's name and connecting to it may take."""
TAKEOVER_EVENT_S = 3_600.0
MAX_FIRST_SENT = 1_000


@dataclass(slots=True)
class _SendState:
    attempts: int
    resend_at: float


class CommandReceiver(Protocol):
    """Commands to this unit come in and replies go out on the uplink's connection, in the network's thread."""

    def receive(self, payload: bytes) -> None:
        """Takes a message of the topic `cmd`."""

    def replies(self) -> Iterator[Reply]:
        """The replies to send; each is removed when the next one is asked for."""

    def on_reply(self, call: Callable[[], None]) -> None:
        """Sets the function that is called whenever there is a reply to send."""

    def note_contact(self, boot_ns: int) -> None:
        """The collector acknowledged a result that was sent at this CLOCK_BOOTTIME."""


class Uplink(Handler):
    """Publishes the results of the spool, oldest first, in a window; deletes only results that an ack names.

    Without an ack a result goes out again after a reconnect, or after a time that doubles from 30 s to 15 min, with
    full jitter. A PUBACK deletes nothing. If the clock is not synchronised, acks give the server's time.
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
        self._sent: dict[int, _SendState] = {}
        self._mids: dict[int, int] = {}
        self._spool_id = spool.id
        self._first_sent: dict[int, int] = {}
        """Results of this process -> CLOCK_BOOTTIME of their first publish: an ack of one is not older."""
        self.broker_refusal: str | None = None
        """Why the broker did not deliver the last result; None if it did."""
        self.ack_stats = AckStats(spool.id)
        self._takeovers, self._takeover_event_at = 0, -TAKEOVER_EVENT_S
        self._flush_at: float | None = None
        self._changed = threading.Event()
        self._poll_at = 0.0
        offline = encode(AgentState(agent=agent, online=False, version=__version__))
        self._link = Link(
            broker,
            client_id=agent,
            handler=self,
            subscriptions=(topic(agent, "ack"), *(() if commands is None else (topic(agent, "cmd"),))),
            will=Will(topic(agent, "state"), offline),
        )
        spool.on_commit(self._on_commit)
        if commands is not None:
            commands.on_reply(self._link.wake)

    @property
    def alive(self) -> bool:
        """False if the network thread hangs. Being offline is alive."""
        return self._link.is_alive() and time.monotonic() - self._link.alive_at < HANGS_S

    @property
    def connected(self) -> bool:
        return self._link.connected

    @property
    def disconnect_reason(self) -> str | None:
        """Why there is no connection to the broker; None while there is one, or before the first try has ended."""
        return self._link.disconnect_reason

    def start(self) -> None:
        self._link.start()

    def stop(self) -> None:
        """Publishes that the unit is offline, then disconnects."""
        if self._link.connected:
            published = threading.Event()
            payload = encode(AgentState(agent=self._agent, online=False, version=__version__))

            def publish_offline(connection: Connection) -> None:
                connection.publish(topic(self._agent, "state"), payload, retain=True)
                published.set()

            self._link.call(publish_offline)
            published.wait(1)
        self._link.stop()

    def _on_commit(self) -> None:
        self._changed.set()
        self._link.wake()

    def on_connected(self, connection: Connection) -> None:
        now = self._read_clock(self._assume_synced)
        state = AgentState(agent=self._agent, online=True, version=__version__, at=now.wall if now.synced else None)
        connection.publish(topic(self._agent, "state"), encode(state), retain=True)
        self._poll_at = time.monotonic() + random.uniform(0, 1)  # noqa: S311  # many units reconnect together

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
        acked = [(stored.spool, stored.seqs) for stored in ack.stored]
        acked += [(rejected.spool, (rejected.seq,)) for rejected in ack.rejected]
        failpoints.at("uplink.acked")
        try:
            self._learn_time(ack)
            for spool, seqs in acked:
                self._spool.remove_acked(seqs, spool, later=True)
                self._flush_at = time.monotonic() + FLUSH_S
        except SpoolError as error:
            log.error("acknowledged results stay", reason=str(error))
            return
        failpoints.at("uplink.forgotten")
        if ack.permission is not None:
            keep_permission(self._spool, ack.permission)
        self.ack_stats = self.ack_stats.with_ack(ack, self._spool.id)
        for _, seqs in acked:
            for seq in seqs:
                self._sent.pop(seq, None)
                self._first_sent.pop(seq, None)
        if ack.stored:
            log.info(
                "acknowledged", results=sum(len(stored.seqs) for stored in ack.stored), waiting=self._spool.depth()
            )
        self._changed.set()

    def _learn_time(self, ack: Ack) -> None:
        """Learns from an ack that the collector was reached and, if the clock is not synchronised, the server's time.

        Only acks of results count that this process was the first to send: the collector wrote its time after that.
        """
        now = self._read_clock(self._assume_synced)
        mine = [stored.seqs for stored in ack.stored if stored.spool == self._spool.id]
        sent = [self._first_sent[seq] for seqs in mine for seq in seqs if seq in self._first_sent]
        if sent and self._commands is not None:
            self._commands.note_contact(max(sent))
        if sent and not now.synced:
            self._spool.learn_time(server_reference(ack.time, max(sent), now.boot_ns))

    def on_published(self, connection: Connection, mid: int, reason: str | None) -> None:
        """A PUBACK decides only when to resend: a message that the broker refused need not wait its full time."""
        failpoints.at("uplink.puback")
        seq = self._mids.pop(mid, None)
        if reason != self.broker_refusal:
            self.broker_refusal = reason
            if reason is not None:
                log.warning("broker did not deliver", seq=seq, reason=reason)
        if reason is not None and seq in self._sent:
            sent = self._sent[seq]
            sent.resend_at = min(sent.resend_at, time.monotonic() + random.uniform(2, 5) * 2 ** min(sent.attempts, 8))  # noqa: S311

    def on_tick(self, connection: Connection) -> None:
        now = time.monotonic()
        self._flush_acked(now)
        for reply in () if self._commands is None else self._commands.replies():
            connection.publish(topic(self._agent, "reply"), encode(reply))
        if self._spool.id != self._spool_id:  # a new file began, and its numbers with it
            self._spool_id = self._spool.id
            self._sent.clear()
            self._mids.clear()
            self._first_sent.clear()
        if now < self._poll_at and not self._changed.is_set():
            return
        self._changed.clear()
        self._poll_at = now + POLL_S
        waiting = {seq for seq, sent in self._sent.items() if sent.resend_at > now}
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
            self._sent[result.seq] = self._next_send(result.seq, now)
            self._note_first_send(result.seq, reading)
            self._mids[connection.publish(topic(self._agent, "up"), result.payload)] = result.seq
            failpoints.at("uplink.published")
        under_way = waiting | {result.seq for result in due}
        self._sent = {seq: sent for seq, sent in self._sent.items() if seq in under_way}  # others were evicted

    def _flush_acked(self, now: float) -> None:
        if self._flush_at is None or now < self._flush_at:
            return
        self._flush_at = None
        try:
            self._spool.flush_acked()
        except SpoolError as error:
            log.error("acknowledged results stay", reason=str(error))
            self._flush_at = now + FLUSH_S

    def _note_first_send(self, seq: int, reading: ClockReading) -> None:
        if seq >= self._spool.first_seq:
            self._first_sent.setdefault(seq, reading.boot_ns)
        if len(self._first_sent) > MAX_FIRST_SENT:
            del self._first_sent[next(iter(self._first_sent))]

    def _next_send(self, seq: int, now: float) -> _SendState:
        attempts = self._sent[seq].attempts + 1 if seq in self._sent else 0
        return _SendState(attempts, now + back_off_s(attempts, FIRST_RESEND_S, LAST_RESEND_S, ANSWER_S))

    def on_lost(self) -> None:
        self._sent.clear()
        self._mids.clear()

    def on_taken_over(self) -> None:
        """Another machine uses this unit's id: an event once an hour, with the number of takeovers."""
        self._takeovers += 1
        if time.monotonic() - self._takeover_event_at < TAKEOVER_EVENT_S:
            return
        detail = "another machine connected with this unit's name"
        log.error("session taken over", times=self._takeovers, reason=detail)
        try:
            event = Event(name="session_taken_over", detail=detail, count=self._takeovers)
            self._spool.commit(event, None, self._read_clock(self._assume_synced))
        except SpoolError as error:
            log.error("result not kept", kind="Event", reason=str(error))
            return
        self._takeovers, self._takeover_event_at = 0, time.monotonic()
