"""A thief with one unit's certificate against the broker as it is deployed: real certificates, roles and settings.

What takes minutes is marked `attack`. The figures are printed: `pytest -s`.
"""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from collector.pki.authority import Authority
from tests.security.figures import note
from tests.support.deployment import Collector, MeasureServer, Unit, made, until
from tests.support.role_broker import Mqtt, RoleBroker, RoleClient, issue, now, packet, subscription, text

THIEF, HONEST = "nd-haihau-0012", "nd-giaothuy-0002"
NOT_AUTHORIZED = 0x87
GROWTH_MB = 20
ANSWERED_S = 2.0
OWN = (f"xomnet/v1/{THIEF}/ack", f"xomnet/v1/{THIEF}/cmd")
FLOOD_BYTES = 60_000

attack = pytest.mark.attack, pytest.mark.timeout(1800)


@contextmanager
def lab(folder: Path, **variables: int) -> Iterator[RoleBroker]:
    """A broker and certificates of a thief, an honest unit and the collector."""
    authority = Authority.make(folder / "ca", now())
    broker = RoleBroker(made(folder, "broker"), authority, **variables)
    issue(authority, broker.folder, "collector", "collector")
    for name in (THIEF, HONEST):
        issue(authority, broker.folder, name, "unit")
    with broker:
        yield broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RoleBroker]:
    """For a test that restarts it, or revokes."""
    with lab(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def lasting_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleBroker]:
    with lab(tmp_path_factory.mktemp("lasting")) as one:
        yield one


class Honest:
    """An honest unit and the collector beside the attack: a result and its answer, again and again."""

    def __init__(self, broker: RoleBroker) -> None:
        self._collector = RoleClient(broker, "collector", ("xomnet/v1/+/up",))
        self._unit = RoleClient(broker, HONEST, (f"xomnet/v1/{HONEST}/ack",))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.took_s: list[float] = []

    def _work(self) -> None:
        while not self._ended.is_set():
            self.took_s.append(self._unit.round_trip_s(self._collector))

    def __enter__(self) -> "Honest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)
        for one in (self._unit, self._collector):
            one.close()


def words(count: int) -> Iterable[str]:
    return (f"{number:x}" + "/a" * 149 for number in range(count))


def flat(count: int) -> Iterable[str]:
    return (f"{number:x}".ljust(60_000, "b") for number in range(count))


def shared(count: int) -> Iterable[str]:
    return (f"$share/{number:x}/#" for number in range(count))


def subscribe_all(thief: Mqtt, filters: Iterable[str]) -> set[int]:
    """The reason codes, of SUBSCRIBE packets as large as the broker takes."""
    codes = set[int]()
    some: list[str] = []
    size = 0
    for one in filters:
        if size + len(one) + 3 > 65_000:
            codes.update(thief.subscribe(some))
            some, size = [], 0
        some.append(one)
        size += len(one) + 3
    return codes | set(thief.subscribe(some))


FLOODS = [
    pytest.param(words, 20_000, id="filters-of-300-bytes"),
    pytest.param(flat, 500, id="names-of-60-kB"),
    pytest.param(flat, 10_000, id="10000-names-of-60-kB", marks=attack),
    pytest.param(shared, 100_000, id="shared"),
    pytest.param(shared, 1_000_000, id="a-million-shared", marks=attack),
]


@pytest.mark.parametrize(("filters", "count"), FLOODS)
def test_a_flood_of_subscriptions_is_refused_and_costs_nobody_anything(
    broker: RoleBroker, filters: Callable[[int], Iterable[str]], count: int
) -> None:
    with Honest(broker) as honest:
        until(lambda: len(honest.took_s) > 5, "quiet round trips", 20)
        before_mb = broker.resident_mb
        for clean_start in (True, False):
            with Mqtt(broker, THIEF, expiry_s=1_000_000, clean_start=clean_start) as thief:
                assert subscribe_all(thief, filters(count)) == {NOT_AUTHORIZED}
                assert thief.subscribe(OWN) == [1, 1]
                assert broker.resident_mb - before_mb < GROWTH_MB
        grown_mb = broker.resident_mb - before_mb
    note("broker grew, MB", round(grown_mb, 1))
    note("worst honest result, s", slowest_s(honest))
    assert statistics.median(honest.took_s) < ANSWERED_S
    broker.stop()
    assert (broker.folder / "mosquitto.db").stat().st_size < 100_000
    broker.start()
    assert broker.resident_mb < before_mb + GROWTH_MB
    assert broker.stores_session(THIEF)
    broker.revoke(THIEF)
    assert not broker.stores_session(THIEF)


