"""Revoking a unit, with what the deployment puts on the server: Mosquitto's settings, roles, and what carries them."""

import signal
import ssl
from pathlib import Path

import pytest

from collector.pki.authority import Authority
from tests.support.deployment import until
from tests.support.role_broker import OTHER, THIEF, RoleBroker, RoleClient, broker, handshake, now

__all__ = ["broker"]  # a fixture

pytestmark = pytest.mark.date


def test_a_revoked_unit_is_silenced_at_once_and_others_keep_their_connections(broker: RoleBroker) -> None:
    thief, other = RoleClient(broker, THIEF), RoleClient(broker, OTHER)
    try:
        assert thief.publish(f"xomnet/v1/{THIEF}/up") == "No matching subscribers"
        broker.revoke(THIEF)
        until(lambda: not thief.connected, "the thief's connection ends", 5)
        assert other.publish(f"xomnet/v1/{OTHER}/up") == "No matching subscribers"
        with pytest.raises((ssl.SSLError, OSError)):
            handshake(broker, THIEF)
        assert handshake(broker, OTHER)
        broker.publish_revocations()  # nothing new: the broker is left alone
        assert broker.output(50_000).count("Reloading config") == 1
        assert (thief.connections, other.connections) == (1, 1)
    finally:
        thief.close()
        other.close()


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
    assert handshake(broker, OTHER)
