"""One MQTT connection after another, in one thread that owns the network.

paho's own network thread can end without a word while `is_connected()` stays true, and its publish() from another
thread races with it. So the loop is ours (paho's documented external event loop): whatever fails in it ends this
connection, is logged, and the next one is made after a back-off with full jitter. Every connection is a new paho
client: no state of the old one can leak into it.
"""

import contextlib
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from xomnet.mqtt.broker import Broker
from xomnet.mqtt.client import CONNECT_TIMEOUT_S, Client, OnPublish, Will, connect, disconnect, new_client
from xomnet.mqtt.takeover import TAKEN_OVER, TakeoverDetector, is_listening
from xomnet.runtime import failpoints
from xomnet.runtime.backoff import back_off_s
from xomnet.runtime.log import Log
from xomnet.runtime.secrets import SecretError

log = Log("xomnet.mqtt.link")

__all__ = ["Connection", "Handler", "Link", "Message", "Will"]

DISCONNECT_S = 0.5
PACKETS_A_TURN = 100
PAUSE_STEP_S = 5.0
RECONNECT_BASE_S, RECONNECT_MAX_S = 0.5, 60.0


class ConnectionLost(Exception):
    """This connection is over; the next one follows. `reason_code` is the broker's; None if it gave none."""

    def __init__(self, text: str, reason_code: int | None = None) -> None:
        super().__init__(text)
        self.reason_code = reason_code


class SubscriptionRefused(Exception):
    """The broker refused a subscription: connected, we would be deaf. A unit may come before the broker knows it."""


class Connection:
    """One connection's life. Only the network thread touches it, but for `generation`, which never changes."""

    def __init__(self, client: paho.Client, generation: int) -> None:
        self._client = client
        self.generation = generation

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """QoS 1. Returns the packet's id; raises ConnectionLost."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise ConnectionLost(paho.error_string(info.rc))
        return info.mid

    def ack(self, mid: int) -> None:
        """PUBACK of a received message; only of one that this very connection delivered. A message of QoS 0 has no id,
        and a PUBACK of it would be a protocol error, which ends the connection.
        """
        if mid:
            self._client.ack(mid, 1)


class Message(Struct, frozen=True):
    topic: str
    payload: bytes
    mid: int
    generation: int


class Handler:
    """What a user of the connection does with it; every method runs in the network thread and must not block."""

    def on_connected(self, connection: Connection) -> None: ...
    def on_message(self, connection: Connection, message: Message) -> None: ...
    def on_published(self, connection: Connection, mid: int, reason: str | None) -> None:
        """A PUBACK came; `reason` is None for success, else the broker's word. It says nothing of the database."""

    def has_room(self) -> bool:
        """False while it can take no more messages: then the network is not read, which holds the broker back."""
        return True

    def on_tick(self, connection: Connection) -> None:
        """After every turn of the loop, at least every `turn_s`."""

    def on_lost(self) -> None: ...
    def on_taken_over(self) -> None:
        """Another client with the same id ended the connection; after `on_lost`."""


