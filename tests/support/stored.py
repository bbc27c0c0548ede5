"""Points and a registry for the tests of the store."""

import dataclasses
import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from collector.store import Store
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.points import Point, milliseconds, point_of
from collector.store.sqlite import SqliteStore
from xomnet.contract.messages import (
    Event,
    EventResult,
    Health,
    HealthResult,
    Latency,
    LatencyResult,
    Outage,
    OutageResult,
    Speed,
    SpeedResult,
)
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

NOW = dt.datetime(2026, 10, 14, 3, 20, tzinfo=dt.UTC)

AGENT = "nd-a-1"
LINE = LineId(AGENT, "ftth")
SERVER = "http://s1.example/"
SPOOL, BOOT = "6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11", "0d3f5f2a-51b4-4d0b-8c4e-51d7a0f6a0aa"


def new_store(request: pytest.FixtureRequest, folder: Path) -> Store:
    """An empty store of the kind `request.param`: a SQLite file in `folder`, or a database of the run's influxd."""
    if request.param == "sqlite":
        return SqliteStore(folder / "store.db")
    server, bucket = request.getfixturevalue("influx_v2"), f"store-{uuid.uuid4().hex[:12]}"
    server.create(bucket)
    return InfluxStore(server.url, "any", bucket)


def row(line: LineId) -> LineRow:
    access = "mobile" if line.line == "4g" else "fixed"
    place = ("Xóm 5", "Nam Định/Hải Hậu/Hải Minh", "VNPT")
    return LineRow(line.agent, line.line, access, *place, from_=dt.date(2024, 1, 1))  # type: ignore[arg-type]


def registry() -> Registry:
    """A fixed and a mobile line of one unit, and a unit that never reported."""
    day = dt.date(2024, 10, 8)
    targets = Targets(
        [Target(access="fixed", from_=day, down_mbps=150), Target(access="mobile", from_=day, down_mbps=70)]
    )
    return Registry([row(LINE), row(LineId(AGENT, "4g")), row(LineId("nd-b-2", "ftth"))], targets)


def speed(at: dt.datetime, seq: int, line: LineId = LINE, **data: Any) -> Point:
    """A download test of 100 Mb/s, but for what `data` says; None for what is absent."""
    found = {"engine": "http", "server": SERVER, "down_mbps": 100.0, **data}
    return point_of(SpeedResult(**_envelope(at, seq, line.agent), line=line.line, data=Speed(**found)), row(line))


def latency(at: dt.datetime, seq: int, line: LineId = LINE, **data: Any) -> Point:
    """Ten echoes, all answered."""
    found = {"method": "icmp", "anchors": ("1.1.1.1",), "sent": 10, "received": 10, "loss_percent": 0.0, **data}
    result = LatencyResult(**_envelope(at, seq, line.agent), line=line.line, data=Latency(**found))
    return point_of(result, row(line))


def outage(at: dt.datetime, seq: int, line: LineId = LINE, **data: Any) -> Point:
    found = {"duration_s": 60.0, "failed_probes": 4, **data}
    return point_of(OutageResult(**_envelope(at, seq, line.agent), line=line.line, data=Outage(**found)), row(line))


def health(at: dt.datetime, seq: int, agent: str = AGENT, **data: Any) -> Point:
    found: dict[str, Any] = {
        "version": "0.1.0",
        "cpu_percent": 3.0,
        "load1": 0.1,
        "mem_used_percent": 20.0,
        "disk_free_bytes": 10**10,
        "disk_used_percent": 30.0,
        "uptime_s": 3600.0,
        "rss_bytes": 40_000_000,
        "spool_depth": 0,
        "spool_bytes": 4096,
        "clock_synced": True,
    }
    result = HealthResult(**_envelope(at, seq, agent), data=Health(**{**found, **data}))
    return point_of(result, row(LineId(agent, "ftth")))


def event(at: dt.datetime, seq: int, name: str, line: LineId = LINE, **data: Any) -> Point:
    """An event of a line, or of the unit itself where the line is ''."""
    result = EventResult(**_envelope(at, seq, line.agent), line=line.line or None, data=Event(name=name, **data))
    return point_of(result, row(line))


def manifest(at: dt.datetime, seq: int, seqs: Iterable[int], last: int, first: int = 1, line: LineId = LINE) -> Point:
    """What the spool says that it took in of a line from `first` to `last`."""
    held = sorted(seqs)
    digest = hashlib.sha256(",".join(map(str, held)).encode()).hexdigest()[:32]
    span = {"first_seq": first, "last_seq": last}
    return event(at, seq, "manifest", line, count=len(held), digest=digest, **span)


def tagged(point: Point, **tags: str) -> Point:
    """The same point under other tags."""
    return dataclasses.replace(point, tags={**point.tags, **tags})


def received(point: Point, at: dt.datetime, late: bool = False) -> Point:
    """The same point as the intake gives it to the store."""
    fields = {**point.fields, "received_ms": milliseconds(at), **({"late": True} if late else {})}
    return dataclasses.replace(point, fields=fields)


def _envelope(at: dt.datetime, seq: int, agent: str) -> dict[str, Any]:
    return {"v": 1, "agent": agent, "spool": SPOOL, "seq": seq, "boot": BOOT, "at": at, "clock": "synced"}
