"""A thief with one unit's certificate sends without end: others' acks come, the disk has a bound, the operator is told.

The thief publishes 5,000 messages a second, small or large (up to 300 MB/s), as far as loopback and the broker take it.
"""

import datetime as dt
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.clock.clock import ClockReading, boot_id, boot_ns
from agent.delivery.spool import Spool
from agent.delivery.uplink import Uplink
from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto
from tests.support.thief import Flood
from xomnet.contract.messages import Latency
from xomnet.mqtt.broker import Broker

GIVEN_UP_S = 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(made(tmp_path, "broker"), log="error") as mosquitto:
        yield mosquitto


@pytest.fixture
def collector(tmp_path: Path, broker: Mosquitto) -> Iterator[Collector]:
    with Collector(made(tmp_path, "collector"), plain(broker), ROWS) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        yield collector


class Honest:
    """nd-b, which sends a result five times a second and waits for its ack; `worst_s` is the longest wait."""

    def __init__(self, port: int) -> None:
        self._sender = Sender(port)
        self._ended = threading.Event()
        self.waits: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        spool = str(uuid.uuid4())
        for seq in range(1, 10_000):
            began = time.monotonic()
            self._sender.send(result(seq, agent="nd-b", spool=spool), "xomnet/v1/nd-b/up")
            while not self._is_acknowledged(spool, seq) and time.monotonic() - began < GIVEN_UP_S:
                time.sleep(0.01)
            self.waits.append(time.monotonic() - began)
            self._sender.acks.clear()
            if self._ended.wait(0.2):
                return

    def _is_acknowledged(self, spool: str, seq: int) -> bool:
        acks = [ack for topic, ack in self._sender.acks if topic.endswith("nd-b/ack")]
        return any(_names(ack, spool, seq) for ack in acks)

    def close(self) -> float:
        """The longest wait for an ack."""
        self._ended.set()
        self._thread.join(90)
        self._sender.close()
        return max(self.waits)


def _names(ack: dict[str, Any], spool: str, seq: int) -> bool:
    return any(one["spool"] == spool and seq in one["seqs"] for one in ack.get("stored", []))


def big_results() -> Iterator[bytes]:
    """As large as they may be, all different, all of today."""
    text = "x" * 500
    speed = {"engine": "http", "server": text, "down_mbps": 100.0, "error_detail": text}
    speed["series_mbps"] = [100 + n + 0.123456789 for n in range(400)]
    for seq in range(1, 5_001):
        yield json.dumps(result(seq, kind="speed", data=speed, at=_moment(seq))).encode()


def small_results() -> Iterator[bytes]:
    for seq in range(1, 30_001):
        yield json.dumps(result(seq, at=_moment(seq))).encode()


def manifests() -> Iterator[bytes]:
    for seq in range(1, 20_001):
        data = {"name": "manifest", "first_seq": 2 * seq, "last_seq": 2 * seq + 1, "count": 1, "digest": "0" * 32}
        yield json.dumps(result(seq, kind="event", data=data, at=_moment(seq))).encode()


def _moment(seq: int) -> str:
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight + dt.timedelta(milliseconds=seq)).isoformat()


FLOODS: dict[str, tuple[str, Callable[[], Iterator[bytes]]]] = {
    "results": ("up", big_results),
    "small results": ("up", small_results),
    "manifests": ("up", manifests),
    "rubbish": ("up", lambda: iter([b"x" * 60_000] * 20)),
    "small rubbish": ("up", lambda: iter([b"{"] * 20_000)),
    "states": ("state", lambda: iter([b"x" * 64_000] * 20)),
    "replies": ("reply", lambda: iter([b'{"x":"' + b"x" * 64_000 + b'"}'] * 20)),
}


EACH_TIME = [("results", 1), ("manifests", 1), ("small rubbish", 0), ("states", 1)]
REST = [(what, qos) for what in FLOODS for qos in (0, 1) if (what, qos) not in EACH_TIME]


@pytest.mark.parametrize(("what", "qos"), EACH_TIME)
def test_a_flood_of_one_unit_delays_nobodys_ack(
    broker: Mosquitto, collector: Collector, what: str, qos: int, record_property: Callable[[str, object], None]
) -> None:
    play(broker, collector, what, qos, 2.0, record_property)


@pytest.mark.attack
@pytest.mark.parametrize(("what", "qos"), EACH_TIME + REST)
def test_a_long_flood_of_one_unit_delays_nobodys_ack(
    broker: Mosquitto, collector: Collector, what: str, qos: int, record_property: Callable[[str, object], None]
) -> None:
    play(broker, collector, what, qos, 15.0, record_property)


def play(
    broker: Mosquitto,
    collector: Collector,
    what: str,
    qos: int,
    seconds: float,
    record_property: Callable[[str, object], None],
) -> None:
    channel, payloads = FLOODS[what]
    ready = list(payloads())
    honest = Honest(broker.port)
    with Flood(broker.port, f"xomnet/v1/nd-a/{channel}", ready, qos) as thief:
        time.sleep(seconds)
    worst_s = honest.close()
    record_property("messages", thief.sent)
    record_property("worst ack, s", round(worst_s, 2))
    record_property("on disk, MB", round(size_of(collector) / 1e6, 1))
    assert "broker away" not in collector.output(100_000)
    assert size_of(collector) < 40e6
    assert worst_s < GIVEN_UP_S


def size_of(collector: Collector) -> int:
    return sum(file.stat().st_size for file in collector.folder.rglob("*") if file.is_file())


# --- what is beyond the quota


