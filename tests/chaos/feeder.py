"""A unit at a high pace: the product's own spool and uplink, fed with invented results.

    python -m tests.chaos.feeder FOLDER

`FOLDER/feeder.json` says how, `FOLDER/quiet` ends the feeding and leaves the uplink at work. What it commits goes to
`FOLDER/history.jsonl`: the intent before, the promise after. It is killed at any moment.
"""

import datetime as dt
import json
import os
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

import agent.delivery.uplink
from agent.clock.clock import ClockReading, boot_id, boot_ns
from agent.delivery.spool import Spool, SpoolError
from agent.delivery.uplink import Uplink
from tests.chaos.history import History
from xomnet.contract.messages import Data, Event, Health, Latency, Outage, Speed
from xomnet.contract.values import MAX_TEST_BYTES
from xomnet.mqtt.broker import Broker
from xomnet.runtime.log import setup

SPICES = ("", " Xóm 5, thôn Đông", ' "a" \\ b=c,d', " x\\", " 'q' — ½", ' ,=\\" ', " 人 🛰")
"""What texts may hold that a codec of the way could stumble over."""

PHASES: tuple[tuple[bool, float], ...] = (
    (False, -1.7e9),  # as after a power cut, without a battery
    (True, 0.0),
    (False, 365 * 86_400.0),
    (True, 0.0),
    (False, -6 * 3600.0),
    (True, 0.0),
)
"""Of a clock that wanders: whether it says that it is right, and by how many seconds it is not."""


class Clock:
    """The machine's clock, or one that steps every few seconds. (The kernel's can't be set for one process alone.)"""

    def __init__(self, wanders: bool, quiet: Path) -> None:
        self._wanders, self._quiet = wanders, quiet

    def __call__(self, assume_synced: bool = False) -> ClockReading:
        wall, boot = dt.datetime.now(dt.UTC), boot_ns()
        if not self._wanders or self._quiet.exists():
            return ClockReading(wall, boot, True)
        synced, wrong_s = PHASES[int(time.time() / 2.5) % len(PHASES)]
        return ClockReading(wall + dt.timedelta(seconds=wrong_s), boot, synced)


def invented(rng: random.Random, token: str, poisonous: bool) -> tuple[type[Data], str | None, dict[str, Any]]:
    """A result to commit: its type, its line and its fields. One that is poisonous will be refused by the database,
    whose column `budget_bytes` has another type there, or by the registry.
    """

    def ms() -> float:
        return rng.choice((round(rng.uniform(0, 900), 3), float(rng.randrange(500)), rng.uniform(0, 1e-3)))

    text = token + rng.choice(SPICES)
    line = "4g" if rng.random() < 0.3 else "ftth"
    if poisonous:
        if rng.random() < 0.3:
            return Event, "unknown", {"name": "poison", "detail": text}
        return Speed, line, {"engine": "http", "server": "http://s.example/", "budget_bytes": 1, "error_detail": text}
    kind = rng.choice((Speed, Latency, Latency, Health, Outage, Event))
    if kind is Speed:
        fields: dict[str, Any] = {
            "engine": "http",
            "server": "http://s.example/",
            "down_mbps": rng.uniform(0, 400),
            "bytes": rng.choice((0, 1, MAX_TEST_BYTES, rng.randrange(10**9))),
            "flags": rng.sample(["cross_traffic", "audit", "wifi"], rng.randint(1, 3)),
            "series_mbps": [round(rng.uniform(0, 400), 2) for _ in range(rng.randint(1, 60))],
            "error_detail": text,
        }
    elif kind is Latency:
        fields = {"method": "icmp", "anchors": ["192.0.2.1", "x.example:443"], "sent": 10, "received": 10}
        fields |= {"loss_percent": rng.uniform(0, 100), "rtt_p50_ms": ms(), "jitter_ms": ms(), "error_detail": text}
    elif kind is Health:
        line = ""
        fields = {
            "version": text,
            "cpu_percent": rng.uniform(0, 100),
            "load1": rng.uniform(0, 9),
            "mem_used_percent": 40.0,
            "disk_free_bytes": rng.randrange(2**53),
            "disk_used_percent": 50.0,
            "uptime_s": ms(),
            "rss_bytes": 1,
            "spool_depth": 0,
            "spool_bytes": 0,
            "clock_synced": rng.random() < 0.5,
        }
    elif kind is Outage:
        fields = {"duration_s": ms(), "failed_probes": rng.randrange(9), "anchors": [token, "192.0.2.1"]}
    else:
        line = rng.choice(("", line))
        fields = {"name": "synthetic", "detail": text}
    return kind, line or None, fields


class Feeder:
    def __init__(self, folder: Path) -> None:
        self._folder, self._settings = folder, json.loads((folder / "feeder.json").read_text())
        self._quiet = folder / "quiet"
        self._name: str = self._settings["agent"]
        self._history = History(folder / "history.jsonl")
        self._rng = random.Random(f"{self._settings['seed']}/{self._name}/{os.getpid()}")
        self._clock = Clock(self._settings.get("wanders", False), self._quiet)
        setattr(agent.delivery.uplink, "FLUSH_S", 10.0)  # noqa: B010  # the end of a storm asks for empty spools
        path = folder / "state/spool.db"
        self._spool = Spool(path, self._name, boot_id(), self._settings.get("spool_bytes", 100_000_000))
        broker = msgspec.convert(self._settings["broker"], Broker, dec_hook=lambda kind, value: kind(value))
        self._uplink = Uplink(broker, self._name, self._spool, 600.0, True, self._clock)

    def run(self) -> None:
        """Until it is killed."""
        self._uplink.start()
        (self._folder / "ready").write_text(str(os.getpid()))
        sampled_at = 0.0
        while True:
            if self._quiet.exists():
                time.sleep(0.1)
                continue
            self._commit()
            if time.monotonic() - sampled_at > 1:
                sampled_at = time.monotonic()
                size = self._spool.size_bytes()
                self._history.say("sample", name=self._name, spool_bytes=size, rss_bytes=rss_bytes(os.getpid()))
            time.sleep(min(1.0, self._rng.expovariate(self._settings["pace"])))

    def _commit(self) -> None:
        token = f"tok-{uuid.uuid4().hex}"
        poisonous = self._rng.random() < self._settings.get("poison", 0.0)
        kind, line, fields = invented(self._rng, token, poisonous)
        taken = self._clock()
        true_us = time.time_ns() // 1000
        self._history.say(
            "intent",
            token=token,
            agent=self._name,
            line=line,
            kind=kind.__name__.lower(),
            fields=fields,
            true_us=true_us,
            at_us=round(taken.wall.timestamp() * 1e6) if taken.synced else None,
            poison=poisonous,
        )
        try:
            seq = self._spool.commit(msgspec.convert(fields, kind), line, taken)
        except SpoolError as error:  # nothing was promised
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.1)
            return
        self._history.say("committed", token=token, spool=str(self._spool.id), seq=seq)


def rss_bytes(pid: int) -> int:
    """The memory that a process holds now; 0 where it has gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main(folder: str) -> None:
    setup("info")
    Feeder(Path(folder)).run()


if __name__ == "__main__":
    main(sys.argv[1])
