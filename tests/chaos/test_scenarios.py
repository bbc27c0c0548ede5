"""What a storm can't do: strangers at the broker, a disk that is full or read-only, everybody coming back at once."""

import json
import random
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.chaos.province import Province, healed_and_judged
from tests.chaos.stampede import stampede
from tests.support.deployment import secured, until

DENIED = 0x87


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Callable[..., Province]]:
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(Province(tmp_path / "province", *args, **more))


class Stranger:
    """A client with a certificate of its own that says what it likes."""

    def __init__(self, broker: dict[str, Any]) -> None:
        self._broker, self._answers = broker, dict[int, int]()
        self._answered = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="stranger", protocol=paho.MQTTv5)
        self._client.tls_set(broker["tls"]["ca"], broker["tls"]["cert"], broker["tls"]["key"])
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self._note(mid, reason.value)

    def _note(self, mid: int, reason: int) -> None:
        with self._answered:
            self._answers[mid] = reason
            self._answered.notify_all()

    def say(self, topic: str, payload: bytes) -> int:
        """Publishes and returns the broker's reason code."""
        mid = self._client.publish(topic, payload, qos=1).mid
        with self._answered:
            assert self._answered.wait_for(lambda: mid in self._answers, 10), "the broker does not answer"
            return self._answers[mid]

    def __enter__(self) -> Self:
        self._client.connect(self._broker["host"], self._broker["port"])
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def stranger(province: Province) -> Stranger:
    return Stranger(secured(province.broker, province.authority, "nd-evil"))


def forgery(province: Province, agent: str, spool: str, seq: int) -> bytes:
    """A good result of `agent`, in the name of a unit that did not take it."""
    token = f"tok-{uuid.uuid4().hex}"
    province.history.say("forged", token=token)
    envelope = {"v": 1, "agent": agent, "spool": spool, "seq": seq, "boot": str(uuid.uuid4()), "kind": "event"}
    return json.dumps(envelope | {"at": "2026-01-01T00:00:00Z", "clock": "synced", "data": _event(token)}).encode()


def _event(token: str) -> dict[str, str]:
    return {"name": "forged", "detail": token}


def more(province: Province, results: int) -> None:
    before = province.committed()
    until(lambda: province.committed() >= before + results, "results are committed")


def spool_of(province: Province, name: str) -> str:
    lines = (province.feeders[name].folder / "history.jsonl").read_text().splitlines()
    return next(str(op["spool"]) for op in map(json.loads, lines) if op["op"] == "committed")


def test_nobody_can_delete_or_add_a_result_of_another(province: Callable[..., Province]) -> None:
    province_ = province({"nd-a": {"pace": 50.0}})
    assert province_.witness.last_acks(10)
    province_.shim.answer = "503"
    more(province_, 50)
    spool, waiting = spool_of(province_, "nd-a"), province_.waiting()["nd-a"]
    ack = {"v": 1, "agent": "nd-a", "time": "2026-01-01T00:00:00Z"}
    everything = ack | {"stored": [{"spool": spool, "seqs": list(range(1, 1000))}]}
    rejected = ack | {"rejected": [{"spool": spool, "seq": seq, "reason": "so there"} for seq in range(1, 50)]}
    with stranger(province_) as evil:
        for forged in (everything, rejected):
            assert evil.say("xomnet/v1/nd-a/ack", json.dumps(forged).encode()) == DENIED
        assert evil.say("xomnet/v1/nd-a/up", forgery(province_, "nd-a", spool, 1)) == DENIED
        assert evil.say("xomnet/v1/nd-evil/up", forgery(province_, "nd-a", spool, 2)) < 0x80
        assert evil.say("xomnet/v1/nd-evil/up", forgery(province_, "nd-evil", spool, 3)) < 0x80  # not in the registry
        assert province_.waiting()["nd-a"] >= waiting
        # what an ack did say once, said again: its numbers are never used a second time
        assert evil.say("xomnet/v1/nd-evil/ack", json.dumps(everything).encode()) == DENIED
    report = healed_and_judged(province_)
    assert not report.violations
    assert report.counts["forged"] == 3
    codes = [op["code"] for op in _letters(province_)]
    assert sorted(codes) == ["foreign_agent", "unknown_agent"]


def _letters(province: Province) -> list[dict[str, Any]]:
    file = province.collector.folder / "state/dead-letters.jsonl"
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_a_flood_of_rubbish_holds_up_nobody(province: Callable[..., Province]) -> None:
    province_ = province({"nd-a": {"pace": 50.0}})
    rng = random.Random(1)
    rubbish = [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"v":1}', b"null", b'{"seq":1e400}', b"x" * 20_000]
    with stranger(province_) as evil:
        for _ in range(1000):
            assert evil.say("xomnet/v1/nd-evil/up", rng.choice(rubbish) + rng.randbytes(rng.choice((0, 8)))) < DENIED
        more(province_, 50)
        assert province_.witness.last_acks(10), "results still come through"
    report = healed_and_judged(province_)
    assert not report.violations
    assert {op["code"] for op in _letters(province_)} == {"malformed", "oversize"}
    assert len(_letters(province_)) == 1000


def fill(file: Path) -> None:
    """Writes until the disk is full. Raises OSError."""
    with file.open("wb", buffering=0) as descriptor:
        while True:
            descriptor.write(bytes(4096))


def test_a_full_disk_stops_the_promises_and_nothing_else(province: Callable[..., Province], small_disk: Path) -> None:
    province_ = province({"nd-a": {"pace": 100.0, "disk": str(small_disk)}})
    feeder, filler = province_.feeders["nd-a"], small_disk / "filler"
    assert province_.witness.last_acks(10)
    province_.collector.kill()
    more(province_, 100)
    with pytest.raises(OSError, match="space"):
        fill(filler)
    until(lambda: "disk is full" in feeder.output(), "it is said")
    feeder.kill()
    filler.unlink()
    feeder.start()
    more(province_, 50)
    report = healed_and_judged(province_)
    assert not report.violations
    assert report.counts["unknown"] > 0


def test_a_read_only_disk_keeps_what_it_holds(province: Callable[..., Province], small_disk: Path) -> None:
    province_ = province({"nd-a": {"pace": 50.0, "disk": str(small_disk)}})
    feeder = province_.feeders["nd-a"]
    province_.collector.kill()
    more(province_, 50)
    feeder.kill()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=10)
    feeder.start()
    until(lambda: "readonly database" in feeder.output(), "it is said")
    feeder.kill()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True, timeout=10)
    feeder.start()
    more(province_, 20)
    report = healed_and_judged(province_)
    assert not report.violations
    assert report.counts["stored"] >= 70


def test_two_hundred_units_come_back_after_the_broker_and_not_all_at_once(tmp_path: Path) -> None:
    found = stampede(tmp_path, agents=200, limit_s=60)
    assert found.peak_per_s <= 100, found
