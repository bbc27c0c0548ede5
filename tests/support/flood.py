"""A line that sends without end, beside one that does not: as many tests as one likes, put into a store past the
product, so that it is quick.
"""

import datetime as dt
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from collector.judge.assess import JudgingRules
from collector.services import Services
from collector.store import Store
from collector.store.influx import InfluxStore
from collector.store.line_protocol import line_protocol
from collector.store.points import Point, point_of
from collector.store.rows import check_points
from collector.store.sqlite import SqliteStore
from tests.support.province_fixture import Seed, fill, rows, services
from tests.support.services import Influx
from xomnet.contract.messages import Speed, SpeedResult
from xomnet.runtime.clock import utc_now

WINDOW = dt.timedelta(hours=72)
AREA = "Ninh Bình/xã Hải Anh"
LOUD = Seed("nd-a", "ftth", "fixed", "Xóm 1", AREA, "VNPT", 150, days=3)
QUIET = Seed("nd-b", "ftth", "fixed", "Xóm 2", AREA, "FPT", 200, days=3)
BOTH = [LOUD, QUIET]
FIRST_SEQ = 10_000_000
BATCH = 10_000


def judged(folder: Path, store: Store) -> Services:
    """What page and REST read, after the first look."""
    found = services(folder, BOTH, store, JudgingRules(silent_after=dt.timedelta(hours=4)))
    found.lines.take(utc_now())
    while found.completeness.step(utc_now()):
        pass
    return found


def flooded_sqlite(folder: Path, number: int, span: dt.timedelta = WINDOW) -> SqliteStore:
    """`store.db` of a folder, in which one line has `number` more tests than it should have, evenly over the time."""
    folder.mkdir(exist_ok=True)
    store, now = SqliteStore(folder / "store.db"), utc_now()
    fill(store, BOTH, now)
    last = _last_test(now)
    assert store.write([last]) == []
    with closing(sqlite3.connect(folder / "store.db", timeout=30)) as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(speed)")]
        kept = ", ".join(f'"{name}"' for name in names if name not in ("time_ns", "seq", "down_mbps"))
        database.execute(
            f"""WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
            INSERT INTO speed (time_ns, seq, down_mbps, {kept})
            SELECT time_ns - n * ?, seq + n, 100 + n * 7919 % 1000 / 10.0, {kept} FROM speed, counted
            WHERE agent = 'nd-a' AND seq = ?""",
            (number - 1, _apart_ns(number, span), FIRST_SEQ),
        )
        database.commit()
    return store


@contextmanager
def flooded_influx(server: Influx, number: int, span: dt.timedelta = WINDOW) -> Iterator[InfluxStore]:
    """The same in a database of its own."""
    bucket = f"flooded-{uuid.uuid4().hex[:12]}"
    server.create(bucket)
    store, now = InfluxStore(server.url, "any", bucket), utc_now()
    try:
        fill(store, BOTH, now)
        copies = _copies(_last_test(now), number, _apart_ns(number, span))
        lines = [line_protocol(one) for one in check_points(copies)[0]]
        for first in range(0, number, BATCH):
            server.write(bucket, "\n".join(lines[first : first + BATCH]))
        yield store
    finally:
        store.close()


def _last_test(now: dt.datetime) -> Point:
    """A test of a minute ago, to be copied."""
    data = Speed(engine="http", server="http://s1.example/", down_mbps=150.0, rtt_loaded_ms=30.0, bytes=10**7)
    ids: dict[str, Any] = {"spool": uuid.UUID(int=77), "boot": uuid.UUID(int=1), "seq": FIRST_SEQ}
    at = now - dt.timedelta(minutes=1)
    result = SpeedResult(v=1, agent="nd-a", line="ftth", at=at, clock="synced", data=data, **ids)
    return point_of(result, rows([LOUD])[0])


def _apart_ns(number: int, span: dt.timedelta) -> int:
    return span // dt.timedelta(microseconds=1) * 1000 // number


def _copies(last: Point, number: int, apart_ns: int) -> Iterator[Point]:
    for n in range(number):
        fields = {**last.fields, "seq": FIRST_SEQ + n, "down_mbps": 100 + n * 7919 % 1000 / 10}
        yield replace(last, fields=fields, time_ns=last.time_ns - n * apart_ns)
