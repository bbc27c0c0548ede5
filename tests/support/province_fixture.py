"""A province in small for the tests of page and REST: hamlets of Nam Định in all six states, in a real store."""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from collector.alerts.alert import AlertRules
from collector.alerts.channels import NotificationSettings
from collector.alerts.service import AlertService
from collector.alerts.store import AlertStore
from collector.commands.commands import Commands
from collector.completeness.completeness import Completeness
from collector.ingest.dead_letters import DeadLetters, dead_letter
from collector.ingest.presence import Presence
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates
from collector.metrics import Metrics
from collector.services import Services
from collector.store import Store
from collector.store.points import Point, point_of
from collector.store.sqlite import SqliteStore
from xomnet.contract.messages import (
    Access,
    Envelope,
    Health,
    HealthResult,
    Latency,
    LatencyResult,
    Outage,
    OutageResult,
    Result,
    Speed,
    SpeedResult,
)
from xomnet.plan import is_peak
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.clock import utc_now
from xomnet.targets import Target, Targets

DAY_ONE = dt.date(2026, 1, 1)
TARGETS = Targets(
    [
        Target(access="mobile", from_=dt.date(2024, 10, 8), down_mbps=70),
        Target(access="fixed", from_=dt.date(2024, 10, 8), down_mbps=150),
    ]
)
RULES = JudgingRules(window=dt.timedelta(hours=24), silent_after=dt.timedelta(hours=4))


@dataclass(frozen=True)
class Seed:
    """A line and how it behaves: `mbps` is its middle, `last_h` how long ago its last result was."""

    agent: str
    line: str
    access: Access
    hamlet: str
    area: str
    isp: str
    mbps: float | None
    lat: float | None = None
    lon: float | None = None
    plan: float | None = None
    days: float = 2
    last_h: float = 0.1
    spread: float = 0.05
    flag: str | None = None
    fails: bool = False
    outages: bool = False
    every_h: float = 1.5


HN, HH, GT, NH, YY, XT, VB = (
    f"Nam Định/{name}" for name in ("Trực Ninh", "Hải Hậu", "Giao Thủy", "Nghĩa Hưng", "Ý Yên", "Xuân Trường", "Vụ Bản")
)

SEEDS = [
    Seed("nd-haihau-0012", "ftth", "fixed", "Xóm 5", f"{HH}/Hải Minh", "VNPT", 171, 20.2101, 106.2456, 200, 30),
    Seed("nd-haihau-0012", "4g", "mobile", "Xóm 5", f"{HH}/Hải Minh", "Viettel", 84, 20.2101, 106.2456),
    Seed("nd-giaothuy-0002", "4g", "mobile", "Xóm 2", f"{GT}/Giao Thiện", "Viettel", 42, 20.2577, 106.5409,
         days=30, outages=True, fails=True, flag="weak_radio", spread=0.18),
    Seed("nd-nghiahung-0007", "ftth", "fixed", "Xóm Đông", f"{NH}/Nghĩa Lợi", "Viettel", 149, 19.9873, 106.1502,
         300, last_h=7),
    Seed("nd-yyen-0003", "ftth", "fixed", "Thôn Vạn Điểm", f"{YY}/Yên Xá", "FPT", 236, 20.3301, 106.0305, 300),
    Seed("nd-yyen-0003", "4g", "mobile", "Thôn Vạn Điểm", f"{YY}/Yên Xá", "MobiFone", 71, 20.3301, 106.0305,
         spread=0.2),
    Seed("nd-xuantruong-0001", "ftth", "fixed", "Xóm 14", f"{XT}/Xuân Hồng", "VNPT", 96, 20.3242, 106.3391, 100),
    Seed("nd-xuantruong-0001", "4g", "mobile", "Xóm 14", f"{XT}/Xuân Hồng", "VinaPhone", 128, 20.3242, 106.3391),
    Seed("nd-vuban-0004", "ftth", "fixed", "Thôn Tiền", f"{VB}/Kim Thái", "FPT", 118, 20.3702, 106.0868, 200,
         flag="cross_traffic"),
    Seed("nd-vuban-0005", "4g", "mobile", "Thôn Quả Linh", f"{VB}/Thành Lợi", "Viettel", 77, 20.3933, 106.1450,
         every_h=7),
    Seed("nd-trucninh-0009", "ftth", "fixed", "Xóm Cự Trữ", f"{HN}/Phương Định", "VNPT", 158, 20.2702, 106.2203, 200),
    Seed("nd-trucninh-0009", "4g", "mobile", "Xóm Cự Trữ", f"{HN}/Phương Định", "MobiFone", 61, 20.2702, 106.2203,
         fails=True),
    Seed("nd-haihau-0031", "4g", "mobile", "Xóm Xuân Hà", f"{HH}/Hải Đông", "VinaPhone", None, 20.1204, 106.3107),
    Seed("nd-giaothuy-0011", "ftth", "fixed", "Xóm Thiện Xuân", f"{GT}/Bạch Long", "Viettel", 312, None, None, 300),
]  # fmt: skip