class Link(threading.Thread):
    """Keeps a connection to the broker as long as it runs.

    `persistent` keeps the broker's session over connections (the collector); `manual_ack` leaves PUBACKs to us.
    `call` runs a function in the network thread, from any thread. `alive_at` moves with every turn of the loop.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        handler: Handler,
        subscriptions: tuple[str, ...] = (),
        will: Will | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        receive_maximum: int = 100,
        turn_s: float = 0.5,
    ) -> None:
        super().__init__(name=f"mqtt-{client_id}", daemon=True)
        self._broker, self._client_id, self._handler = broker, client_id, handler
        self._subscriptions, self._will = subscriptions, will
        self._persistent, self._manual_ack, self._receive_maximum = persistent, manual_ack, receive_maximum
        self._turn_s = turn_s
        self._stopping = threading.Event()
        self._calls: queue.SimpleQueue[Callable[[Connection], None]] = queue.SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._generation = 0
        self.connected = False
        self.disconnect_reason: str | None = None
        """Why the last try or connection ended; None while connected."""
        self.alive_at = time.monotonic()

    def call(self, function: Callable[[Connection], None]) -> None:
        """Runs `function(connection)` in the network thread; drops it if there is no connection by then."""
        self._calls.put(function)
        self.wake()

    def wake(self) -> None:
        """Makes the loop turn now."""
        with contextlib.suppress(BlockingIOError):  # it has not read the last wakes yet: it will turn
            self._wake_out.send(b"\0")

    def stop(self, timeout_s: float = 3.0) -> None:
        """Disconnects (the broker does not send the will) and ends the thread."""
        self._stopping.set()
        self.wake()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        attempt, takeovers = 0, TakeoverDetector()
        while not self._stopping.is_set():
            self._generation += 1
            began = self.alive_at = time.monotonic()
            taken_over = cut_off = deaf = False
            try:
                self._run_connection(self._generation)
            except Exception as error:  # noqa: BLE001  # paho raises bare ValueError, struct.error and more
                self.disconnect_reason = _reason_of(error)
                level = log.warning if attempt == 0 or attempt % 10 == 0 else log.debug
                level("broker away", host=self._broker.host, port=self._broker.port, reason=self.disconnect_reason)
                if isinstance(error, ConnectionLost) and self.connected:
                    taken_over = error.reason_code == TAKEN_OVER
                    cut_off = time.monotonic() - began < takeovers.window_s and is_listening(
                        self._broker.host, self._broker.port
                    )
                deaf = isinstance(error, SubscriptionRefused)
            if self.connected:
                attempt = attempt if deaf else 0
                self.connected = False
                self._handler.on_lost()
            attempt += 1
            if takeovers.connection_ended(time.monotonic() - began, taken_over, cut_off):
                self._handler.on_taken_over()
                self._pause(takeovers.pause_s())
            else:
                self._pause(back_off_s(attempt, RECONNECT_BASE_S, RECONNECT_MAX_S))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - (now := time.monotonic())) > 0 and not self._stopping.is_set():
            self.alive_at = now
            self._stopping.wait(min(left, PAUSE_STEP_S))

    def _run_connection(self, generation: int) -> None:
        client = new_client(self._broker, self._client_id, self._will, self._persistent, self._manual_ack)
        answer: list[ReasonCode] = []
        ended: list[ReasonCode] = []
        connection = Connection(client, generation)
        client.on_connect = lambda _c, _u, _f, reason, _p: answer.append(reason)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: ended.append(reason)
        client.on_subscribe = lambda _c, _u, _m, reasons, _p: _refuse_to_be_deaf(reasons)
        receive: OnPublish = lambda topic, payload, mid: self._handler.on_message(  # noqa: E731
            connection, Message(topic, payload, mid, generation)
        )
        client.on_message = lambda _c, _u, m: receive(m.topic, bytes(m.payload), m.mid)
        client.on_publish_in = receive
        client.on_publish = lambda _c, _u, mid, reason, _p: self._handler.on_published(
            connection, mid, reason.getName() if reason.is_failure or reason.value == 0x10 else None
        )
        try:
            connect(client, self._broker, self._persistent, self._receive_maximum)
            deadline = time.monotonic() + CONNECT_TIMEOUT_S
            while not answer and not self._stopping.is_set():
                self._turn(client, 0.2)
                if time.monotonic() > deadline:
                    raise ConnectionLost("no CONNACK in time")
            if self._stopping.is_set():
                return
            if answer[0].is_failure:
                raise ConnectionLost("refused")
            if self._subscriptions:
                client.subscribe([(filter_, 1) for filter_ in self._subscriptions])
            self.connected, self.disconnect_reason = True, None
            log.info("connected to broker", host=self._broker.host, port=self._broker.port, generation=generation)
            failpoints.at("mqtt.connected")
            self._handler.on_connected(connection)
            while not self._stopping.is_set():
                self._turn(client, self._turn_s)
                while not self._calls.empty():
                    self._calls.get()(connection)
                self._handler.on_tick(connection)
        except ConnectionLost as error:
            if answer and answer[0].is_failure:
                raise ConnectionLost(f"refused: {answer[0].getName()}") from error
            if not ended:
                raise
            raise ConnectionLost(f"{error}: {ended[0].getName()}", ended[0].value) from error
        finally:
            while not self._calls.empty():
                self._calls.get()
            disconnect(client, wait_s=DISCONNECT_S if self._stopping.is_set() else 0)

    def _turn(self, client: Client, wait_s: float) -> None:
        """One turn: waits for the network or a wake, reads, writes, keeps alive. Raises ConnectionLost."""
        self.alive_at = time.monotonic()
        sock = client.socket()
        if sock is None:
            raise ConnectionLost("closed")
        room = self._handler.has_room()
        pending = room and (client.has_read_ahead or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0))
        to_read, to_write = self._wait(sock, room, client.want_write(), 0 if pending else wait_s)
        codes = [client.loop_misc()]
        if to_read or pending:
            codes.append(client.loop_read())
            for _ in range(PACKETS_A_TURN):
                if not (client.has_read_ahead and self._handler.has_room()):
                    break
                codes.append(client.loop_read())
        if to_write:
            codes.append(client.loop_write())
        for code in codes:
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise ConnectionLost(paho.error_string(code))

    def _wait(self, sock: "paho.SocketLike", reads: bool, writes: bool, wait_s: float) -> tuple[bool, bool]:
        """Waits for what is wanted of the network, or a wake: whether there is something to read, and room to write.

        Not by `select`, which takes no descriptor from 1,024 on.
        """
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if wanted := (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0):
            poll.register(sock, wanted)
        found = dict(poll.poll(wait_s * 1000))
        if self._wake_in.fileno() in found:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        events = found.get(sock.fileno(), 0)  # an error or a hang-up counts as both: reading or writing tells which
        return reads and bool(events & ~select.POLLOUT), writes and bool(events & ~select.POLLIN)


def _refuse_to_be_deaf(reasons: list[ReasonCode]) -> None:
    """Raises SubscriptionRefused."""
    for reason in reasons:
        if reason.is_failure:
            raise SubscriptionRefused(f"subscription refused: {reason.getName()}")


def _reason_of(error: Exception) -> str:
    ours = ConnectionLost | SecretError | SubscriptionRefused
    return str(error) if isinstance(error, ours) else f"{type(error).__name__}: {error}"
