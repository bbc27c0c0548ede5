"""The link to the broker: logins, what it says when it is refused, and that nothing ends its thread."""

import logging
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.deployment import made, until
from tests.support.services import Authority, Mosquitto, free_port
from xomnet.mqtt import link as mqtt_link
from xomnet.mqtt.broker import Broker, Tls
from xomnet.mqtt.client import Client
from xomnet.mqtt.link import Connection, Handler, Link, Message
from xomnet.mqtt.takeover import TakeoverDetector


def say(link: Link, payload: bytes) -> None:
    def publish(connection: Connection) -> None:
        connection.publish("talk", payload)

    link.call(publish)


class Listener(Handler):
    """Counts connections, keeps messages; `fail` makes it break in the network thread."""

    def __init__(self) -> None:
        self.connections = self.takeovers = 0
        self.messages: list[Message] = []
        self.fail = False

    def on_connected(self, connection: Connection) -> None:
        self.connections += 1

    def on_taken_over(self) -> None:
        self.takeovers += 1

    def on_message(self, connection: Connection, message: Message) -> None:
        if self.fail:
            self.fail = False
            raise ValueError("a defect of ours")
        self.messages.append(message)
        connection.ack(message.mid)


@pytest.fixture
def link() -> Iterator[Callable[..., tuple[Link, Listener]]]:
    links: list[Link] = []

    def make(broker: Broker, **options: object) -> tuple[Link, Listener]:
        listener = Listener()
        one = Link(broker, "tester", listener, subscriptions=("talk",), manual_ack=True, **options)  # type: ignore[arg-type]
        links.append(one)
        one.start()
        return one, listener

    yield make
    for one in links:
        one.stop()


@pytest.fixture
def with_password(tmp_path: Path) -> Iterator[tuple[Mosquitto, Path]]:
    """A broker that wants a password, and the file that holds it."""
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(users), "tester", "right"], check=True, timeout=10)
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    secret.chmod(0o600)
    more = f"password_file {users}\n"
    with Mosquitto(made(tmp_path, "broker"), more=more) as broker:
        config = broker.folder / "mosquitto.conf"
        config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
        broker.restart()
        yield broker, secret


def test_a_name_and_a_password_from_a_file_let_it_in(
    link: Callable[..., tuple[Link, Listener]], with_password: tuple[Mosquitto, Path]
) -> None:
    broker, secret = with_password
    one, _ = link(Broker(port=broker.port, username="tester", password_file=secret))
    until(lambda: one.connected, "it is let in")