HOSTILE = Seed(
    "nd-hostile-0001", "ftth", "fixed", "<script>alert('xóm')</script>",
    'Nam Định/"><img src=x onerror=alert(1)>/&amp;',
    "O'Net \"<b>" + "rất-dài-" * 12, 90, 20.21, 106.4, 200,
)  # fmt: skip


def rows(seeds: list[Seed]) -> list[LineRow]:
    return [
        LineRow(s.agent, s.line, s.access, s.hamlet, s.area, s.isp, DAY_ONE, "eth0" if s.access == "fixed" else "wwan0",
                lat=s.lat, lon=s.lon, plan_mbps=s.plan)
        for s in seeds
    ]  # fmt: skip


def results(seeds: list[Seed], now: dt.datetime) -> Iterator[Result]:
    """Everything that the units measured up to `now`."""
    chance = random.Random(7)
    for number, seed in enumerate(seeds):
        base = {"v": 1, "agent": seed.agent, "spool": UUID(int=number), "boot": UUID(int=99), "clock": "synced"}
        seq = 0
        if seed.mbps is None:
            continue
        last = now - dt.timedelta(hours=seed.last_h)
        at = now - dt.timedelta(days=seed.days)
        while at < last:
            seq += 1
            yield SpeedResult(**base, seq=seq, at=at, line=seed.line, data=_speed(seed, seq, at, chance))  # type: ignore[arg-type]
            at += dt.timedelta(hours=seed.every_h * chance.uniform(0.7, 1.3))
        at = now - dt.timedelta(days=min(seed.days, 30))
        while at < last:
            seq += 1
            yield LatencyResult(**base, seq=seq, at=at, line=seed.line, data=_latency(seed, chance))  # type: ignore[arg-type]
            at += dt.timedelta(minutes=20)
        if seed.outages:
            for days in (26, 19.4, 11.2, 11.1, 3.3, 0.4):
                seq += 1
                data = Outage(duration_s=chance.uniform(120, 9000), failed_probes=5)
                yield OutageResult(**base, seq=seq, at=now - dt.timedelta(days=days), line=seed.line, data=data)  # type: ignore[arg-type]
        seq += 1
        yield HealthResult(**base, seq=seq, at=last, data=_health(seq))  # type: ignore[arg-type]


def _speed(seed: Seed, seq: int, at: dt.datetime, chance: random.Random) -> Speed:
    assert seed.mbps is not None
    if seed.fails and seq % 9 == 4:
        down = seq % 18 == 4
        return Speed(engine="http", server="do.example.vn", error="link_down" if down else "timeout",
                     flags=("link_down",) if down else ("server_busy",),
                     error_detail=None if down else "recv: 15 s")  # fmt: skip
    evening = is_peak((at.hour + 7) % 24)
    mbps = max(1.0, seed.mbps * chance.gauss(0.9 if evening else 1.0, seed.spread))
    flags = ((seed.flag,) if seed.flag and seq % 4 == 1 else ()) + (("cross_traffic",) if seq % 13 == 6 else ())
    rtt = chance.gauss(9 if seed.access == "fixed" else 34, 2)
    audit = seq % 10 == 3
    flags += ("audit",) if audit else ()
    return Speed(engine="http", server="do.example.vn", down_mbps=round(mbps, 2),
                 early_mbps=round(mbps, 2) * 0.998 if audit else None, bytes=int(mbps * 400_000),
                 duration_s=round(chance.uniform(2.8, 4.4), 1), streams=6, stop_reason="stable", flags=flags,
                 rtt_idle_ms=round(rtt, 1), rtt_loaded_ms=round(rtt * chance.uniform(1.5, 4), 1))  # fmt: skip


