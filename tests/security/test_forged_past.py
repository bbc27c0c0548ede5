"""A thief rewrites the past with a stolen key: nothing honest is replaced, and what he adds is named late."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.store import Store
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.row_types import SpeedRow
from collector.store.sqlite import SqliteStore
from tests.support.deployment import DATABASE, ENDLESS, Collector, made, plain, until
from tests.support.sender import ROWS, SPOOL, Sender, result
from tests.support.services import InfluxV2, Mosquitto

LINE = LineId("nd-a", "ftth")
DAYS = 90
THIEFS = str(uuid.UUID(int=66))
HEALTH = {
    "version": "0.1.0",
    "cpu_percent": 3.0,
    "load1": 0.1,
    "mem_used_percent": 20.0,
    "disk_free_bytes": 10**10,
    "disk_used_percent": 30.0,
    "uptime_s": 3600.0,
    "rss_bytes": 40_000_000,
    "spool_bytes": 4096,
    "clock_synced": True,
}


class Victim:
    """nd-a, which has measured each day for three months, and somebody who has its key."""

    def __init__(self, sender: Sender, now: dt.datetime) -> None:
        self._sender = sender
        self._days = [now - dt.timedelta(days=day) for day in range(DAYS, 0, -1)]
        self._now = now

    def measures(self) -> None:
        """Seq 1 to 90 are its tests, from 101 on its reports; one of them is of now."""
        for seq, at in enumerate(self._days, 1):
            self._send(seq, at, 100.0)
            self._report(100 + seq, at, 0)
        self._report(200, self._now, 0)
        self._wait(set(range(1, DAYS + 1)) | {200})

    def is_robbed(self, spool: str, shift: int, mbps: float = 5.0, waiting: int | None = None) -> None:
        if waiting is not None:
            self._report(900_000 + shift, self._now + dt.timedelta(seconds=5), waiting, spool)
        for seq, at in enumerate(self._days, 1):
            self._send(seq + shift, at, mbps, spool)
        self._wait({seq + shift for seq in range(1, DAYS + 1)})

    def _send(self, seq: int, at: dt.datetime, mbps: float, spool: str = SPOOL) -> None:
        data = {"engine": "http", "server": "http://s.example/", "down_mbps": mbps}
        self._sender.send(result(seq, kind="speed", at=at.isoformat(), spool=spool, data=data))

    def _report(self, seq: int, at: dt.datetime, waiting: int, spool: str = SPOOL) -> None:
        health: dict[str, Any] = result(seq, kind="health", at=at.isoformat(), spool=spool)
        del health["line"]
        self._sender.send({**health, "data": {**HEALTH, "spool_depth": waiting}})

    def _wait(self, seqs: set[int]) -> None:
        until(lambda: seqs <= self._sender.stored(), "all are acknowledged", 60)
        self._sender.acks.clear()


@pytest.fixture(params=["sqlite", "influx"])
def database(request: pytest.FixtureRequest) -> InfluxV2 | None:
    if request.param == "sqlite":
        return None
    server: InfluxV2 = request.getfixturevalue("own_influx_v2")
    server.create(DATABASE)
    return server


@pytest.fixture
def collector(tmp_path: Path, mosquitto: Mosquitto, database: InfluxV2 | None) -> Iterator[Collector]:
    folder = made(tmp_path, "collector")
    with Collector(folder, plain(mosquitto), ROWS, database, quota=ENDLESS) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        yield collector


@pytest.fixture
def store(collector: Collector, database: InfluxV2 | None) -> Iterator[Store]:
    found: Store
    if database is None:
        found = SqliteStore(collector.folder / "store.db", read_only=True)
    else:
        found = InfluxStore(database.url, "any", DATABASE)
    yield found
    found.close()


def rows_of(store: Store) -> list[SpeedRow]:
    now = dt.datetime.now(dt.UTC)
    return store.speed(LINE, now - dt.timedelta(days=DAYS + 1), now)


def test_three_months_that_a_thief_writes_today_replace_nothing_and_are_named(
    mosquitto: Mosquitto, collector: Collector, store: Store
) -> None:
    sender = Sender(mosquitto.port)
    victim = Victim(sender, dt.datetime.now(dt.UTC) - dt.timedelta(seconds=30))
    victim.measures()
    honest = rows_of(store)
    assert [(row.down_mbps, row.late) for row in honest] == [(100.0, None)] * DAYS

    victim.is_robbed(SPOOL, 1000)
    victim.is_robbed(THIEFS, 0)
    collector.kill()
    collector.start()
    until(lambda: collector.health()["broker"] == "ok", "the collector is connected again")
    victim.is_robbed(THIEFS, 2000, waiting=100_000)
    victim.is_robbed(SPOOL, 0)  # the very results, with other figures

    found = rows_of(store)
    assert [row for row in found if row.down_mbps == 100.0] == honest
    assert [(row.down_mbps, row.late) for row in found if row.down_mbps != 100.0] == [(5.0, True)] * DAYS * 3
    sender.close()
