"""From the broker to the store and back: receive, validate, write, archive, acknowledge, and only then PUBACK.

Every step may be repeated: what is stored stays as it is, the archive may have a message twice, an ack may be said
twice. So a result is answered only when it is in the database and in the archive, or in the dead-letter file, and
whatever dies in between only causes a resend. What comes too fast, or beyond the day's quota, gets a PUBACK and no
answer: it waits on the unit, and no place of the broker's window is held.
"""

import contextlib
import datetime as dt
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol, TypeVar

from collector.ingest import loopback_probe
from collector.ingest.acks import acks_of
from collector.ingest.archive_record import ArchiveWriter, archive_record
from collector.ingest.dead_letters import DeadLetters, dead_letter
from collector.ingest.lateness import Lateness
from collector.ingest.loopback_probe import LoopbackProbe
from collector.ingest.permissions import PermissionIssuer
from collector.ingest.presence import Presence, PresenceBoard
from collector.ingest.quota import Quota
from collector.ingest.rate_limit import RateLimiter
from collector.ingest.repeats import Repeats
from collector.ingest.validate import Accepted, RefusedMessage, ResultId, validate
from collector.metrics import Metrics
from collector.settings import QuotaSettings
from collector.store import Added, Store
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.points import Point, when
from xomnet.contract.messages import encode
from xomnet.contract.topics import parse, topic, topic_filter
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, ConnectionLost, Handler, Link, Message
from xomnet.registry.registry import Registry
from xomnet.runtime import failpoints
from xomnet.runtime.backoff import back_off_s
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log

log = Log("collector.ingest.intake")

T = TypeVar("T")

RECEIVE_MAXIMUM = 1000
"""Messages that the broker may have given us without a PUBACK: what bounds the memory while the database is away."""
MAX_QUEUED = 4 * RECEIVE_MAXIMUM
"""Mosquitto up to 2.0.12 gives out more than that: each PUBACK of the oldest message releases as many again."""
BATCH, BATCH_WAIT_S = 500, 0.1
RETRY_BASE_S, RETRY_MAX_S = 0.25, 30.0
MAX_PATIENCE_S = 300.0
"""However long the database asks for."""
MAX_LOOKUPS = 8
"""Days of units of which, in a batch, results beyond the quota are looked for in the store."""
NOTHING = Added([], {})


class StoredListener(Protocol):
    """Takes note of what was stored and returns at once; called from the worker's thread."""

    def on_stored(self, points: Sequence[Point]) -> None: ...


class CommandChannel(Protocol):
    """Commands to units, which go out and come back on the intake's connection; called from the network's thread."""

    def on_queued(self, call: Callable[[], None]) -> None:
        """`call` is called whenever there is something to send."""

    def on_connected(self) -> None: ...

    def send(self, connection: Connection) -> None: ...

    def on_published(self, mid: int, reason: str | None) -> None: ...

    def on_reply(self, agent: str, payload: bytes) -> None: ...


