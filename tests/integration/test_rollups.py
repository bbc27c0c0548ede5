"""Roll-ups over both stores: what is late, doubled, or stored by others comes out as if all had come in time."""

import datetime as dt
import random
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.rollups.aggregate import MAX_LINE_BYTES, MAX_LINE_OUTAGE_S, day_of, hour_of
from collector.rollups.rollups import ALL_FROM_UNITS, DAYS_EVERY, UNITS_A_QUERY, Rollups
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.points import Point
from collector.store.sqlite import SqliteStore
from tests.support.deployment import Collector, until
from tests.support.rolled import (
    ALL_FIXED,
    DAY,
    HOUR,
    LATER,
    MINUTE,
    MOBILE,
    NOW,
    TAGS,
    ZONE,
    everything,
    fields,
    rollups,
    settle,
)
from tests.support.sender import ROWS, Sender, result
from tests.support.services import InfluxV2
from tests.support.stored import LINE, latency, outage, registry, row, speed
from xomnet.registry.registry import Registry

pytestmark = pytest.mark.date


def test_an_hour_and_a_day_are_rolled_up_for_the_line_and_its_places(store: Store) -> None:
    hour = hour_of(NOW)
    at = hour.since
    told = rollups(store)
    points = [
        *(
            speed(at + n * MINUTE, n, down_mbps=mbps, bytes=10, rtt_loaded_ms=40.0)
            for n, mbps in ((1, 100.0), (2, 200.0))
        ),
        speed(at + 3 * MINUTE, 3, down_mbps=None, error="connect", flags=("link_down",)),
        *(latency(at + n * MINUTE, n, rtt_p50_ms=float(n), rtt_p95_ms=50.0, jitter_ms=2.0) for n in (4, 5, 9)),
        latency(at + 10 * MINUTE, 10, received=0, loss_percent=100.0),
        outage(at + 11 * MINUTE, 11, duration_s=90.0),
        speed(at - MINUTE, 12, down_mbps=500.0),
        speed(at + HOUR, 13, down_mbps=500.0),
    ]
    store.write(points)
    told.on_stored(points)
    settle(told)
    expected = {
        **{"tests": 3, "counted": 3, "failed": 1, "bytes": 20, "probes": 4, "outages": 1, "outage_s": 90.0},
        **{"median_mbps": 100.0, "mean_mbps": 100.0, "p5_mbps": 10.0, "p95_mbps": 190.0},
        **{"target_mbps": 150.0, "ratio": pytest.approx(2 / 3), "rtt_loaded_ms": 40.0},
        **{"rtt_ms": 5.0, "rtt_p95_ms": 50.0, "jitter_ms": 2.0, "loss_percent": 25.0, "excluded": 0},
    }
    assert fields(store, "line_hour", hour, **TAGS) == expected
    place = fields(store, "place_hour", hour, **ALL_FIXED)
    # nd-b-2 never reported
    assert place == {**expected, "lines": 2, "measured": 1, "meeting": 0, "share": 0.0}
    for tags in ({"scope": "area", "place": "Nam Định/Hải Hậu"}, {"scope": "isp", "place": "VNPT"}):
        assert fields(store, "place_hour", hour, **tags, access="fixed") == place
    mobile = fields(store, "place_hour", hour, scope="all", access="mobile")
    assert (mobile["lines"], mobile["measured"], "median_mbps" in mobile) == (1, 0, False)
    days = [fields(store, "line_day", day_of(at + n * HOUR, ZONE), **TAGS) for n in (-24, 0, 24)]
    assert sum(int(day.get("tests", 0)) for day in days) == 5


def test_figures_that_an_earlier_version_took_stop_no_hour_of_the_province(store: Store) -> None:
    hour = hour_of(NOW)
    told = rollups(store)
    absurd = [speed(hour.since + n * MINUTE / 20, n, bytes=2**53) for n in range(1025)]
    points = [*absurd, outage(hour.since + MINUTE, 2000, duration_s=1e10)]
    store.write(points)
    told.on_stored(points)
    settle(told)
    place = fields(store, "place_hour", hour, **ALL_FIXED)
    assert (place["tests"], place["bytes"], place["outage_s"]) == (1025, MAX_LINE_BYTES, MAX_LINE_OUTAGE_S)


def test_a_result_that_comes_weeks_late_corrects_its_hour_day_and_places(store: Store) -> None:
    old = NOW - 20 * DAY
    told = rollups(store)
    first = [speed(old, 1, down_mbps=100.0), speed(old, 1, LineId("nd-b-2", "ftth"), down_mbps=300.0)]
    store.write(first)
    told.on_stored(first)
    settle(told)
    buckets = (("hour", hour_of(old)), ("day", day_of(old, ZONE)))
    assert [fields(store, f"place_{name}", bucket, **ALL_FIXED)["meeting"] for name, bucket in buckets] == [1, 1]
    late = [speed(old + dt.timedelta(seconds=n), n, down_mbps=200.0) for n in (2, 3)]
    store.write(late)
    told.on_stored(late)
    settle(told, LATER + 10 * MINUTE)
    for name, bucket in buckets:
        line = fields(store, f"line_{name}", bucket, **TAGS)
        assert (line["tests"], line["median_mbps"]) == (3, 200.0)
        place = fields(store, f"place_{name}", bucket, **ALL_FIXED)
        assert (place["tests"], place["measured"], place["meeting"], place["median_mbps"]) == (4, 2, 2, 250.0)


