"""One paho client: made from the settings, connected, and disconnected so that the broker does not send the will."""

import contextlib
import os
import socket
import ssl
import time

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from xomnet.mqtt.broker import Broker
from xomnet.runtime.secrets import check_private, read_secret

CONNECT_TIMEOUT_S = 10.0
SESSION_EXPIRY_S = 7 * 86_400


READ_AHEAD = 65_536


class Client(paho.Client):
    """Reads ahead. paho asks the system for a packet's first byte, then for each byte of its length, then for the rest.
    This client asks once for whatever is there, and serves paho from memory. It saves a fifth of what a result costs
    the collector.
    """

    _read_ahead = b""
    _consumed = 0

    @property
    def has_read_ahead(self) -> bool:
        """True if something is in memory that `loop_read` has not seen: the socket does not report it again."""
        return self._consumed < len(self._read_ahead)

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_read_ahead:
            self._read_ahead, self._consumed = super()._sock_recv(READ_AHEAD), 0
        data = self._read_ahead[self._consumed : self._consumed + bufsize]
        self._consumed += len(data)
        return data


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
