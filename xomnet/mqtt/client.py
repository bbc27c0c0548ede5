"""One paho client: made from the settings, connected, and disconnected so that the broker does not send the will."""

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from xomnet.mqtt.broker import Broker
from xomnet.runtime.secrets import check_private, read_secret

CONNECT_TIMEOUT_S = 10.0
SESSION_EXPIRY_S = 7 * 86_400


READ_AHEAD = 262_144
PUBLISH, PUBACK = 0x30, 0x40

OnPublish = Callable[[str, bytes, int], None]
"""Topic, payload and packet id (0 of QoS 0) of a message that came in."""


class Client(paho.Client):
    """Reads ahead. paho asks the system for a packet's first byte, then for each byte of its length, then for the rest.
    This client asks once for whatever is there, and serves paho from memory.

    With `on_publish_in` and PUBACKs by hand, messages that are in memory as a whole do not pass through paho, and
    PUBACKs go out together. paho needs some 100 us for a message; without it a flood of one client would hold up the
    others' messages.
    """

    on_publish_in: OnPublish | None = None
    _read_ahead = b""
    _consumed = 0
    _pubacks = b""

    @property
    def has_read_ahead(self) -> bool:
        """True if something is in memory that `loop_read` has not seen: the socket does not report it again."""
        return self._consumed < len(self._read_ahead)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        if self._manual_ack and self.on_publish_in is not None and self._in_packet["command"] == 0:
            found = parse_publish(self._read_ahead, self._consumed, self._protocol == paho.MQTTv5)
            if found is not None:
                self._consumed = found.end
                self.on_publish_in(found.topic, found.payload, found.mid)
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super().loop_read(max_packets)

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """Goes out when `want_write` is asked next."""
        self._pubacks += struct.pack(">BBH", PUBACK, 2, mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def want_write(self) -> bool:
        if self._pubacks:
            pubacks, self._pubacks = self._pubacks, b""
            self._packet_queue(PUBACK, pubacks, 0, 0)
        return super().want_write()

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_read_ahead:
            self._read_ahead, self._consumed = super()._sock_recv(READ_AHEAD), 0
        data = self._read_ahead[self._consumed : self._consumed + bufsize]
        self._consumed += len(data)
        return data


class Publish(NamedTuple):
    topic: str
    payload: bytes
    mid: int
    end: int


def parse_publish(data: bytes, at: int, version5: bool) -> Publish | None:
    """The PUBLISH packet of QoS 0 or 1 that begins at `at`; None if there is another packet, or not all of it."""
    try:
        if data[at] & 0xF4 != PUBLISH:
            return None
        length, body = _varint(data, at + 1)
        end, topic_at = body + length, body + 2
        after = topic_at + (data[body] << 8 | data[body + 1])
        topic, mid = data[topic_at:after].decode(), 0
        if data[at] & 0x02:
            mid, after = data[after] << 8 | data[after + 1], after + 2
        if version5:
            properties, after = _varint(data, after)
            after += properties
    except (IndexError, UnicodeDecodeError):
        return None
    if end > len(data) or after > end:
        return None
    return Publish(topic, data[after:end], mid, end)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to four bytes, and where it ends. Raises IndexError where it doesn't."""
    number = shift = 0
    while True:
        byte, at = data[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        if shift == 21:
            raise IndexError
        shift += 7


class Will(Struct, frozen=True):
    topic: str
    payload: bytes


def new_client(broker: Broker, client_id: str, will: Will | None, persistent: bool, manual_ack: bool) -> Client:
    """A client that is not yet connected. Raises SecretError if a secret is missing or open to others."""
    version5 = broker.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if version5 else paho.MQTTv311,
        clean_session=None if version5 else not persistent,
        manual_ack=manual_ack,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(1000)
    if broker.username is not None:
        secret = broker.password_file
        client.username_pw_set(broker.username, None if secret is None else read_secret(secret))
    if (tls := broker.tls) is not None:
        if tls.key is not None:
            check_private(tls.key)
        client.tls_set(
            ca_certs=str(tls.ca),
            certfile=None if tls.cert is None else str(tls.cert),
            keyfile=None if tls.key is None else str(tls.key),
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    return client


def connect(client: paho.Client, broker: Broker, persistent: bool, receive_maximum: int) -> None:
    """Asks for a connection; the broker's answer comes later. Raises OSError."""
    if broker.protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = receive_maximum
        if persistent:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
        client.connect(
            broker.host,
            broker.port,
            broker.keepalive_s,
            clean_start=not persistent,
            properties=properties,
        )
    else:
        client.connect(broker.host, broker.port, broker.keepalive_s)


def disconnect(client: paho.Client, wait_s: float) -> None:
    """Sends DISCONNECT and closes when the broker has closed, or after `wait_s`.

    paho closes as soon as its DISCONNECT is written. If a message has not been read, that resets the connection; the
    broker, which may not have read the DISCONNECT, then sends the will. A second descriptor keeps the connection open.
    """
    second = None
    with contextlib.suppress(OSError):
        if wait_s > 0 and (sock := client.socket()) is not None:
            second = socket.socket(fileno=os.dup(sock.fileno()))
    client.want_write()  # PUBACKs before DISCONNECT
    client.disconnect()
    client.loop_write()
    if (sock := client.socket()) is not None:
        sock.close()  # type: ignore[no-untyped-call, unused-ignore]
    if second is not None:
        with second, contextlib.suppress(OSError):
            second.settimeout(wait_s)
            second.shutdown(socket.SHUT_WR)
            until = time.monotonic() + wait_s
            while time.monotonic() < until and second.recv(65_536):
                pass
