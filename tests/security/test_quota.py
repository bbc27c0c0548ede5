"""A thief with one unit's certificate sends without end: others' acks come, the disk has a bound, the operator is told.

The thief publishes at the speed of the wire. `worst_ack_s` of each attack is in the test's output (`-rP`).
"""

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Collector, made, plain, until
from tests.support.flood import Flood
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto

FLOOD_S = 5.0
ACK_S = 2.0


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
            while not any(t.endswith("nd-b/ack") and _names(ack, spool, seq) for t, ack in self._sender.acks[-500:]):
                time.sleep(0.01)
                if time.monotonic() - began > 60:
                    break
            self.waits.append(time.monotonic() - began)
            self._sender.acks.clear()
            if self._ended.wait(0.2):
                return

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


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_of_one_unit_delays_nobodys_ack(
    broker: Mosquitto, collector: Collector, tmp_path: Path, what: str, qos: int
) -> None:
    channel, payloads = FLOODS[what]
    ready = list(payloads())
    honest = Honest(broker.port)
    with Flood(broker.port, f"xomnet/v1/nd-a/{channel}", ready, qos) as thief:
        time.sleep(FLOOD_S)
    worst_s = honest.close()
    size = sum(file.stat().st_size for file in (tmp_path / "collector").rglob("*") if file.is_file())
    print(f"{what}, QoS {qos}: {thief.sent} messages, worst_ack_s={worst_s:.2f}, {len(honest.waits)} acks,"
          f" {size / 1e6:.1f} MB on the disk")  # fmt: skip
    assert "broker away" not in collector.output(100_000)
    assert size < 60e6
    assert worst_s < 10 * ACK_S
