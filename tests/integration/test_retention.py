"""Old results go, and what was made of them stays."""

from pathlib import Path

import pytest

from collector.rollups.aggregate import day_of, hour_of
from collector.store import Store
from collector.store.influx import InfluxStore
from collector.store.points import Point, time_ns
from collector.store.retention import Retention
from collector.store.sqlite import SqliteStore
from tests.support.deployment import Collector, made, plain, until
from tests.support.rolled import DAY, LATER, MINUTE, NOW, TAGS, ZONE, fields, rollups, settle
from tests.support.sender import ROWS, Sender, result
from tests.support.services import InfluxV2, Mosquitto
from tests.support.stored import latency, outage, speed
from xomnet.runtime.clock import utc_now

pytestmark = pytest.mark.date


def sqlite(folder: Path, keep_days: int | None) -> SqliteStore:
    retention = None if keep_days is None else Retention(keep_days, lambda: LATER)
    return SqliteStore(folder / "store.db", retention=retention)


def test_old_results_go_in_small_steps_and_their_roll_ups_stay(tmp_path: Path) -> None:
    old = NOW - 80 * DAY
    store = sqlite(tmp_path, None)
    store.write(
        [make(old + n * MINUTE, 4 * n + k) for n in range(400) for k, make in enumerate((speed, latency, outage))]
    )
    told = rollups(store, sweep_days=85)
    settle(told)
    before = fields(store, "line_day", day_of(old, ZONE), **TAGS)
    assert before["tests"]
    store.close()
    store = sqlite(tmp_path, 70)
    counts = []
    for n in range(5):
        store.write([make(NOW + n * MINUTE, 9000 + n) for make in (speed, latency, outage)])
        counts.append(sum(store.figures.counts(old - DAY, old + DAY).values()))
    assert counts == [3 * (400 - 102 * (n + 1)) if n < 3 else 0 for n in range(5)]
    settle(rollups(store, keep_days=70, sweep_days=85))
    assert fields(store, "line_day", day_of(old, ZONE), **TAGS) == before
    store.close()


def test_a_result_older_than_what_is_kept_is_rejected_with_the_reason(tmp_path: Path) -> None:
    store = sqlite(tmp_path, 70)
    late, good = speed(NOW - 75 * DAY, 1), speed(NOW - 60 * DAY, 2)
    (rejection,) = store.write([late, good])
    assert rejection.point is late
    assert "kept for 70 days (store.keep_days)" in rejection.reason
    assert store.write([Point("line_day", {**TAGS}, {"tests": 1}, time_ns(NOW - 90 * DAY))]) == []
    store.close()


def test_a_bucket_that_is_partly_gone_is_left_as_it_was_rolled_up(store: Store) -> None:
    old = hour_of(NOW - 71 * DAY).since
    before = [speed(old, n, down_mbps=float(n)) for n in (1, 2, 3)]
    store.write(before)
    told = rollups(store)
    told.on_stored(before)
    settle(told)
    more = [speed(old + MINUTE, 4)]
    store.write(more)
    keeping = rollups(store, keep_days=70)
    keeping.on_stored(more)
    settle(keeping)
    assert fields(store, "line_hour", hour_of(old), **TAGS)["tests"] == 3
    told.on_stored(more)
    settle(told, LATER + 10 * MINUTE)
    assert fields(store, "line_hour", hour_of(old), **TAGS)["tests"] == 4


def test_roll_ups_may_have_a_database_of_their_own(influx_v2: InfluxV2) -> None:
    influx_v2.create("results", duration="2400h")
    influx_v2.create("kept-for-ever")
    store = InfluxStore(influx_v2.url, "any", "results", rollups_bucket="kept-for-ever")
    store.write([speed(NOW, 1)])
    settle(rollups(store))
    assert fields(store, "line_day", day_of(NOW, ZONE), **TAGS)["tests"] == 1
    shown = [influx_v2.query("SHOW MEASUREMENTS", name) for name in ("results", "kept-for-ever")]
    assert ["line_day" in text for text in shown] == [False, True]
    assert ["speed" in text for text in shown] == [True, False]
    store.close()


def test_a_unit_hears_why_its_result_of_long_ago_is_not_taken(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """After months without a connection a unit sends what it has: it must learn what it may let go of."""
    keeping = {"kind": "sqlite", "path": "store.db", "keep_days": 70}
    with Collector(made(tmp_path, "collector"), plain(mosquitto), ROWS, store=keeping) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(mosquitto.port)
        for seq, days in ((1, 75), (2, 69), (3, 0)):
            at = utc_now() - days * DAY
            sender.send(result(seq, at=at.isoformat()))
        until(lambda: sender.stored() | sender.rejected().keys() == {1, 2, 3}, "all are answered")
        assert sender.stored() == {2, 3}
        assert "results are kept for 70 days (store.keep_days)" in sender.rejected()[1]
        (letter,) = collector.get("/api/v1/rejected")["rejected"]
        assert letter["seq"] == 1
        sender.close()
