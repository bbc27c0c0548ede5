"""Revoking a unit, with what the deployment puts on the server: Mosquitto's settings, rules, and what carries them."""

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.pki.authority import Authority
from collector.pki.broker_access import connected, reconcile
from collector.pki.broker_roles import document
from tests.support.deployment import made, until
from tests.support.role_broker import Mqtt, RoleBroker, RoleClient, issue, now
from tests.support.services import Process
from xomnet.mqtt.broker import Broker, Tls
from xomnet.mqtt.link import Connection, Handler, Link, Message

pytestmark = pytest.mark.date

THIEF, OTHER = "nd-haihau-0012", "nd-giaothuy-0002"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "ca", now())


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[RoleBroker]:
    one = RoleBroker(made(tmp_path, "broker"), authority)
    for name in (THIEF, OTHER):
        issue(authority, one.folder, name, "unit")
    with one:
        yield one


def test_a_revoked_unit_is_silenced_at_once_and_others_keep_their_connections(broker: RoleBroker) -> None:
    thief, other = RoleClient(broker, THIEF), RoleClient(broker, OTHER)
    try:
        assert thief.publish(f"xomnet/v1/{THIEF}/up") == "No matching subscribers"
        broker.revoke(THIEF)
        until(lambda: not thief.connected, "the thief's connection ends", 5)
        assert other.publish(f"xomnet/v1/{OTHER}/up") == "No matching subscribers"
        with pytest.raises((ssl.SSLError, OSError)):
            _handshake(broker, THIEF)
        assert _handshake(broker, OTHER)
        broker.publish_revocations()  # nothing new: the broker is left alone
        assert broker.output().count("Reloading config") == 1
        assert (thief.connections, other.connections) == (1, 1)
    finally:
        thief.close()
        other.close()


def test_what_the_broker_stores_of_a_revoked_unit_ends_also_over_a_restart(broker: RoleBroker) -> None:
    for name in (THIEF, OTHER):
        with Mqtt(broker, name, expiry_s=1_000_000, clean_start=False) as unit:
            assert unit.subscribe([f"xomnet/v1/{name}/ack"]) == [1]
    broker.restart()  # the broker has it on its disk
    assert (broker.stores_session(THIEF), broker.stores_session(OTHER)) == (True, True)
    broker.revoke(THIEF)
    assert (broker.stores_session(THIEF), broker.stores_session(OTHER)) == (False, True)
    broker.restart()
    assert (broker.stores_session(THIEF), broker.stores_session(OTHER)) == (False, True)


def test_a_revocation_while_the_broker_is_away_holds_when_it_is_back(broker: RoleBroker) -> None:
    with Mqtt(broker, THIEF, expiry_s=1_000_000, clean_start=False) as unit:
        assert unit.subscribe([f"xomnet/v1/{THIEF}/ack"]) == [1]
    broker.stop()
    broker.revoke(THIEF)
    broker.start()
    assert not broker.stores_session(THIEF)
    with pytest.raises((ssl.SSLError, OSError)):
        _handshake(broker, THIEF)


def test_a_successor_is_let_in_and_a_thief_who_is_still_connected_is_not(broker: RoleBroker) -> None:
    thief = RoleClient(broker, THIEF)
    try:
        broker.revoke(THIEF)
        until(lambda: not thief.connected, "the thief's connection ends", 5)
        issue(broker.authority, broker.folder, THIEF, "unit")
        broker.publish_revocations()
        with Mqtt(broker, THIEF) as successor:
            assert successor.subscribe([f"xomnet/v1/{THIEF}/ack", f"xomnet/v1/{THIEF}/cmd"]) == [1, 1]
        assert (thief.connections, thief.connected) == (1, False)
    finally:
        thief.close()


def test_a_unit_that_comes_before_its_role_is_sent_away_to_come_again(broker: RoleBroker) -> None:
    issue(broker.authority, broker.folder, "nd-new", "unit")
    unit = RoleClient(broker, "nd-new", ("xomnet/v1/nd-new/ack",))
    try:
        assert unit.granted == ["Not authorized"]
        assert unit.publish("xomnet/v1/nd-new/up") == "Not authorized"
        broker.publish_revocations()
        until(lambda: unit.granted == ["Not authorized", "Granted QoS 1"], "a subscription", 10)
        assert unit.publish("xomnet/v1/nd-new/up") == "No matching subscribers"
    finally:
        unit.close()


def test_a_link_that_is_refused_its_subscription_says_so_and_tries_again(broker: RoleBroker) -> None:
    issue(broker.authority, broker.folder, "nd-new", "unit")
    heard, connections = list[bytes](), list[int]()

    class Listener(Handler):
        def on_connected(self, connection: Connection) -> None:
            connections.append(connection.generation)

        def on_message(self, connection: Connection, message: Message) -> None:
            heard.append(message.payload)

        def on_taken_over(self) -> None:
            raise AssertionError

    folder = broker.folder
    tls = Tls(ca=folder / "ca.crt", cert=folder / "nd-new.crt", key=folder / "nd-new.key")
    where = Broker(host="localhost", port=broker.port, tls=tls)
    link = Link(where, "nd-new", Listener(), ("xomnet/v1/nd-new/ack",))
    link.start()
    try:
        until(lambda: len(connections) > 2, "it comes again", 20)
        until(lambda: link.disconnect_reason == "subscription refused: Not authorized", "it says why", 20)
        issue(broker.authority, broker.folder, "collector", "collector")
        broker.publish_revocations()
        collector = RoleClient(broker, "collector")
        until(lambda: collector.publish("xomnet/v1/nd-new/ack") == "Success" and heard, "it hears", 40)
        collector.close()
    finally:
        link.stop()


def test_thousands_of_units_fit(broker: RoleBroker) -> None:
    names = {THIEF, OTHER} | {f"nd-{number}" for number in range(3000)}
    password = (broker.folder / "administrator").read_text()
    with connected(broker.folder / "control.sock", password) as control:
        reconcile(control, set(sorted(names)[:200]))
        assert len(control.names()) == 200
    broker.stop()
    (broker.folder / "roles.json").write_text(json.dumps(document(names, password)))
    Process.start(broker)
    with connected(broker.folder / "control.sock", password) as control:
        assert control.names() == names


def test_a_unit_speaks_only_as_itself(broker: RoleBroker) -> None:
    unit = RoleClient(broker, OTHER)
    try:
        assert unit.publish(f"xomnet/v1/{THIEF}/up") == "Not authorized"
        assert unit.publish(f"xomnet/v1/{OTHER}/ack") == "Not authorized"
        assert unit.publish("xomnet/v1/collector/up") == "Not authorized"
    finally:
        unit.close()


def test_a_list_that_is_not_the_authoritys_changes_nothing(tmp_path: Path, broker: RoleBroker) -> None:
    before = (broker.folder / "ca.crl").read_bytes()
    other = Authority.make(tmp_path / "other", now())
    (broker.authority.folder / "ca.crl").write_bytes((other.folder / "ca.crl").read_bytes())
    with pytest.raises(AssertionError):
        broker.publish_revocations()
    assert (broker.folder / "ca.crl").read_bytes() == before
    broker.send(signal.SIGHUP)
    assert _handshake(broker, OTHER)


def _handshake(broker: RoleBroker, name: str) -> bool:
    """True where the broker takes the certificate: by TLS 1.2, whose handshake ends with the broker's word on it."""
    trust = broker.tls(name)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("localhost", broker.port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.version() == "TLSv1.2"