def test_its_own_two_topics_are_all_that_a_unit_may_subscribe_to(lasting_broker: RoleBroker) -> None:
    own = f"xomnet/v1/{THIEF}"
    others = ["#", "+/#", "$SYS/#", "$CONTROL/#", "$CONTROL/dynamic-security/v1/response", "$share/g/#", "xomnet/v1/#"]
    others += ["xomnet/v1/+/cmd", f"xomnet/v1/{HONEST}/ack", f"$share/g/{own}/ack", f"{own}/up", f"{own}/+", f"{own}/#"]
    with Mqtt(lasting_broker, THIEF) as thief:
        assert thief.subscribe([*others, *OWN]) == [NOT_AUTHORIZED] * len(others) + [1, 1]
    with Mqtt(lasting_broker, "collector") as collector:
        granted = ["xomnet/v1/+/up", "xomnet/v1/+/state", "xomnet/v1/+/reply"]
        granted += [f"$share/collectors/{one}" for one in granted]
        assert collector.subscribe([*granted, "#", "$SYS/#"]) == [1] * 6 + [NOT_AUTHORIZED] * 2


def test_nobody_but_the_administrator_changes_roles(lasting_broker: RoleBroker) -> None:
    for name in (THIEF, "collector"):
        client = RoleClient(lasting_broker, name)
        assert client.publish("$CONTROL/dynamic-security/v1", b'{"commands":[]}') == "Not authorized"
        client.close()
    assert (lasting_broker.folder / "control.sock").stat().st_mode & 0o007 == 0


def test_what_waits_for_a_collector_that_is_away_is_bounded(broker: RoleBroker) -> None:
    _flood_without_a_collector(broker, messages=2_600)


@pytest.mark.attack
@pytest.mark.timeout(1800)
def test_15000_messages_for_a_collector_that_is_away_are_bounded(broker: RoleBroker) -> None:
    _flood_without_a_collector(broker, messages=15_000)


@pytest.mark.attack
@pytest.mark.timeout(600)
def test_an_honest_unit_loses_nothing_to_a_flood_while_the_collector_is_away(tmp_path: Path) -> None:
    row = f"{HONEST},ftth,fixed,Xóm 5,Nam Định/Giao Thủy,VNPT,2026-01-01"
    with (
        lab(tmp_path) as broker,
        MeasureServer(made(tmp_path, "server"), 60) as server,
        Collector(made(tmp_path, "collector"), settings(broker, "collector"), [row]) as collector,
        Unit(made(tmp_path, "unit"), HONEST, settings(broker, HONEST), server.url) as unit,
    ):
        until(lambda: collector.metric("xomnet_results_stored_total") >= 3, "results flow")
        collector.stop()
        with Mqtt(broker, THIEF) as thief:
            flood_up(thief, 3_000)
        committed = unit.committed()
        until(lambda: unit.committed() > committed + 3, "it goes on measuring")
        committed = unit.committed()
        collector.start()
        until(lambda: unit.waiting(committed) == 0, "the spool drains", 300)
        until(lambda: collector.health()["broker"] == "ok", "the collector hears itself")


def _flood_without_a_collector(broker: RoleBroker, messages: int) -> None:
    with Mqtt(broker, "collector", expiry_s=86_400, clean_start=False) as collector:
        assert collector.subscribe(["xomnet/v1/+/up"]) == [1]
    before_mb = broker.resident_mb
    with Mqtt(broker, THIEF) as thief:
        flood_up(thief, messages)
    grown_mb = broker.resident_mb - before_mb
    note(f"broker grew by {messages} messages of {FLOOD_BYTES} bytes, MB", round(grown_mb))
    assert grown_mb < QUEUED_MB + GROWTH_MB
    broker.restart()  # what waits is on the broker's disk, and its memory is as bounded as before
    assert broker.resident_mb - before_mb < QUEUED_MB + GROWTH_MB


QUEUED_MB = 128
"""`mosquitto_max_queued_bytes`."""


