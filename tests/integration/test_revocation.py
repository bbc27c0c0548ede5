"""Revoking a unit, with what the deployment puts on the server: Mosquitto's settings, rules, and what carries them."""

import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import paho.mqtt.client as mqtt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paho.mqtt.enums import CallbackAPIVersion

from collector.pki.authority import Authority
from collector.pki.ledger import Kind
from tests.support.deployment import made, until
from tests.support.services import Process, free_port, program
from tests.unit.test_authority import csr, key

pytestmark = pytest.mark.date

ROLE = Path(__file__).parents[2] / "deploy/ansible/roles/mosquitto"
THIEF, OTHER = "nd-haihau-0012", "nd-giaothuy-0002"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def issue(authority: Authority, folder: Path, name: str, kind: Kind) -> None:
    mine = key()
    (folder / f"{name}.crt").write_text(authority.sign(csr(name, of=mine), name, kind, now()).pem)
    (folder / f"{name}.key").write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Broker(Process):
    """Mosquitto with the settings of the role."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        port = free_port()
        template = jinja2.Template((ROLE / "templates/mosquitto.conf").read_text(), undefined=jinja2.StrictUndefined)
        text = template.render(ansible_managed="", xomnet_broker_port=f"{port} 127.0.0.1")
        issue(authority, folder, "localhost", "server")
        for old, new in (("broker.crt", "localhost.crt"), ("broker.key", "localhost.key")):
            text = text.replace(old, new)
        (folder / "mosquitto.conf").write_text(f"user root\n{text.replace('/etc/mosquitto/xomnet', str(folder))}")
        (folder / "rules.base").write_text((ROLE / "files/rules.base").read_text())
        (folder / "ca.crt").write_text(authority.pem)
        super().__init__(folder, [program("mosquitto"), "-c", "mosquitto.conf"], port)


class Unit:
    """A unit that is connected, and what the broker says to what it publishes."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.name, self.said, self.connections = name, list[str](), 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        trust = ssl.create_default_context(cafile=broker.folder / "ca.crt")
        trust.load_cert_chain(broker.folder / f"{name}.crt", broker.folder / f"{name}.key")
        self._client.tls_set_context(trust)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def _on_connect(self, *_: Any) -> None:
        self.connections += 1

    def _on_publish(self, _client: Any, _data: Any, _id: int, reason: Any, _properties: Any) -> None:
        self.said.append(str(reason))

    def publish(self, topic: str) -> str:
        """The broker's answer."""
        before = len(self.said)
        self._client.publish(topic, "x", qos=1)
        until(lambda: len(self.said) > before, f"an answer to {self.name}", 10)
        return self.said[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "ca", now())


def publish_revocations(authority: Authority, broker: Broker, tools: Path) -> None:
    """The role's own script, with this test's folders, and without the users and services of a server."""
    text = (ROLE / "files/publish-revocations").read_text()
    for place, here in (
        ("/etc/mosquitto/xomnet", broker.folder),
        ("/var/lib/xomnet-ca", authority.folder),
        ("/etc/xomnet/pki/ca.crt", broker.folder / "ca.crt"),
        ("/run/xomnet-revocations", tools / "work"),
        ('-o "$3" -g root ', ""),
    ):
        assert place in text
        text = text.replace(place, str(here))
    tools.mkdir(exist_ok=True)
    for name, does in (
        ("runuser", 'shift 3; exec "$@"'),
        ("systemctl", f'[ "$1" = is-active ] || kill -HUP {broker.pid}' if broker.running else "exit 3"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    one = Broker(made(tmp_path, "broker"), authority)
    for name in (THIEF, OTHER):
        issue(authority, one.folder, name, "unit")
    for name in ("ca.crl", "rules.acl"):
        (one.folder / name).write_bytes(b"")
    publish_revocations(authority, one, tmp_path / "tools")
    with one:
        yield one


def test_a_revoked_unit_is_silenced_at_once_and_others_keep_their_connections(
    tmp_path: Path, authority: Authority, broker: Broker
) -> None:
    thief, other = Unit(broker, THIEF), Unit(broker, OTHER)
    try:
        assert thief.publish(f"xomnet/v1/{THIEF}/up") == "No matching subscribers"
        authority.revoke(THIEF, now())
        publish_revocations(authority, broker, tmp_path / "tools")
        until(lambda: thief.publish(f"xomnet/v1/{THIEF}/up") == "Not authorized", "the thief is denied", 5)
        assert other.publish(f"xomnet/v1/{OTHER}/up") == "No matching subscribers"
        assert (thief.connections, other.connections) == (1, 1)
        with pytest.raises((ssl.SSLError, OSError)):
            _handshake(broker, THIEF)
        assert _handshake(broker, OTHER)
        publish_revocations(authority, broker, tmp_path / "tools")  # nothing new: the broker is left alone
        assert broker.output().count("Reloading config") == 1
    finally:
        thief.close()
        other.close()


def test_a_unit_speaks_only_as_itself(broker: Broker) -> None:
    unit = Unit(broker, OTHER)
    try:
        assert unit.publish(f"xomnet/v1/{THIEF}/up") == "Not authorized"
        assert unit.publish(f"xomnet/v1/{OTHER}/ack") == "Not authorized"
        assert unit.publish("xomnet/v1/collector/up") == "Not authorized"
    finally:
        unit.close()


def test_a_list_that_is_not_the_authoritys_changes_nothing(
    tmp_path: Path, authority: Authority, broker: Broker
) -> None:
    before = (broker.folder / "ca.crl").read_bytes()
    (authority.folder / "ca.crl").write_bytes(
        (Authority.make(tmp_path / "other", now()).folder / "ca.crl").read_bytes()
    )
    with pytest.raises(AssertionError):
        publish_revocations(authority, broker, tmp_path / "tools")
    assert (broker.folder / "ca.crl").read_bytes() == before
    broker.send(signal.SIGHUP)
    assert _handshake(broker, OTHER)


def _handshake(broker: Broker, name: str) -> bool:
    """True where the broker takes the certificate: by TLS 1.2, whose handshake ends with the broker's word on it."""
    trust = ssl.create_default_context(cafile=broker.folder / "ca.crt")
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    trust.load_cert_chain(broker.folder / f"{name}.crt", broker.folder / f"{name}.key")
    with (
        socket.create_connection(("localhost", broker.port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.version() == "TLSv1.2"