class Intake(Handler):
    """Two threads: the network's (`Link`) only queues; the worker validates, writes, answers, and tells `listeners`."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        store: Store,
        registry: Callable[[], Registry],
        dead_letters: DeadLetters,
        metrics: Metrics,
        commands: CommandChannel,
        now: UtcClock,
        listeners: Sequence[StoredListener] = (),
        presence: PresenceBoard | None = None,
        probe_s: float = 30.0,
        permissions: PermissionIssuer | None = None,
        quota: Quota | None = None,
        archive: ArchiveWriter | None = None,
    ) -> None:
        self._now, self._permissions = now, permissions
        self._presence = presence or PresenceBoard()
        self._listeners, self._commands = listeners, commands
        self._voice = LoopbackProbe(probe_s)
        self._quota = quota or Quota(QuotaSettings())
        self._archive, self._repeats = archive, Repeats(self._quota.digest_of)
        self._rates = RateLimiter(self._quota.settings.results_per_s)
        self._too_fast, self._over_quota = (metrics.unanswered.labels(why=why) for why in ("rate", "quota"))
        self._generation = self._in_hand = 0
        self._store, self._registry, self._dead, self._metrics = store, registry, dead_letters, metrics
        self._lateness = Lateness(store)
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._last_stored_at = time.monotonic()
        self._worker = threading.Thread(target=self._work, name="intake", daemon=True)
        self._link = Link(
            broker,
            client_id,
            handler=self,
            subscriptions=(topic_filter("up"), topic_filter("state"), topic_filter("reply")),
            persistent=True,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        self._commands.on_queued(self._link.wake)
        metrics.queue.set_function(self._queue.qsize)
        metrics.connected.set_function(lambda: float(self._link.connected))
        metrics.answers.set_function(lambda: float(self.trouble() is None))
        metrics.quota_exceeded.set_function(lambda: float(self._quota.exceeded_units))
        metrics.last_result_age.set_function(lambda: time.monotonic() - self._last_stored_at)

    def start(self) -> None:
        self._worker.start()
        self._link.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Lets the worker finish the batch in hand, says goodbye to the broker; what is queued comes again."""
        self._stop.set()
        self._worker.join(timeout_s)
        self._link.stop()

    def trouble(self) -> str | None:
        """What is wrong between the broker and us, in a sentence; None where messages come and go."""
        return self._voice.trouble() if self._link.connected else "not connected"

    @property
    def alive(self) -> bool:
        """False where a thread has ended or the network's stands still."""
        return self._worker.is_alive() and self._link.is_alive() and time.monotonic() - self._link.alive_at < 60

    def agents(self) -> list[Presence]:
        """What the broker last said of each agent."""
        return self._presence.agents()

    # --- network thread

    def has_room(self) -> bool:
        return self._queue.qsize() < MAX_QUEUED

    def on_connected(self, connection: Connection) -> None:
        self._voice.on_connected()
        self._commands.on_connected()

    def on_lost(self) -> None:
        self._begin(0)

    def _begin(self, generation: int) -> None:
        """What is queued of another connection can't be acknowledged on this one, and comes again."""
        self._generation, self._in_hand = generation, 0
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def on_tick(self, connection: Connection) -> None:
        if self._in_hand >= RECEIVE_MAXIMUM:
            self._voice.on_received()  # it may send no more before the database has taken some
        if self._voice.too_long:
            raise ConnectionLost(f"nothing came in for {self._voice.limit_s:g} s, not even our own message")
        if self._voice.due():
            self._voice.on_sent(connection.publish(loopback_probe.TOPIC, loopback_probe.PAYLOAD))
        self._commands.send(connection)

    def on_published(self, connection: Connection, mid: int, reason: str | None) -> None:
        self._voice.on_puback(mid, reason)
        self._commands.on_published(mid, reason)

    def on_message(self, connection: Connection, message: Message) -> None:
        self._voice.on_received()
        if message.topic == loopback_probe.TOPIC:
            connection.ack(message.mid)
            return
        agent, channel = parse(message.topic) or ("", "up")
        if not self._rates.admits(agent, channel, len(message.payload), time.monotonic()):
            self._too_fast.inc()
            connection.ack(message.mid)
            return
        if channel == "state":
            self._presence.receive(agent, message.payload, self._now())
            connection.ack(message.mid)
            return
        if channel == "reply":
            self._commands.on_reply(agent, message.payload)
            connection.ack(message.mid)
            return
        if message.generation != self._generation:  # the first ones come before we are told that it is connected
            self._begin(message.generation)
        self._metrics.received.inc()
        self._in_hand += 1
        self._queue.put(message)
        failpoints.at("intake.received")

    # --- worker thread

    def _work(self) -> None:
        while not self._stop.is_set():
            while self._rates.floods:
                self._quota.note_flood(self._rates.floods.popleft(), self._now())
            batch = self._batch()
            if not batch:
                continue
            try:
                self._handle(batch)
            except Exception:  # the last line of defence
                log.exception("batch not handled", messages=len(batch))
                self._stop.wait(1)
                self._link.call(_reconnect)

    def _batch(self) -> list[Message]:
        try:
            batch = [self._queue.get(timeout=0.5)]
        except queue.Empty:
            return []
        deadline = time.monotonic() + BATCH_WAIT_S
        while len(batch) < BATCH:
            try:
                batch.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _handle(self, batch: list[Message]) -> None:
        registry, now = self._registry(), self._now()
        admitted: list[tuple[Message, Accepted]] = []
        over: list[tuple[Message, Accepted, str]] = []
        refused: list[tuple[Message, RefusedMessage]] = []
        for message in batch:
            verdict = validate(message.topic, message.payload, registry, now)
            if isinstance(verdict, RefusedMessage):
                refused.append((message, verdict))
                continue
            decision, reason = self._quota.admit(verdict, len(message.payload), now)
            if decision == "admit":
                admitted.append((message, verdict))
            elif decision == "reject" and self._quota.has_rejections_left(verdict.id.agent, now):
                over.append((message, verdict, reason))
        failpoints.at("intake.validated")
        over = _to_look_up(over)
        found = self._retry(lambda: self._store.find([one.point for _, one, _ in over])) if over else NOTHING
        marked = self._retry(lambda: self._lateness.mark([one for _, one in admitted], now))
        if found is None or marked is None:
            return
        stored_before = [
            (message, one)
            for message, one, _ in over
            if id(one.point) in found.known and self._quota.admit_rejection(one.id.agent, len(message.payload), now)
        ]
        refused += [
            (message, RefusedMessage("quota", reason, one.id.agent, one.id))
            for message, one, reason in over
            if id(one.point) not in found.known
        ]
        stored = {id(one.point): (message, one) for (message, _), one in zip(admitted, marked, strict=True)}
        added = self._retry(lambda: self._store.add([one.point for one in marked])) if marked else NOTHING
        if added is None:
            return
        failpoints.at("intake.stored")
        for point, reason in added.rejections:
            message, one = stored.pop(id(point))
            refused.append((message, RefusedMessage("store", reason[:500], one.id.agent, one.id)))
        fresh = self._repeats.without(stored.values())
        if not self._archived([(fresh.values(), added), (stored_before, found)]):
            return
        failpoints.at("intake.archived")
        self._repeats.remember(fresh)
        refused = [
            (message, verdict)
            for message, verdict in refused
            if self._quota.admit_rejection(verdict.agent or "", len(message.payload), now)
        ]
        if refused and self._retry(lambda: self._keep_refused(refused, now)) is None:
            return
        self._quota.save()
        self._metrics.stored.inc(len(stored))
        points = [one.point for _, one in stored.values()]
        self._observe_audits(points)
        self._notify_listeners(points)
        if stored:
            self._last_stored_at = time.monotonic()
        answered = [one.id for _, one in [*stored.values(), *stored_before]]
        self._over_quota.inc(len(batch) - len(answered) - len(refused))
        self._answer(batch, answered, [verdict for _, verdict in refused])

    def _archived(self, stored: Iterable[tuple[Iterable[tuple[Message, Accepted]], Added]]) -> bool:
        """Keeps also what was stored before: the collector may have died between store and archive. False if it stops
        first.
        """
        archive = self._archive
        if archive is None:
            return True
        records = [archive_record(one, message.payload, added) for of, added in stored for message, one in of]

        def append() -> bool:
            archive.append(records)
            return True

        return not records or self._retry(append) is not None

    def _notify_listeners(self, points: Sequence[Point]) -> None:
        """A fault of one listener keeps the points neither from the others nor from being acknowledged."""
        for listener in self._listeners:
            try:
                listener.on_stored(points)
            except Exception:
                log.exception("a listener failed on what was stored", points=len(points))

    def _observe_audits(self, stored: Iterable[Point]) -> None:
        for point in stored:
            early, full = point.fields.get("early_mbps"), point.fields.get("down_mbps")
            if isinstance(early, float) and isinstance(full, float) and full > 0:
                self._metrics.early_stop.observe(early / full)

    def _keep_refused(self, refused: list[tuple[Message, RefusedMessage]], now: dt.datetime) -> bool:
        letters = [
            dead_letter(
                message.topic,
                message.payload,
                verdict.code,
                verdict.reason,
                now,
                agent=verdict.agent,
                spool=None if verdict.id is None else str(verdict.id.spool),
                seq=None if verdict.id is None else verdict.id.seq,
            )
            for message, verdict in refused
        ]
        if not self._dead.append(letters):
            raise StoreUnavailable("the dead-letter file can't be written; free some space")
        failpoints.at("intake.kept")
        for _, verdict in refused:
            self._metrics.rejected.labels(code=verdict.code).inc()
            log.warning("rejected", agent=verdict.agent, code=verdict.code, reason=verdict.reason)
        return True

    def _retry(self, attempt: Callable[[], T]) -> T | None:
        """Retries while the store is unavailable, with full jitter; None if the collector stops first."""
        tries = 0
        while True:
            try:
                return attempt()
            except StoreUnavailable as error:
                tries += 1
                self._metrics.write_errors.inc()
                say = log.error if isinstance(error, StoreRefused) else log.warning
                wait_s = min(MAX_PATIENCE_S, error.retry_after_s or back_off_s(tries, RETRY_BASE_S, RETRY_MAX_S))
                say("not stored, kept", reason=str(error), tries=tries, again_in_s=wait_s)
                if self._stop.wait(wait_s):
                    return None

    def _answer(self, batch: list[Message], stored: list[ResultId], refused: list[RefusedMessage]) -> None:
        """Publishes the acks, then PUBACKs, both in the network thread and in this order."""
        now = self._now()

        def permission_of(agent: str) -> str | None:
            return None if self._permissions is None else self._permissions.issue_if_due(agent, now)

        acks = [(topic(ack.agent, "ack"), encode(ack)) for ack in acks_of(stored, refused, now, permission_of)]

        def answer(connection: Connection) -> None:
            for ack_topic, payload in acks:
                connection.publish(ack_topic, payload)
            failpoints.at("intake.acked")
            for message in batch:
                if message.generation == connection.generation:  # packet ids start again with a connection
                    connection.ack(message.mid)
                    self._in_hand -= 1
            failpoints.at("intake.answered")

        self._link.call(answer)


def _to_look_up(over: Sequence[tuple[Message, Accepted, str]]) -> list[tuple[Message, Accepted, str]]:
    """Those results beyond the quota that are looked for in the store, because only their ack may have been lost: of
    MAX_LOOKUPS units' days. The others come again.
    """
    groups: dict[object, list[tuple[Message, Accepted, str]]] = {}
    for message, one, reason in over:
        groups.setdefault((one.id.agent, when(one.point.time_ns).date()), []).append((message, one, reason))
    return list(chain.from_iterable(list(groups.values())[:MAX_LOOKUPS]))


def _reconnect(_: Connection) -> None:
    raise ConnectionLost("a batch was not handled; on the next connection it comes again")