def test_a_message_of_qos_2_and_one_with_long_properties_end_the_connection(lasting_broker: RoleBroker) -> None:
    up = f"xomnet/v1/{THIEF}/up"
    property_ = b"\x26" + text("name") + text("v" * 30_000)
    for sent in (
        packet(0x34, text(up) + b"\x00\x01\x00" + bytes(FLOOD_BYTES)),
        packet(0x32, text(up) + b"\x00\x01" + b"\xb9\xea\x01" + property_ + bytes(FLOOD_BYTES)),
    ):
        with Mqtt(lasting_broker, THIEF) as thief:
            assert ends_the_connection(thief, sent)


@pytest.mark.parametrize("seconds", [pytest.param(5, id="seconds"), pytest.param(120, id="two-minutes", marks=attack)])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(packet(0x82, subscription(["$share/1/#"])) * 2_000, id="subscriptions"),
        pytest.param(packet(0x82, subscription(["a"] * 16_000)), id="long-subscriptions"),
        pytest.param(packet(0x32, text(f"xomnet/v1/{THIEF}/up") + b"\x00\x01\x00") * 2_000, id="messages"),
        pytest.param(packet(0xC0, b"") * 20_000, id="pings"),
    ],
)
def test_a_thief_that_reads_no_answer_fills_no_memory(lasting_broker: RoleBroker, sent: bytes, seconds: int) -> None:
    before_mb = lasting_broker.resident_mb
    with Mqtt(lasting_broker, THIEF) as thief:
        flood(thief, sent, seconds)
        grown_mb = lasting_broker.resident_mb - before_mb
        with Honest(lasting_broker) as honest:
            until(lambda: len(honest.took_s) > 5, "round trips", 30)
    note(f"broker grew in {seconds} s without reading, MB", round(grown_mb, 1))
    note("worst honest result, s", slowest_s(honest))
    assert grown_mb < UNREAD_MB


UNREAD_MB = 800
"""`max_queued_messages` of the longest SUBACKs that a packet can ask for; below the service's MemoryMax."""


def test_connections_are_limited_and_a_place_comes_free(tmp_path: Path) -> None:
    with lab(tmp_path, mosquitto_max_connections=10) as broker:
        honest = RoleClient(broker, HONEST)
        with many_connections(broker, 30):
            time.sleep(0.5)
            assert honest.publish(f"xomnet/v1/{HONEST}/up") == "No matching subscribers"
            with pytest.raises((OSError, ConnectionError)):
                Mqtt(broker, THIEF)
            broker.publish_revocations()  # the administrator's door is another
        until(lambda: _connects(broker), "a place", 20)
        honest.close()


@contextmanager
def many_connections(broker: RoleBroker, count: int) -> Iterator[None]:
    opened = [socket.create_connection(("127.0.0.1", broker.port), timeout=10) for _ in range(count)]
    try:
        yield
    finally:
        for one in opened:
            one.close()


def _connects(broker: RoleBroker) -> bool:
    with suppress(OSError), Mqtt(broker, THIEF):
        return True
    return False


def publish(topic: str, payload: bytes) -> bytes:
    """A PUBLISH of QoS 1."""
    return packet(0x32, text(topic) + b"\x00\x01\x00" + payload)


def flood_up(thief: Mqtt, messages: int) -> None:
    """Large results, each with its PUBACK."""
    sent = publish(f"xomnet/v1/{THIEF}/up", bytes(FLOOD_BYTES))
    for _ in range(messages):
        thief.send(sent)
        assert thief.read()[0] == 0x40


def settings(broker: RoleBroker, name: str) -> dict[str, Any]:
    """The settings `broker` of a unit or of the collector."""
    files = {"ca": "ca.crt", "cert": f"{name}.crt", "key": f"{name}.key"}
    tls = {key: str(broker.folder / file) for key, file in files.items()}
    return {"host": "localhost", "port": broker.port, "tls": tls}


def flood(thief: Mqtt, sent: bytes, seconds: float) -> None:
    """Sends until the time is over or the broker takes no more."""
    deadline = time.monotonic() + seconds
    with suppress(OSError):
        while time.monotonic() < deadline:
            thief.send(sent)


def ends_the_connection(thief: Mqtt, sent: bytes) -> bool:
    try:
        thief.send(sent)
        return thief.read()[0] == 0xE0
    except OSError:
        return True


def slowest_s(honest: Honest) -> float:
    return round(max(honest.took_s, default=0), 2)