def test_a_wrong_password_is_said_and_tried_again(
    link: Callable[..., tuple[Link, Listener]],
    with_password: tuple[Mosquitto, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, secret = with_password
    secret.write_text("wrong")
    with caplog.at_level(logging.WARNING):
        one, _ = link(Broker(port=broker.port, username="tester", password_file=secret))
        until(lambda: any("Not authorized" in str(vars(record)) for record in caplog.records), "it is said")
    secret.write_text("right")
    until(lambda: one.connected, "the mended secret is read at the next try", 60)


def test_a_secret_that_others_can_read_is_not_used(
    link: Callable[..., tuple[Link, Listener]],
    with_password: tuple[Mosquitto, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, secret = with_password
    secret.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        one, _ = link(Broker(port=broker.port, username="tester", password_file=secret))
        until(lambda: any("chmod 600" in str(vars(record)) for record in caplog.records), "the remedy is said")
    assert not one.connected


def test_a_broker_of_another_authority_is_not_trusted(
    link: Callable[..., tuple[Link, Listener]],
    mosquitto_tls: Mosquitto,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stranger = Authority(made(tmp_path, "stranger"))
    mine = authority.issue("tester")
    tls = Tls(ca=stranger.issue("x").ca, cert=mine.certificate, key=mine.key)
    with caplog.at_level(logging.WARNING):
        one, _ = link(Broker(host="localhost", port=mosquitto_tls.port, tls=tls))
        until(lambda: any("CERTIFICATE_VERIFY_FAILED" in str(vars(r)) for r in caplog.records), "it is refused")
    assert not one.connected


def test_a_defect_in_a_callback_costs_a_connection_not_the_thread(
    link: Callable[..., tuple[Link, Listener]], mosquitto: Mosquitto
) -> None:
    one, listener = link(Broker(port=mosquitto.port), persistent=True)
    until(lambda: one.connected, "it is connected")
    listener.fail = True
    say(one, b"1")
    until(lambda: listener.connections >= 2, "it has connected again")
    until(lambda: [message.payload for message in listener.messages] == [b"1"], "the message came again, once")
    assert one.is_alive()


def test_an_oversize_message_does_not_end_the_uplink(
    link: Callable[..., tuple[Link, Listener]], mosquitto: Mosquitto
) -> None:
    one, listener = link(Broker(port=mosquitto.port))
    until(lambda: one.connected, "it is connected")
    say(one, b"x" * 100_000)
    until(lambda: listener.connections == 2, "the broker's unheard-of answer cost the connection", 40)
    say(one, b"after")
    until(lambda: b"after" in [message.payload for message in listener.messages], "it speaks again", 40)


def test_it_comes_back_after_the_broker_was_killed(
    link: Callable[..., tuple[Link, Listener]], mosquitto: Mosquitto
) -> None:
    one, listener = link(Broker(port=mosquitto.port))
    until(lambda: one.connected, "it is connected")
    mosquitto.kill()
    until(lambda: not one.connected, "it has noticed")
    mosquitto.start()
    until(lambda: listener.connections == 2, "it is back", 40)


def test_two_with_one_id_notice_it_and_do_not_fight(
    link: Callable[..., tuple[Link, Listener]], mosquitto: Mosquitto
) -> None:
    """Also with a broker that closes without a word, as Mosquitto before 2.0.15 does."""
    one, first = link(Broker(port=mosquitto.port))
    until(lambda: one.connected, "it is connected")
    _, second = link(Broker(port=mosquitto.port))
    until(lambda: first.takeovers or second.takeovers, "one of them has noticed", 60)
    until(lambda: first.takeovers and second.takeovers, "the other has", 60)
    assert first.connections + second.connections < 30


def test_the_brokers_word_for_it_is_heard(link: Callable[..., tuple[Link, Listener]]) -> None:
    """Written out as MQTT 5 has it, since the broker here is older."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, listener = link(Broker(port=server.getsockname()[1]))
        client, _ = server.accept()
        with client:
            client.recv(1000)
            client.sendall(bytes([0x20, 3, 0, 0, 0]))  # CONNACK, success
            client.recv(1000)
            client.sendall(bytes([0xE0, 2, 0x8E, 0]))  # DISCONNECT, session taken over
            until(lambda: listener.takeovers, "it has heard")


@pytest.mark.parametrize(
    ("ends", "noticed"),
    [
        ([(100.0, True, True)], [True]),  # the broker's word is enough
        ([(1.0, False, True)] * 8, [False] * 5 + [True] * 3),
        ([(1.0, False, True)] * 5 + [(1.0, False, False)] + [(1.0, False, True)] * 5, [False] * 11),  # it was away
        ([(1.0, False, True)] * 5 + [(60.0, False, True)] + [(1.0, False, True)] * 4, [False] * 10),  # a long one
        ([(1.0, True, True)] * 3 + [(30.0, False, True), (60.0, False, True)], [True] * 5),  # a rival that is known
        ([(1.0, True, True)] * 3 + [(700.0, False, True)], [True] * 3 + [False]),  # and forgotten
    ],
)
def test_a_rival_is_told_from_a_line_that_breaks(ends: list[tuple[float, bool, bool]], noticed: list[bool]) -> None:
    takeovers = TakeoverDetector()
    assert [takeovers.connection_ended(*end) for end in ends] == noticed


def test_with_each_time_the_field_is_left_for_longer() -> None:
    takeovers = TakeoverDetector()
    pauses = []
    for longest in (1, 1, 15, 30, 60, 120, 120):
        takeovers.connection_ended(1.0, True, True)
        row = [takeovers.pause_s() for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in row)
        pauses += row
    assert len(set(pauses)) > 200  # two that began together drift apart


def test_a_link_that_waits_between_two_tries_is_alive(
    link: Callable[..., tuple[Link, Listener]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline is not unhealthy: the watchdog looks at this while the pauses grow."""
    monkeypatch.setattr(random, "uniform", lambda *_: 600.0)
    monkeypatch.setattr(mqtt_link, "PAUSE_STEP_S", 0.05)
    one, _ = link(Broker(port=free_port()))
    for _ in range(3):
        before = one.alive_at
        until(lambda before=before: one.alive_at > before, "it is alive")  # type: ignore[misc]


def test_what_was_read_ahead_is_given_out_before_the_network_is_asked_again() -> None:
    near, far = socket.socketpair()
    client = Client(CallbackAPIVersion.VERSION2)
    client._sock = near
    with near, far:
        near.setblocking(False)
        far.send(b"abcdef")
        assert (client._sock_recv(1), client._sock_recv(2), client.has_read_ahead) == (b"a", b"bc", True)
        far.send(b"gh")
        assert (client._sock_recv(9), client.has_read_ahead) == (b"def", False)
        assert client._sock_recv(9) == b"gh"
        with pytest.raises(BlockingIOError):
            client._sock_recv(1)
        far.close()
        assert client._sock_recv(1) == b""
        client._sock = None


def test_who_has_no_room_is_sent_nothing_and_loses_nothing(
    mosquitto: Mosquitto, link: Callable[..., tuple[Link, Listener]]
) -> None:
    class Full(Listener):
        room = 3

        def has_room(self) -> bool:
            return len(self.messages) < self.room

    broker = Broker(port=mosquitto.port)
    full = Full()
    listening = Link(broker, "full", full, ("talk",), manual_ack=True)
    listening.start()
    speaking, _ = link(broker)
    try:
        until(lambda: full.connections and speaking.connected, "both are there")
        for number in range(50):
            say(speaking, b"%d" % number)
        until(lambda: len(full.messages) == 3, "it takes what it has room for")
        assert listening.connected
        full.room = 100
        until(lambda: len(full.messages) == 50, "and the rest when it has more")
        assert [message.payload for message in full.messages] == [b"%d" % number for number in range(50)]
        assert full.connections == 1
    finally:
        listening.stop()