def test_a_result_beyond_the_quota_is_rejected_and_a_stored_one_is_acknowledged_again(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Collector(made(tmp_path, "few"), plain(broker), ROWS, quota={"tests_per_day": 1}) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(broker.port)
        tests = [speed_test(seq) for seq in range(1, 26)]
        for one in tests:
            sender.send(one)
        until(lambda: len(sender.stored()) == 20 and len(sender.rejected()) == 5, "all are answered")
        assert set(sender.rejected()) == set(range(21, 26))
        assert all(reason.startswith("quota: 20 of speed/ftth measured on") for reason in sender.rejected().values())
        assert collector.metric("xomnet_quota_exceeded_units") == 1
        assert collector.output(100_000).count('event="quota exceeded"') == 1
        collector.kill()
        collector.start()
        sender.acks.clear()
        for one in [*tests, speed_test(26), result(27)]:
            sender.send(one)
        until(lambda: 27 in sender.stored() and 26 in sender.rejected(), "all are answered again")
        assert sender.stored() == {*range(1, 21), 27}
        assert set(sender.rejected()) == set(range(21, 27))
        assert collector.metric("xomnet_quota_exceeded_units") == 1
        assert resend(collector) == {"letters": 11, "stored": 0, "refused": {"quota": 11}}
        assert resend(collector, "--over-quota") == {"letters": 11, "stored": 11, "refused": {}}
        assert 'event="quota exceeded"' not in collector.output(100_000).rpartition("collector runs")[2]
        sender.close()


def resend(collector: Collector, *options: str) -> dict[str, Any]:
    argv = ["-m", "collector.archive.resend_command", "--config", "collector.yaml", "--json", *options]
    done = subprocess.run([sys.executable, *argv], cwd=collector.folder, capture_output=True, timeout=60, check=False)
    said: dict[str, Any] = json.loads(done.stdout)
    return {key: said[key] for key in ("letters", "stored", "refused")}


def speed_test(seq: int) -> dict[str, Any]:
    data = {"engine": "http", "server": "http://s.example/", "down_mbps": 100.0}
    return result(seq, kind="speed", data=data, at=_moment(seq))


def test_what_comes_too_fast_is_left_with_the_unit_and_holds_no_place(tmp_path: Path, broker: Mosquitto) -> None:
    with Collector(made(tmp_path, "slow"), plain(broker), ROWS, quota={"results_per_s": 2}) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(broker.port)
        for seq in range(1, 200):
            sender.send(result(seq, at=_moment(seq)))
        until(lambda: collector.metric("xomnet_messages_unanswered_total") > 0, "some are left")
        until(lambda: collector.metric("xomnet_queue") == 0, "nothing waits")
        left = collector.metric("xomnet_messages_unanswered_total")
        until(lambda: len(sender.stored()) + left == 199, "the others are stored")
        assert not sender.rejected()
        assert 40 <= len(sender.stored()) < 150
        again = next(seq for seq in range(1, 200) if seq not in sender.stored())
        time.sleep(2)
        sender.send(result(again, at=_moment(again)))
        until(lambda: again in sender.stored(), "it comes again")
        sender.close()


def test_a_message_of_qos_0_does_not_end_the_collectors_connection(broker: Mosquitto, collector: Collector) -> None:
    """A PUBACK of its packet id 0 did: one message each second kept the collector away."""
    once = json.dumps(result(1)).encode()
    with Flood(broker.port, "xomnet/v1/nd-a/state", [b"{}"] * 10, qos=0):
        time.sleep(0.5)
    sender = Sender(broker.port)
    with Flood(broker.port, "xomnet/v1/nd-a/up", [once], qos=0):
        until(lambda: 1 in sender.stored(), "a result of QoS 0 is answered like others")
    sender.close()
    assert collector.output(100_000).count("connected to broker") == 1


# --- an honest unit that was away for long


@pytest.mark.attack
@pytest.mark.timeout(600)
def test_a_backlog_of_three_months_drains_with_the_units_own_delivery(
    tmp_path: Path, broker: Mosquitto, collector: Collector, record_property: Callable[[str, object], None]
) -> None:
    """With the rate of production: nothing is lost or rejected, and a month of results takes less than an hour."""
    results, now = 6_000, dt.datetime.now(dt.UTC)
    spool = Spool(tmp_path / "spool.db", "nd-a", boot_id())
    spool._db.execute("PRAGMA synchronous = OFF")  # to be filled in time
    probe = Latency(method="icmp", anchors=("192.0.2.1",), sent=10, received=10, loss_percent=0.0, rtt_p50_ms=4.0)
    for number in range(results):
        at = now - dt.timedelta(days=90) * (1 - number / results)
        spool.commit(probe, "ftth", ClockReading(at, boot_ns(), True), error_s=0.01)
    uplink = Uplink(Broker(port=broker.port), "nd-a", spool, 0.0, True, reading)
    began = time.monotonic()
    uplink.start()
    until(lambda: spool.depth() == 0, "it drains", 500)
    per_s = results / (time.monotonic() - began)
    uplink.stop()
    record_property("results a second", round(per_s, 1))
    record_property("left unanswered", collector.metric("xomnet_messages_unanswered_total"))
    assert uplink.ack_stats.rejected_count == 0
    assert collector.metric("xomnet_quota_exceeded_units") == 0
    assert collector.metric("xomnet_messages_unanswered_total") > 0, "else it shows nothing"
    assert per_s > 10


def reading(_: bool = False) -> ClockReading:
    return ClockReading(dt.datetime.now(dt.UTC), boot_ns(), True)
