"""Mosquitto with what the deployment puts on the server: its settings, its roles, and what carries revocations."""

import datetime as dt
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
import paho.mqtt.client as mqtt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paho.mqtt.enums import CallbackAPIVersion

from collector.pki.authority import Authority
from collector.pki.broker_access import connected
from collector.pki.broker_roles import ADMINISTRATOR
from collector.pki.ledger import Kind
from tests.support.deployment import made, until
from tests.support.mqtt_packets import variable_byte_integer
from tests.support.services import Process, free_port, program
from tests.unit.test_authority import csr, key

REPOSITORY = Path(__file__).parents[2]
ROLE = REPOSITORY / "deploy/ansible/roles/mosquitto"
THIEF, OTHER = "nd-haihau-0012", "nd-giaothuy-0002"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def issue(authority: Authority, folder: Path, name: str, kind: Kind) -> None:
    mine: ec.EllipticCurvePrivateKey = key()
    (folder / f"{name}.crt").write_text(authority.sign(csr(name, of=mine), name, kind, now()).pem)
    (folder / f"{name}.key").write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / f"{name}.key").chmod(0o600)


class RoleBroker(Process):
    """Mosquitto with the settings of the role, `publish_revocations` before and after each start as its unit does."""

    def __init__(self, folder: Path, authority: Authority, **variables: Any) -> None:
        port = free_port()
        self.authority, self._tools = authority, folder / "tools"
        self._tools.mkdir()
        defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
        template = jinja2.Template((ROLE / "templates/mosquitto.conf").read_text(), undefined=jinja2.StrictUndefined)
        text = template.render(
            **{**defaults, "mosquitto_plugin": plugin(), **variables},
            ansible_managed="",
            xomnet_broker_port=f"{port} 127.0.0.1",
        )
        issue(authority, folder, "localhost", "server")
        for old, new in (
            ("broker.crt", "localhost.crt"),
            ("broker.key", "localhost.key"),
            ("/etc/mosquitto/xomnet", str(folder)),
            ("/run/mosquitto", str(folder)),
        ):
            text = text.replace(old, new)
        pid = folder / "mosquitto.pid"
        main = f"user root\npersistence true\npersistence_location {folder}/\npid_file {pid}\n"
        alive = f'pid=$(cat {pid}) && kill -0 "$pid" || exit 3'
        for name, does in (
            ("runuser", 'shift 3; exec "$@"'),
            ("systemctl", f'{alive}\n[ "$1" = is-active ] || kill -HUP "$pid"'),
        ):
            (self._tools / name).write_text(f"#!/bin/sh\n{does}\n")
            (self._tools / name).chmod(0o755)
        (folder / "mosquitto.conf").write_text(main + text)
        (folder / "ca.crt").write_text(authority.pem)
        super().__init__(folder, [program("mosquitto"), "-c", "mosquitto.conf"], port)

    def start(self) -> "RoleBroker":
        self.publish_revocations()
        super().start()
        self.publish_revocations()
        return self

    def publish_revocations(self) -> None:
        """The role's own script, with this test's folders, and without the users and services of a server."""
        text = (ROLE / "files/publish-revocations").read_text()
        access = f"{sys.executable} -m collector.pki.broker_access --roles {self.folder}/roles.json"
        access += f" --password {self.folder}/administrator --socket {self.folder}/control.sock"
        for place, here in (
            ("$program/xomnet", f"{sys.executable} -c 'from xomnet_cli import main; main()'"),
            ("$program/python -m collector.pki.broker_access", access),
            ("/etc/mosquitto/xomnet", self.folder),
            ("/var/lib/xomnet-ca", self.authority.folder),
            ("/etc/xomnet/pki/ca.crt", self.folder / "ca.crt"),
            ("/run/xomnet-revocations", self._tools / "work"),
            ('-o "$2" -g root ', ""),
        ):
            assert place in text
            text = text.replace(place, str(here))
        environment = {
            **os.environ,
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
        }
        done = subprocess.run(
            ["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    @property
    def password(self) -> str:
        """The administrator's."""
        return (self.folder / "administrator").read_text()

    def names(self) -> set[str]:
        """Whom the broker lets in."""
        with connected(self.folder / "control.sock", self.password) as control:
            return control.names()

    def revoke(self, name: str) -> None:
        self.authority.revoke(name, now())
        self.publish_revocations()

    def stores_session(self, name: str) -> bool:
        """True where the broker has a session of this client id; asked as the administrator, who leaves it there."""
        with Mqtt(self, name, expiry_s=1_000_000, clean_start=False, administrator=True) as session:
            return session.present

    @property
    def resident_mb(self) -> float:
        """What the process holds in memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def tls(self, name: str) -> ssl.SSLContext:
        trust = ssl.create_default_context(cafile=self.folder / "ca.crt")
        trust.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return trust


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RoleBroker]:
    """With certificates for two units, THIEF and OTHER."""
    one = RoleBroker(made(tmp_path, "broker"), Authority.make(tmp_path / "ca", now()))
    for name in (THIEF, OTHER):
        issue(one.authority, one.folder, name, "unit")
    with one:
        yield one


def plugin() -> Path:
    """The plugin that comes with Mosquitto."""
    (found,) = Path("/usr/lib").glob("*-linux-gnu/mosquitto_dynamic_security.so")
    return found


def handshake(broker: RoleBroker, name: str) -> bool:
    """True where the broker takes the certificate: by TLS 1.2, whose handshake ends with the broker's word on it."""
    trust = broker.tls(name)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("localhost", broker.port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.version() == "TLSv1.2"


class RoleClient:
    """A client that is connected, and what the broker says to what it publishes and what it hears."""

    def __init__(self, broker: RoleBroker, name: str, subscriptions: tuple[str, ...] = ()) -> None:
        self.name, self.said, self.connections = name, list[str](), 0
        self.heard: list[tuple[str, bytes]] = []
        self.granted: list[str] = []
        self._subscriptions = subscriptions
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set_context(broker.tls(name))
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _client, _data, message: self._on_message(message)
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        until(lambda: self.connections, f"a connection of {name}", 10)
        until(lambda: len(self.granted) >= len(subscriptions), f"subscriptions of {name}", 10)

    def _on_connect(self, *_: Any) -> None:
        self.connections += 1
        if self._subscriptions:
            self._client.subscribe([(one, 1) for one in self._subscriptions])

    def _on_message(self, message: mqtt.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def _on_publish(self, _client: Any, _data: Any, _id: int, reason: Any, _properties: Any) -> None:
        self.said.append(str(reason))

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, reasons: Any, _properties: Any) -> None:
        self.granted += [str(one) for one in reasons]

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def send(self, topic: str, payload: bytes = b"x") -> None:
        self._client.publish(topic, payload, qos=1)

    def publish(self, topic: str, payload: bytes = b"x") -> str:
        """The broker's answer."""
        before = len(self.said)
        self.send(topic, payload)
        until(lambda: len(self.said) > before, f"an answer to {self.name}", 10)
        return self.said[-1]

    def round_trip_s(self, collector: "RoleClient") -> float:
        """A result to the collector, and its answer back."""
        begun, before = time.monotonic(), len(self.heard)
        expected = len(collector.heard) + 1
        self.send(f"xomnet/v1/{self.name}/up")
        until(lambda: len(collector.heard) >= expected, "a result at the collector", 20)
        collector.send(f"xomnet/v1/{self.name}/ack")
        until(lambda: len(self.heard) > before, "an answer at the unit", 20)
        return time.monotonic() - begun

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Mqtt:
    """MQTT 5 by hand, for what no library sends. The administrator comes by the broker's own socket."""

    def __init__(
        self,
        broker: RoleBroker,
        name: str,
        expiry_s: int = 0,
        clean_start: bool = True,
        administrator: bool = False,
        extra: bytes = b"",
    ) -> None:
        self._socket: socket.socket
        if administrator:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(broker.folder / "control.sock"))
        else:
            plain = socket.create_connection(("localhost", broker.port), timeout=30)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = broker.tls(name).wrap_socket(plain, server_hostname="localhost")
        self._socket.settimeout(30)
        self._received = b""
        flags = 0x02 * clean_start | 0xC0 * administrator
        properties = b"\x11" + expiry_s.to_bytes(4, "big") + extra
        body = (
            text("MQTT")
            + bytes([5, flags])
            + b"\x0e\x10"
            + variable_byte_integer(len(properties))
            + properties
            + text(name)
        )
        if administrator:
            body += text(ADMINISTRATOR) + text(broker.password)
        self.write(0x10, body)
        kind, answer = self.read()
        assert (kind, answer[1]) == (0x20, 0), answer
        self.present = answer[0] == 1

    def write(self, kind: int, body: bytes) -> None:
        self.send(packet(kind, body))

    def send(self, packets: bytes) -> None:
        self._socket.sendall(packets)

    def read(self) -> tuple[int, bytes]:
        """The next packet. Raises ConnectionError where the broker ends the connection, TimeoutError."""
        size = position = 0
        self._receive(2)
        while True:
            position += 1
            self._receive(position + 1)
            size |= (self._received[position] & 0x7F) << 7 * (position - 1)
            if self._received[position] < 0x80:
                break
        end = position + 1 + size
        self._receive(end)
        found, self._received = self._received[:end], self._received[end:]
        return found[0], found[position + 1 :]

    def _receive(self, count: int) -> None:
        while len(self._received) < count:
            if not (more := self._socket.recv(65_536)):
                raise ConnectionError("the broker has ended the connection")
            self._received += more

    def subscribe(self, filters: Iterable[str], packet_id: int = 1) -> list[int]:
        """The broker's reason codes."""
        self.write(0x82, subscription(filters, packet_id))
        kind, answer = self.read()
        assert kind == 0x90, kind
        assert int.from_bytes(answer[:2], "big") == packet_id
        return [*answer[3:]]

    def close(self) -> None:
        with suppress(OSError):
            self.write(0xE0, b"")
        self._socket.close()

    def __enter__(self) -> "Mqtt":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + variable_byte_integer(len(body)) + body


def subscription(filters: Iterable[str], packet_id: int = 1) -> bytes:
    """The body of a SUBSCRIBE."""
    return packet_id.to_bytes(2, "big") + b"\x00" + b"".join(text(one) + b"\x01" for one in filters)


def text(content: str) -> bytes:
    encoded = content.encode()
    return len(encoded).to_bytes(2, "big") + encoded
