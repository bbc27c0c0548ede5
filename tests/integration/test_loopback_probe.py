"""The collector and a broker that lets it connect and no more: it finds out, says so, and comes back."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.commands.commands import Commands
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import Intake
from collector.metrics import Metrics
from collector.store.sqlite import SqliteStore
from tests.support.deployment import Collector, made, plain, secured, until
from tests.support.services import Authority, Mosquitto
from tests.support.stored import registry
from xomnet.mqtt.broker import Broker, Tls
from xomnet.runtime.clock import utc_now

ROW = "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01"


def test_a_certificate_of_another_name_is_found_out(
    tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority
) -> None:
    broker = secured(mosquitto_tls, authority, "server")
    with Collector(made(tmp_path, "collector"), broker, [ROW]) as collector:
        until(lambda: collector.metric("xomnet_broker_connected") == 1, "it is connected")
        until(lambda: "refused" in collector.health()["broker"], "it is refused")
        said = collector.health()
        assert said["status"] == "failing"
        assert said["broker"].startswith("our own message was refused (Not authorized)")
        assert "is the certificate's name `collector`" in said["broker"]
        assert collector.metric("xomnet_broker_answers") == 0


def test_with_its_own_name_the_rules_of_the_guide_are_enough(
    tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority
) -> None:
    broker = secured(mosquitto_tls, authority, "collector")
    with Collector(made(tmp_path, "collector"), broker, [ROW]) as collector:
        until(lambda: collector.health()["broker"] == "ok", "it hears itself")
        assert collector.metric("xomnet_broker_answers") == 1
        assert collector.metric("xomnet_results_received_total") == 0
        assert collector.get("/api/v1/rejected")["rejected"] == []


@pytest.fixture
def intake(tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority) -> Iterator[Intake]:
    """A collector that speaks to itself every 0.2 s."""
    store = SqliteStore(tmp_path / "store.db")
    identity = authority.issue("collector")
    tls = Tls(ca=identity.ca, cert=identity.certificate, key=identity.key)
    broker = Broker(host="localhost", port=mosquitto_tls.port, tls=tls)
    dead = DeadLetters(tmp_path / "dead.jsonl")
    commands = Commands(utc_now)
    one = Intake(broker, "collector", store, registry, dead, Metrics(), commands, utc_now, probe_s=0.2)
    one.start()
    yield one
    one.stop()
    store.close()


def test_a_right_that_is_taken_away_in_mid_session_is_noticed_and_so_is_its_return(
    intake: Intake, mosquitto_tls: Mosquitto
) -> None:
    until(lambda: intake.trouble() is None, "it hears itself")
    rules = mosquitto_tls.folder / "rules.acl"
    good = rules.read_text()
    rules.write_text(good.replace("topic read xomnet/v1/+/up\n", ""))
    mosquitto_tls.send(signal.SIGHUP)
    until(lambda: "no answer to our own message" in (intake.trouble() or ""), "it hears nothing")
    rules.write_text(good)
    mosquitto_tls.send(signal.SIGHUP)
    until(lambda: intake.trouble() is None, "it hears itself again")


def test_a_broker_away_is_not_connected(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [ROW]) as collector:
        until(lambda: collector.health()["broker"] == "ok", "it hears itself")
        mosquitto.kill()
        until(lambda: collector.health()["broker"] == "not connected", "it is noticed")
        mosquitto.start()
        until(lambda: collector.health()["broker"] == "ok", "it is back")
