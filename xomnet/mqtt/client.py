"""One paho client: made from the settings, connected, and ended so that the broker hears the goodbye."""

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
    """paho asks the system for a packet's first byte, then for each byte of its length, then for the rest. This client
    asks once for whatever is there, and gives it out from memory: a fifth of what a result costs the collector.
    """

    _ahead = b""
    _given = 0

    @property
    def has_read_ahead(self) -> bool:
        """True where something is in memory that `loop_read` has not seen: the socket won't tell of it again."""
        return self._given < len(self._ahead)

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_read_ahead:
            self._ahead, self._given = super()._sock_recv(READ_AHEAD), 0
        data = self._ahead[self._given : self._given + bufsize]
        self._given += len(data)
        return data


class Will(Struct, frozen=True):
    topic: str
    payload: bytes


def new_client(broker: Broker, client_id: str, will: Will | None, persistent: bool, manual_ack: bool) -> Client:
    """Not yet connected. Raises SecretError where a secret is missing or open to others."""
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


def leave(client: paho.Client, wait_s: float) -> None:
    """Says goodbye and closes, when the broker has, or after `wait_s`.

    paho closes as soon as its DISCONNECT is written. With a message not yet read that resets the connection, and the
    broker, which may not have read the goodbye either, sends the will. A second descriptor keeps it open.
    """
    held = None
    with contextlib.suppress(OSError):
        if wait_s > 0 and (sock := client.socket()) is not None:
            held = socket.socket(fileno=os.dup(sock.fileno()))
    client.disconnect()
    client.loop_write()
    if (sock := client.socket()) is not None:
        sock.close()  # type: ignore[no-untyped-call, unused-ignore]
    if held is not None:
        with held, contextlib.suppress(OSError):
            held.settimeout(wait_s)
            held.shutdown(socket.SHUT_WR)
            until = time.monotonic() + wait_s
            while time.monotonic() < until and held.recv(65_536):
                pass
