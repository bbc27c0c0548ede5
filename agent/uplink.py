"""From the spool to the collector, again and again until it answers."""

import random
import sqlite3
import threading
import time
from dataclasses import dataclass

import msgspec

from agent.clock import read_clock
from agent.spool import Spool, SpoolError
from xomnet import __version__, crash
from xomnet.broker import Broker
from xomnet.log import Log
from xomnet.messages import AgentState, decode_ack, encode
from xomnet.mqtt import Connection, Handler, Link, Message, Will
from xomnet.topics import topic

log = Log("agent.uplink")

WINDOW = 64
"""Results that may be under way without an answer."""
FIRST_RESEND_S, LAST_RESEND_S = 30.0, 900.0
LOOK_EVERY_S = 2.0


@dataclass(slots=True)
class _Sent:
    attempts: int
    again_at: float


class Uplink(Handler):
    """Publishes what the spool holds, oldest first, in a window; deletes only what an ack names.

    Without an answer a result goes again after a reconnect, or after a time that doubles from 30 s to 15 min, with
    jitter. A PUBACK moves nothing.
    """

    def __init__(self, broker: Broker, agent: str, spool: Spool, hold_s: float, assume_synced: bool) -> None:
        self._agent, self._spool, self._hold_s, self._assume_synced = agent, spool, hold_s, assume_synced
        self._sent: dict[int, _Sent] = {}
        self._mids: dict[int, int] = {}
        self._changed = threading.Event()
        self._look_again_at = 0.0
        offline = encode(AgentState(agent=agent, online=False, version=__version__))
        self._link = Link(
            broker,
            client_id=agent,
            handler=self,
            subscriptions=(topic(agent, "ack"),),
            will=Will(topic(agent, "state"), offline),
        )
        spool.on_commit(self._committed)

    @property
    def alive(self) -> bool:
        """False where the network thread stands still; being offline is not that."""
        return self._link.is_alive() and time.monotonic() - self._link.alive_at < 60

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
        now = read_clock(self._assume_synced)
        state = AgentState(agent=self._agent, online=True, version=__version__, at=now.wall if now.synced else None)
        connection.publish(topic(self._agent, "state"), encode(state), retain=True)
        self._look_again_at = time.monotonic() + random.uniform(0, 1)  # noqa: S311  # many units reconnect together

    def on_message(self, connection: Connection, message: Message) -> None:
        if message.topic != topic(self._agent, "ack"):
            return  # some brokers deliver more than was asked for
        try:
            ack = decode_ack(message.payload)
        except msgspec.DecodeError as error:
            log.warning("ack not understood", reason=str(error))
            return
        seqs = [seq for stored in ack.stored if stored.spool == self._spool.id for seq in stored.seqs]
        for rejected in ack.rejected:
            if rejected.spool == self._spool.id:
                log.error("result rejected", seq=rejected.seq, reason=rejected.reason)
                seqs.append(rejected.seq)
        crash.at("uplink.acked")
        try:
            self._spool.forget(seqs)
        except SpoolError as error:
            log.error("acknowledged results stay", reason=str(error))
            return
        crash.at("uplink.forgotten")
        for seq in seqs:
            self._sent.pop(seq, None)
        if ack.stored:
            log.info(
                "acknowledged", results=sum(len(stored.seqs) for stored in ack.stored), waiting=self._spool.depth()
            )
        self._changed.set()

    def on_published(self, connection: Connection, mid: int, reason: str | None) -> None:
        """The broker's answer decides nothing but when to try again: a refused message need not wait its full time."""
        crash.at("uplink.puback")
        seq = self._mids.pop(mid, None)
        if reason is not None and seq in self._sent:
            log.warning("broker did not deliver", seq=seq, reason=reason)
            sent = self._sent[seq]
            sent.again_at = min(sent.again_at, time.monotonic() + random.uniform(2, 5) * 2 ** min(sent.attempts, 8))  # noqa: S311

    def on_tick(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._look_again_at and not self._changed.is_set():
            return
        self._changed.clear()
        self._look_again_at = now + LOOK_EVERY_S
        waiting = {seq for seq, sent in self._sent.items() if sent.again_at > now}
        room = WINDOW - len(waiting)
        if room <= 0:
            return
        try:
            due = self._spool.pending(room, read_clock(self._assume_synced), self._hold_s, waiting)
        except sqlite3.Error as error:
            log.error("spool not readable", reason=str(error))
            return
        for result in due:
            self._sent[result.seq] = self._next(result.seq, now)
            self._mids[connection.publish(topic(self._agent, "up"), result.payload)] = result.seq
            crash.at("uplink.published")

    def _next(self, seq: int, now: float) -> _Sent:
        attempts = self._sent[seq].attempts + 1 if seq in self._sent else 0
        wait_s = min(LAST_RESEND_S, FIRST_RESEND_S * 2**attempts)
        return _Sent(attempts, now + random.uniform(wait_s / 2, wait_s))  # noqa: S311

    def on_lost(self) -> None:
        self._sent.clear()
        self._mids.clear()