def test_an_hour_in_which_nobody_spoke_has_its_lines_all_the_same(store: Store) -> None:
    settle(rollups(store, sweep_days=0))
    for bucket in (hour_of(LATER), hour_of(LATER - HOUR), day_of(LATER, ZONE)):
        found = fields(store, f"place_{bucket.size}", bucket, **ALL_FIXED)
        assert (found["lines"], found["measured"], found["probes"]) == (2, 0, 0)


def some_results(seed: int = 7, hours: int = 30) -> list[Point]:
    draw = random.Random(seed)
    points = []
    for seq in range(1, 120):
        at = NOW - draw.random() * hours * HOUR
        line = draw.choice([LINE, MOBILE, LineId("nd-b-2", "ftth")])
        mbps = draw.choice([None, draw.uniform(20, 300)])
        error = None if mbps is not None else "connect"
        match draw.randrange(3):
            case 0:
                flags = ("link_down",) if error else ()
                points.append(speed(at, seq, line, down_mbps=mbps, error=error, flags=flags, bytes=9))
            case 1:
                rtt, received = draw.uniform(1, 99), draw.randint(0, 10)
                points.append(latency(at, seq, line, received=received, rtt_p50_ms=rtt, jitter_ms=1.5))
            case _:
                points.append(outage(at, seq, line, duration_s=draw.uniform(1, 9999)))
    return points


def test_doing_it_again_changes_nothing(store: Store) -> None:
    points = some_results()
    store.write(points)
    told = rollups(store)
    settle(told)
    before = everything(store)
    assert {key[0] for key in before} == {"line_hour", "line_day", "place_hour", "place_day"}
    store.write(points)
    told.on_stored(points)
    settle(told, LATER + 10 * MINUTE)
    settle(rollups(store), LATER + 20 * MINUTE)
    after = everything(store)
    assert {key: after[key] for key in before} == before


def test_both_stores_roll_up_the_same(tmp_path: Path, influx_v2: InfluxV2) -> None:
    influx_v2.create("rolled-the-same")
    found = []
    for store in (SqliteStore(tmp_path / "store.db"), InfluxStore(influx_v2.url, "any", "rolled-the-same")):
        store.write(some_results())
        settle(rollups(store))
        found.append(everything(store))
        store.close()
    assert found[0].keys() == found[1].keys()
    assert all(found[0][key] == pytest.approx(found[1][key]) for key in found[0])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 60), max_size=2), st.booleans())
def test_results_in_any_order_and_portions_give_what_all_at_once_gives(
    seed: int, portions: list[int], dies: bool
) -> None:
    points = some_results(seed, hours=6)
    with tempfile.TemporaryDirectory() as folder:
        at_once, by_and_by = SqliteStore(Path(folder) / "one.db"), SqliteStore(Path(folder) / "two.db")
        at_once.write(points)
        settle(rollups(at_once))
        random.Random(seed).shuffle(points)
        told, rest, now = rollups(by_and_by), points, LATER - HOUR
        for portion in [*portions, len(points)]:
            part, rest = rest[:portion], rest[portion:]
            by_and_by.write(part)
            if dies:
                told = rollups(by_and_by)  # nobody told it
            else:
                told.on_stored(part)
            now += 10 * MINUTE
            settle(told, now)
        assert everything(by_and_by, until=NOW) == everything(at_once, until=NOW)
        at_once.close()
        by_and_by.close()


def test_what_others_stored_without_telling_is_found_at_night(store: Store) -> None:
    told = rollups(store, sweep_days=4)
    noon = day_of(LATER, ZONE).since + 12 * HOUR
    settle(told, noon)
    hour = hour_of(NOW)
    store.write([speed(NOW, 1)])  # `resend`, or another collector
    settle(told, noon + 6 * MINUTE)
    assert fields(store, "line_hour", hour, **TAGS) == {}
    settle(told, noon + DAY)
    assert fields(store, "line_hour", hour, **TAGS)["tests"] == 1
    assert fields(store, "line_day", day_of(NOW, ZONE), **TAGS)["tests"] == 1
    assert fields(store, "place_day", day_of(NOW, ZONE), **ALL_FIXED)["tests"] == 1


def test_a_collector_that_died_while_it_wrote_does_it_again(store: Store) -> None:
    store.write([speed(NOW, 1)])
    write = store.write
    killed = RuntimeError("killed")

    def three_and_no_more(points: list[Point]) -> list[object]:
        if not any(p.measurement == "line_hour" for p in points):
            return list(write(points))
        write(points[:3])
        raise killed

    store.write = three_and_no_more  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        settle(rollups(store))
    store.write = write  # type: ignore[method-assign]
    settle(rollups(store))
    assert fields(store, "line_hour", hour_of(NOW), **TAGS)["tests"] == 1
    assert fields(store, "place_hour", hour_of(NOW), **ALL_FIXED)["tests"] == 1


