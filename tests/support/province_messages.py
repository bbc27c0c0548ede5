"""A day of a province's messages, with figures as random as a real unit's: as its code reckons and writes them."""

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge

import msgspec

from agent.measure.goodput import figures
from agent.measure.latency import summary
from collector.ingest.archive_record import ArchiveRecord
from xomnet.contract.messages import KIND_OF, Data, Health, Interface, Speed

EVERY_S = 300.0
TESTS_A_DAY = 9
"""Of a line; with 288 probes of each line and 288 of the unit: 64 % latency, 34 % health, 2 % speed."""
DAY_S = 86_400.0
PORTS = {"eth0": 1000.0, "wwan0": None}


@dataclass
class _Unit:
    """A unit with a fixed and a mobile line."""

    agent: str
    rng: random.Random
    spool: uuid.UUID = field(init=False)
    boot: uuid.UUID = field(init=False)
    seq: int = field(init=False)

    def __post_init__(self) -> None:
        self.spool, self.boot = (uuid.UUID(int=self.rng.getrandbits(128), version=4) for _ in range(2))
        self.seq = self.rng.randrange(1000, 300_000)
        self.booted_s = self.rng.uniform(1, 60) * DAY_S
        self.free = self.rng.randrange(20, 28) * 10**9
        self.rss = self.rng.randrange(48, 62) * 2**20
        self.counters = {name: [self.rng.randrange(10**9, 10**12), self.rng.randrange(10**8, 10**10)] for name in PORTS}
        self.round_trip_ms = {"ftth": self.rng.uniform(3, 12), "4g": self.rng.uniform(25, 60)}
        self.down_s = {line: self.rng.uniform(0, 5 * DAY_S) for line in ("ftth", "4g")}
        self.mbps = {"ftth": self.rng.gauss(160, 30), "4g": max(10, self.rng.gauss(70, 20))}

    def day(self, begin: dt.datetime) -> Iterator[ArchiveRecord]:
        """In the order of time."""
        tests = sorted(
            (self.rng.uniform(0, DAY_S), line) for line in self.mbps for _ in range(self.rng.choice((8, 9, 10)))
        )
        due_s = self.rng.uniform(0, EVERY_S)
        while due_s < DAY_S:
            while tests and tests[0][0] < due_s:
                at_s, line = tests.pop(0)
                yield self._message(begin, at_s, line, self._speed(line), self.rng.uniform(6, 11))
            for line in self.mbps:
                yield self._message(begin, due_s, line, self._latency(begin, due_s, line), 4.3)
                due_s += 4.2 + self.rng.expovariate(8)
            yield self._message(begin, due_s, None, self._health(due_s), 0.05)
            due_s += EVERY_S - 8.4 + self.rng.expovariate(2)

    def _message(self, begin: dt.datetime, at_s: float, line: str | None, data: Data, takes_s: float) -> ArchiveRecord:
        at = begin + dt.timedelta(seconds=at_s)
        self.seq += 1
        message = {
            **{"v": 1, "agent": self.agent, "spool": str(self.spool), "seq": self.seq, "boot": str(self.boot)},
            **({} if line is None else {"line": line}),
            "kind": KIND_OF[type(data)],
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "clock": "synced",
            "data": data,
        }
        received = at + dt.timedelta(seconds=takes_s + self.rng.lognormvariate(-2.5, 0.6))
        return ArchiveRecord(int(received.timestamp() * 1000), self.agent, msgspec.json.encode(message))

    def _latency(self, begin: dt.datetime, at_s: float, line: str) -> Data:
        base, spread = self.round_trip_ms[line], 0.1 if line == "ftth" else 0.5
        series: list[list[float | None]] = []
        for number in range(2):
            sent_s = begin.timestamp() + at_s + 2.1 * number
            took = [base * (1 + 0.2 * number) + base * spread * self.rng.lognormvariate(-1.5, 0.8) for _ in range(10)]
            lost, down = self.rng.random() < 0.02, self.down_s[line] <= at_s < self.down_s[line] + 3600
            # the difference of two wall clocks, which are doubles
            trips = [((sent_s + i * 0.2 + ms / 1000) - (sent_s + i * 0.2)) * 1000 for i, ms in enumerate(took)]
            series.append([None if down or (lost and i == 3) else trip for i, trip in enumerate(trips)])
        return summary("icmp", ["203.162.0.181", "8.8.8.8"], series)

    def _health(self, at_s: float) -> Data:
        rng = self.rng
        self.free -= rng.choice((0, 0, 4096, 8192, 40_960))
        self.rss += rng.choice((0, 0, 0, 4096, 8192, -4096))
        for counter in self.counters.values():
            counter[0] += int(rng.lognormvariate(13, 1.2))
            counter[1] += int(rng.lognormvariate(11, 1.0))
        ports = [
            Interface(name=name, up=True, rx_bytes=rx, tx_bytes=tx, link_mbps=PORTS[name])
            for name, (rx, tx) in self.counters.items()
        ]
        return Health(
            version="0.1.0",
            cpu_percent=round(rng.lognormvariate(1.0, 0.5), 1),
            load1=round(rng.lognormvariate(-2, 0.8), 2),
            mem_used_percent=round(rng.gauss(24, 0.3), 1),
            disk_free_bytes=self.free,
            disk_used_percent=round(100 - self.free / 3e8, 1),
            uptime_s=(self.booted_s + at_s) + rng.randrange(10**6) / 1e9,
            rss_bytes=self.rss,
            spool_depth=rng.choice((0, 1, 1, 2)),
            spool_bytes=rng.choice((0, 683, 706, 1389)),
            clock_synced=True,
            clock_error_ms=rng.randrange(2_000, 60_000) / 1000,
            temp_c=45.764 + 0.487 * rng.randrange(14),
            throttled=0,
            interfaces=tuple(ports),
        )

    def _speed(self, line: str) -> Data:
        rng, mbps = self.rng, self.mbps[line]
        counts, at_s, moved = [(0.0, 0)], 0.0, 0
        while at_s < 10.0:
            at_s += 0.05 + rng.expovariate(500)
            rate = mbps * min(1.0, 0.2 + at_s) * rng.gauss(1, 0.06 if line == "ftth" else 0.2)
            moved += max(0, int(rate * 125_000 * 0.05))
            counts.append((at_s, moved))
        found = figures(counts, rng.choice((1.5, 2.0, 2.5)))
        idle = self.round_trip_ms[line] * rng.lognormvariate(0, 0.1)
        return Speed(
            engine="http",
            server="http://do-toc-do.ninhbinh.gov.vn:8080/",
            down_mbps=found.down_mbps,
            gross_mbps=found.gross_mbps,
            trimmed_mbps=found.trimmed_mbps,
            bytes=moved,
            duration_s=at_s,
            measured_s=found.measured_s,
            streams=4,
            stop_reason="time",
            flags=rng.choice(((), (), (), (), ("cross_traffic",), ("audit",))),
            connect_ms=idle,
            rtt_idle_ms=idle * 1.01,
            rtt_loaded_ms=idle * rng.uniform(1.5, 9),
            rtt_loaded_p95_ms=idle * rng.uniform(9, 15),
            cpu_s=rng.uniform(0.2, 0.9),
            cpu_wait_s=rng.randrange(10**8) / 1e9,
            other_bytes=rng.randrange(2_000_000),
            reordered_packets=rng.randrange(400),
            link_mbps=PORTS["eth0"] if line == "ftth" else None,
            budget_used_bytes=self.counters["wwan0"][0] % 10**10 if line == "4g" else None,
            budget_bytes=10_000_000_000 if line == "4g" else None,
            series_mbps=found.series_mbps,
        )


def province_day(units: int, begin: dt.datetime, seed: int = 1) -> Iterator[ArchiveRecord]:
    """In the order of receipt; `begin` is the first moment of the day."""
    of_units = [_Unit(f"nb-haihau-{number:04}", random.Random(f"{seed}/{number}")) for number in range(units)]
    return merge(*(unit.day(begin) for unit in of_units), key=lambda one: one.received_ms)