def _latency(seed: Seed, chance: random.Random) -> Latency:
    lost = chance.choice([0] * 60 + [1, 1, 2, 6]) if seed.access == "mobile" else chance.choice([0] * 80 + [1])
    middle = abs(chance.gauss(9 if seed.access == "fixed" else 34, 3)) + 1
    return Latency(method="icmp", anchors=("192.0.2.1",), sent=20, received=20 - lost, loss_percent=lost * 5.0,
                   rtt_min_ms=middle * 0.8, rtt_p50_ms=middle,
                   rtt_p95_ms=middle * chance.uniform(1.2, 2.2))  # fmt: skip


def _health(seq: int) -> Health:
    return Health(version="0.1.0", cpu_percent=3.5, load1=0.1, mem_used_percent=31, disk_free_bytes=20 * 10**9,
                  disk_used_percent=22, uptime_s=86_400, rss_bytes=30 * 10**6, spool_depth=seq % 3, spool_bytes=4096,
                  clock_synced=True, temp_c=51.5, throttled=0)  # fmt: skip


@dataclass
class Heard:
    """What the broker said, for tests."""

    seen: list[Presence]
    said: str | None = None

    def agents(self) -> list[Presence]:
        return self.seen

    def trouble(self) -> str | None:
        return self.said


def fill(store: Store, seeds: list[Seed], now: dt.datetime) -> None:
    registered = {(row.agent, row.line): row for row in rows(seeds)}
    of_agent = {row.agent: row for row in registered.values()}
    points: list[Point] = []
    for result in results(seeds, now):
        assert isinstance(result, Envelope)
        row = of_agent[result.agent] if isinstance(result, HealthResult) else registered[result.agent, str(result.line)]
        points.append(point_of(result, row))
    assert store.write(points) == []


def services(
    folder: Path, seeds: list[Seed], store: Store | None = None, rules: JudgingRules = RULES, interval_s: float = 60
) -> Services:
    """A collector's readers over a SQLite store in `folder`; no snapshot is taken yet."""
    store = SqliteStore(folder / "results.db") if store is None else store
    registry = Registry(rows(seeds), TARGETS)
    metrics = Metrics()
    now = utc_now()
    seen = [Presence(agent, True, "0.1.0", now) for agent in sorted({s.agent for s in seeds if s.mbps is not None})]
    dead = DeadLetters(folder / "rejected.jsonl")
    dead.append([dead_letter("xomnet/v1/nd-unknown-0001/up", b'{"v":1}', "unknown_agent", "not in the registry", now),
               dead_letter("xomnet/v1/nd-yyen-0003/up", b"\xff\xfe", "malformed", "not JSON", now,
                      "nd-yyen-0003")])  # fmt: skip
    completeness = Completeness(store, lambda: registry, dead, metrics)
    alerts = AlertService(AlertStore(folder / "alerts.db"), store, AlertRules(), NotificationSettings(), rules.window,
                lambda: completeness.latest, metrics)  # fmt: skip
    lines = LineStates(store, lambda: registry, rules, interval_s, listeners=(alerts,))
    return Services(
        store=store,
        registry=lambda: registry,
        lines=lines,
        dead_letters=dead,
        metrics=metrics,
        agents=Heard(seen),
        completeness=completeness,
        commands=Commands(utc_now),
        alerts=alerts,
    )


def province(folder: Path, seeds: list[Seed] | None = None) -> Services:
    """Filled and judged."""
    seeds = SEEDS if seeds is None else seeds
    made = services(folder, seeds)
    now = utc_now()
    fill(made.store, seeds, now)
    made.lines.take(now)
    while made.completeness.step(now):
        pass
    return made