def test_an_hour_that_can_not_be_worked_out_keeps_no_other_from_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [speed(NOW, 1), speed(NOW - 3 * HOUR, 2)]
    store.write(points)
    downloads = store.figures.downloads

    def bad(since: dt.datetime, *more: Any) -> Any:
        if since == hour_of(NOW).since:
            raise TypeError("a bad value")
        return downloads(since, *more)

    told = rollups(store, sweep_days=0)
    told.on_stored(points)
    with monkeypatch.context() as patch:
        patch.setattr(store.figures, "downloads", bad)
        settle(told)
    assert fields(store, "line_hour", hour_of(NOW), **TAGS) == {}
    assert fields(store, "line_hour", hour_of(NOW - 3 * HOUR), **TAGS)["tests"] == 1
    settle(rollups(store))
    assert fields(store, "line_hour", hour_of(NOW), **TAGS)["tests"] == 1


def test_a_line_that_is_no_longer_registered_is_not_read_again_each_night(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([speed(NOW, 1, LineId("nd-gone", "ftth"))])
    downloads, read = store.figures.downloads, []

    def noted(*asked: Any) -> Any:
        read.append(asked)
        return downloads(*asked)

    told = rollups(store)
    settle(told)
    monkeypatch.setattr(store.figures, "downloads", noted)
    settle(told, LATER + DAY)
    assert read, "the months are judged each night"
    assert not [since for since, until, agents in read if agents == ["nd-gone"]]


def test_the_present_day_is_worked_out_with_every_sixth_round_and_when_it_is_over(store: Store) -> None:
    noon = day_of(NOW, ZONE).since + 12 * HOUR
    told = rollups(store)
    settle(told, noon)
    points = [speed(noon - MINUTE, 1)]
    store.write(points)
    told.on_stored(points)
    tests = []
    for number in range(1, DAYS_EVERY + 1):
        settle(told, noon + number * 5 * MINUTE)
        tests.append(fields(store, "line_day", day_of(NOW, ZONE), **TAGS).get("tests", 0))
    assert tests == [0] * (DAYS_EVERY - 1) + [1]
    assert fields(store, "line_hour", hour_of(noon - MINUTE), **TAGS)["tests"] == 1


def test_while_the_database_is_away_nothing_is_forgotten(own_influx_v2: InfluxV2) -> None:
    own_influx_v2.create("xomnet")
    store = InfluxStore(own_influx_v2.url, "any", "xomnet", timeout_s=5)
    told = rollups(store, sweep_days=0)
    settle(told)
    old = [speed(NOW - 10 * DAY, 1)]
    store.write(old)
    told.on_stored(old)
    own_influx_v2.kill()
    with pytest.raises(StoreUnavailable):
        settle(told, LATER + 10 * MINUTE)
    own_influx_v2.start()
    settle(told, LATER + 11 * MINUTE)
    assert fields(store, "line_day", day_of(NOW - 10 * DAY, ZONE), **TAGS)["tests"] == 1
    store.close()


def test_many_units_of_an_hour_are_all_read(store: Store) -> None:
    """From `ALL_FROM_UNITS` on nobody is named for an hour, and a day is read by portions: nobody is left out."""
    names = [f"nd-{n}" for n in range(60)]
    book = Registry([row(LineId(name, "ftth")) for name in names], registry()._targets)
    points = [speed(NOW, n, LineId(name, "ftth"), down_mbps=100.0 + n) for n, name in enumerate(names, 1)]
    store.write(points)
    assert len(names) > max(ALL_FROM_UNITS, UNITS_A_QUERY)
    told = Rollups(store, lambda: book, sweep_days=0)
    told.on_stored(points)
    settle(told)
    for name, bucket in (("place_hour", hour_of(NOW)), ("place_day", day_of(NOW, ZONE))):
        place = fields(store, name, bucket, **ALL_FIXED)
        assert (place["lines"], place["measured"], place["median_mbps"]) == (len(names), len(names), 130.5)


# --- the process


def test_a_killed_collector_has_rolled_up_what_it_stored_soon_after_its_next_start(
    collector: Collector, sender: Sender
) -> None:
    for seq in (1, 2):
        sender.send(result(seq))
    until(lambda: sender.stored() == {1, 2}, "both are stored")
    collector.kill()
    collector.start()
    with sqlite3.connect(collector.folder / "store.db") as store:

        def probes(measurement: str) -> int:
            return store.execute(f"SELECT coalesce(sum(probes), 0) FROM {measurement}").fetchone()[0]  # type: ignore[no-any-return]

        until(lambda: (probes("line_hour"), probes("line_day")) == (2, 2), "hour and day are rolled up")
        until(lambda: store.execute("SELECT count(*) FROM line_month").fetchone()[0] == len(ROWS), "the month is there")
        (units,) = store.execute("SELECT count(DISTINCT agent) FROM unit_state").fetchone()
        assert units == len(ROWS)
    store.close()
