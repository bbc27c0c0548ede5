"""The services of the tests are what they claim to be: a test against a lenient broker would prove nothing."""

import ssl
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.support.services import Authority, Identity, Influx, InfluxV2, MissingProgram, Mosquitto

WAIT_S = 10.0


class Client:
    """A v5 client that notes what it receives and how each publish was answered."""

    def __init__(self, broker: Mosquitto, client_id: str, identity: Identity | None = None) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.answers: list[ReasonCode] = []
        self._connected, self._answered, self._subscribed = (threading.Event() for _ in range(3))
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        self._mqtt.on_connect = lambda *_: self._connected.set()
        self._mqtt.on_message = lambda _c, _u, message: self.received.append((message.topic, bytes(message.payload)))
        self._mqtt.on_subscribe = lambda *_: self._subscribed.set()
        self._mqtt.on_publish = self._on_publish
        if identity:
            self._mqtt.tls_set(str(identity.ca), str(identity.certificate), str(identity.key))
        self._mqtt.connect("127.0.0.1", broker.port)
        self._mqtt.loop_start()
        assert self._connected.wait(WAIT_S)

    def _on_publish(
        self, _client: mqtt.Client, _userdata: object, _mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self.answers.append(reason)
        self._answered.set()

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self._mqtt.subscribe(topic, 1)
        assert self._subscribed.wait(WAIT_S)

    def publish(self, topic: str, payload: bytes = b"{}", retain: bool = False) -> bool:
        """True where the broker let it through."""
        self._answered.clear()
        self._mqtt.publish(topic, payload, 1, retain)
        assert self._answered.wait(WAIT_S)
        return not self.answers[-1].is_failure

    def waits_for(self, count: int) -> list[tuple[str, bytes]]:
        deadline = time.monotonic() + WAIT_S
        while len(self.received) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.received

    def end(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


def test_a_killed_broker_comes_back_on_the_same_port(mosquitto: Mosquitto) -> None:
    mosquitto.kill()
    assert not mosquitto.running
    mosquitto.start()
    client = Client(mosquitto, "anyone")
    assert client.publish("any/topic")
    client.end()


def test_an_agent_writes_its_own_topics_and_no_others(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    agent = Client(mosquitto_tls, "nd-a-1", authority.issue("nd-a-1"))
    allowed = {channel: agent.publish(f"xomnet/v1/nd-a-1/{channel}") for channel in ("up", "state", "reply")}
    own_forbidden = {channel: agent.publish(f"xomnet/v1/nd-a-1/{channel}") for channel in ("ack", "cmd")}
    foreign = {channel: agent.publish(f"xomnet/v1/nd-a-2/{channel}") for channel in ("up", "state", "ack", "cmd")}
    agent.end()
    assert all(allowed.values())
    assert not any(own_forbidden.values())
    assert not any(foreign.values())


def test_an_agent_hears_only_what_is_said_to_it(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    agent = Client(mosquitto_tls, "nd-a-1", authority.issue("nd-a-1"))
    agent.subscribe("#")
    collector = Client(mosquitto_tls, "collector", authority.issue("collector"))
    assert collector.publish("xomnet/v1/nd-a-2/ack", b"another's")
    assert collector.publish("xomnet/v1/nd-a-1/ack", b"its own")
    assert agent.waits_for(1) == [("xomnet/v1/nd-a-1/ack", b"its own")]
    collector.end()
    agent.end()


def test_the_collector_hears_every_agent(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    collector = Client(mosquitto_tls, "collector", authority.issue("collector"))
    for channel in ("up", "state", "reply"):
        collector.subscribe(f"xomnet/v1/+/{channel}")
    agent = Client(mosquitto_tls, "nd-a-1", authority.issue("nd-a-1"))
    for channel in ("up", "state", "reply"):
        agent.publish(f"xomnet/v1/nd-a-1/{channel}", retain=channel == "state")
    assert sorted(topic for topic, _ in collector.waits_for(3)) == [
        f"xomnet/v1/nd-a-1/{channel}" for channel in ("reply", "state", "up")
    ]
    agent.end()
    collector.end()


def test_a_certificate_speaks_only_under_its_own_name(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    thief = Client(mosquitto_tls, "nd-a-2", authority.issue("nd-a-1"))
    assert thief.publish("xomnet/v1/nd-a-1/up")
    assert not thief.publish("xomnet/v1/nd-a-2/up")
    thief.end()


def test_without_a_certificate_nobody_comes_in(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    stranger = mqtt.Client(CallbackAPIVersion.VERSION2, "stranger", protocol=mqtt.MQTTv5)
    stranger.tls_set(str(authority.certificate))
    with pytest.raises((ssl.SSLError, ConnectionError)):  # noqa: PT012  # TLS 1.3 says so only at the first read
        stranger.connect("127.0.0.1", mosquitto_tls.port)
        while stranger.loop(1.0) == mqtt.MQTT_ERR_SUCCESS:
            pass
        raise ConnectionError("the broker hung up")


def test_with_persistence_a_retained_state_survives_a_restart(mosquitto_tls: Mosquitto, authority: Authority) -> None:
    agent = Client(mosquitto_tls, "nd-a-1", authority.issue("nd-a-1"))
    agent.publish("xomnet/v1/nd-a-1/state", b"kept", retain=True)
    agent.end()
    mosquitto_tls.restart()
    collector = Client(mosquitto_tls, "collector", authority.issue("collector"))
    collector.subscribe("xomnet/v1/+/state")
    assert collector.waits_for(1) == [("xomnet/v1/nd-a-1/state", b"kept")]
    collector.end()


def test_influxdb_keeps_what_it_confirmed_when_killed(own_influx_v2: InfluxV2) -> None:
    own_influx_v2.create("kept")
    own_influx_v2.write("kept", "m v=1 1700000000000000000")
    own_influx_v2.kill()
    own_influx_v2.start()
    assert "1700000000000000000" in own_influx_v2.query("SELECT v FROM m", "kept")


def test_the_official_client_writes_through_the_front(influx_v2: InfluxV2, influx: Influx) -> None:
    influx_v2.create("client")
    client = InfluxDBClient(influx_v2.url, "any", org="-")
    client.write_api(SYNCHRONOUS).write("client", record="m v=2 1700000000000000123")
    client.close()  # type: ignore[no-untyped-call]
    assert "[1700000000000000123,2]" in influx_v2.query("SELECT v FROM m", "client")
    assert influx.port != influx_v2.port


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.support.services.shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingProgram, match="run `make system`"):
        Mosquitto(tmp_path)
