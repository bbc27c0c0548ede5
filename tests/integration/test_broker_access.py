"""Who is let into the deployed broker as the authority signs and revokes, and what the broker stores of whom."""

import json
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from collector.pki.broker_access import connected, reconcile
from collector.pki.broker_roles import document
from tests.support.deployment import until
from tests.support.role_broker import OTHER, THIEF, Mqtt, RoleBroker, RoleClient, broker, handshake, issue, now
from tests.support.services import Process
from xomnet.mqtt.broker import Broker, Tls
from xomnet.mqtt.link import Connection, Handler, Link, Message

__all__ = ["broker"]  # a fixture


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
        handshake(broker, THIEF)


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
    names = {THIEF, OTHER} | {f"nd-{number:029}" for number in range(3000)}
    with connected(broker.folder / "control.sock", broker.password) as control:
        reconcile(control, set(sorted(names)[:200]))
        assert len(control.names()) == 200
    broker.stop()
    (broker.folder / "roles.json").write_text(json.dumps(document(names, broker.password)))
    Process.start(broker)
    assert broker.names() == names


def test_two_that_carry_revocations_at_once_do_not_meet(broker: RoleBroker) -> None:
    broker.authority.revoke(THIEF, now())
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(broker.publish_revocations) for _ in range(3)]:
            done.result()
    assert broker.names() == {OTHER}
