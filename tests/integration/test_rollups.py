"""Roll-ups over both stores: what is late, doubled, or stored by others comes out as if all had come in time."""

import datetime as dt
import random
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.assess import Rules
from collector.lines import LineStates
from collector.minute import Limits, Minute
from collector.points import Point, Value, time_ns
from collector.rolling import Bucket, day_of, hour_of
from collector.rollups import AT_ONCE, DAYS_EVERY, MANY, Rollups
from collector.services import AgentSeen
from collector.store import LineId, Store, StoreUnavailable
from collector.store.influx import InfluxStore
from collector.store.sqlite import SqliteStore
from collector.verdict import Month
from tests.deployment import Collector, until
from tests.sender import ROWS, Sender, result
from tests.services import InfluxV2
from tests.stored import AGENT, LINE, NOW, health, latency, outage, registry, row, speed
from xomnet.registry import LineRow, Registry
from xomnet.targets import Target, Targets

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
MOBILE = LineId(AGENT, "4g")
LATER = NOW + 30 * HOUR
ZONE = registry().zone
TAGS = {"agent": AGENT, "line": "ftth"}
ALL_FIXED = {"scope": "all", "access": "fixed"}


def rollups(store: Store, **more: int) -> Rollups:
    return Rollups(store, registry, sweep_days=more.pop("sweep_days", 3), **more)


def settle(one: Rollups, now: dt.datetime = LATER) -> None:
    """Works until nothing is left to do."""
    for _ in range(2000):
        if not one.take(now):
            return
    raise AssertionError("it never ends")


def fields(store: Store, measurement: str, bucket: Bucket, **tags: str) -> dict[str, Value]:
    """Of the one point in a bucket that has these tags; nothing where there is none."""
    found = [
        dict(p.fields)
        for p in store.figures.points(measurement, bucket.since, bucket.until)
        if tags.items() <= p.tags.items() and ("place" in tags or tags.get("scope") != "all" or "place" not in p.tags)
    ]
    assert len(found) <= 1
    return found[0] if found else {}


Everything = dict[tuple[object, ...], dict[str, Value]]


def everything(store: Store, since: dt.datetime = NOW - 40 * DAY, until: dt.datetime = LATER + DAY) -> Everything:
    """Every hour and day of which anything is known. Of nothing a place may have a point, or none."""
    found: Everything = {}
    for measurement in ("line_hour", "line_day", "place_hour", "place_day"):
        for p in store.figures.points(measurement, since, until):
            if any(p.fields[name] for name in ("tests", "probes", "outages")):
                found[measurement, p.time_ns, *sorted(p.tags.items())] = dict(p.fields)
    return found


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
    told.saw(points)
    settle(told)
    expected = {
        **{"tests": 3, "counted": 3, "failed": 1, "bytes": 20, "probes": 4, "outages": 1, "outage_s": 90.0},
        **{"median_mbps": 100.0, "mean_mbps": 100.0, "p5_mbps": 10.0, "p95_mbps": 190.0},
        **{"target_mbps": 150.0, "ratio": pytest.approx(2 / 3), "rtt_loaded_ms": 40.0},
        **{"rtt_ms": 5.0, "rtt_p95_ms": 50.0, "jitter_ms": 2.0, "loss_percent": 25.0},
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


def test_a_result_that_comes_weeks_late_corrects_its_hour_day_and_places(store: Store) -> None:
    old = NOW - 20 * DAY
    told = rollups(store)
    first = [speed(old, 1, down_mbps=100.0), speed(old, 1, LineId("nd-b-2", "ftth"), down_mbps=300.0)]
    store.write(first)
    told.saw(first)
    settle(told)
    buckets = (("hour", hour_of(old)), ("day", day_of(old, ZONE)))
    assert [fields(store, f"place_{name}", bucket, **ALL_FIXED)["meeting"] for name, bucket in buckets] == [1, 1]
    late = [speed(old + dt.timedelta(seconds=n), n, down_mbps=200.0) for n in (2, 3)]
    store.write(late)
    told.saw(late)
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
    told.saw(points)
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
                told.saw(part)
            now += 10 * MINUTE
            settle(told, now)
        assert everything(by_and_by, until=NOW) == everything(at_once, until=NOW)
        at_once.close()
        by_and_by.close()


def test_what_others_stored_without_telling_is_found_at_night(store: Store) -> None:
    told = rollups(store)
    settle(told)
    hour = hour_of(NOW)
    store.write([speed(NOW, 1)])  # `resend`, or another collector
    settle(told, LATER + 6 * MINUTE)
    assert fields(store, "line_hour", hour, **TAGS) == {}
    settle(told, LATER + DAY)
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


def test_the_present_day_is_worked_out_with_every_sixth_round_and_when_it_is_over(store: Store) -> None:
    noon = day_of(NOW, ZONE).since + 12 * HOUR
    told = rollups(store)
    settle(told, noon)
    points = [speed(noon - MINUTE, 1)]
    store.write(points)
    told.saw(points)
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
    told.saw(old)
    own_influx_v2.kill()
    with pytest.raises(StoreUnavailable):
        settle(told, LATER + 10 * MINUTE)
    own_influx_v2.start()
    settle(told, LATER + 11 * MINUTE)
    assert fields(store, "line_day", day_of(NOW - 10 * DAY, ZONE), **TAGS)["tests"] == 1
    store.close()


# --- retention


def sqlite(folder: Path, keep_days: int | None) -> SqliteStore:
    return SqliteStore(folder / "store.db", keep_days=keep_days)


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
    old = NOW - 71 * DAY
    before = [speed(old, n, down_mbps=float(n)) for n in (1, 2, 3)]
    store.write(before)
    told = rollups(store)
    told.saw(before)
    settle(told)
    more = [speed(old + MINUTE, 4)]
    store.write(more)
    keeping = rollups(store, keep_days=70)
    keeping.saw(more)
    settle(keeping)
    assert fields(store, "line_hour", hour_of(old), **TAGS)["tests"] == 3
    told.saw(more)
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


# --- months


def test_the_verdicts_of_this_month_and_the_one_before_are_written(store: Store) -> None:
    now = LATER
    before = Month.of(now).previous
    days = [before.since() + n * DAY + h * HOUR for n in range(before.days) for h in (1, 5, 9, 12, 19, 20, 21, 22)]
    store.write([speed(at, seq, down_mbps=200.0 + seq % 5) for seq, at in enumerate(days, 1)])
    settle(rollups(store), now)
    month = Bucket("day", before.since(), before.since() + DAY)
    line = fields(store, "line_month", month, **TAGS)
    assert (line["verdict"], line["samples"], line["days"], line["median_mbps"]) == (
        "met",
        len(days),
        before.days,
        202.0,
    )
    place = fields(store, "place_month", month, **ALL_FIXED)
    assert {name: place[name] for name in ("lines", "met", "unmeasured", "share")} == {
        **{"lines": 2, "met": 1, "unmeasured": 1, "share": 1.0}
    }
    present = Bucket("day", Month.of(now).since(), Month.of(now).since() + DAY)
    assert fields(store, "line_month", present, **TAGS)["verdict"] in ("unmeasured", "not_certain")


def test_a_line_that_moves_within_a_month_has_one_series_for_it(store: Store) -> None:
    month = Month.of(LATER).previous
    targets = Targets(
        [
            Target(access="fixed", from_=dt.date(2024, 1, 1), down_mbps=150),
            Target(access="mobile", from_=dt.date(2024, 1, 1), down_mbps=70),
        ]
    )
    then = row(LINE)
    day = month.since().date()
    moved = LineRow(AGENT, "ftth", "fixed", "Xóm 9", "Nam Định/Ý Yên", "FPT", from_=day + 10 * DAY)
    new = LineRow("nd-new", "4g", "mobile", "Xóm 9", "Nam Định/Ý Yên", "FPT", from_=day + 12 * DAY)
    once = LineRow(AGENT, "ftth", "fixed", "Xóm 1", "Nam Định/Vụ Bản", "FPT", from_=then.from_ - 9 * DAY)
    for rows in ([once, then], [once, then, moved, new]):
        book = Registry(rows, targets)
        settle(Rollups(store, lambda book=book: book, sweep_days=0), LATER)  # type: ignore[misc]
    found = {p.tags["agent"]: p for p in store.figures.points("line_month", month.since(), month.since() + DAY)}
    assert len(store.figures.points("line_month", month.since(), month.since() + DAY)) == 2
    assert (found[AGENT].tags["isp"], found[AGENT].tags["area"]) == (then.isp, then.area)
    assert found["nd-new"].tags["area"] == "Nam Định/Ý Yên"


# --- every minute


def test_every_minute_says_what_is_known_of_lines_places_units_and_of_itself(store: Store) -> None:
    now = dt.datetime.now(dt.UTC)
    lines = [LINE, LineId("nd-b-2", "ftth")]
    store.write(
        [latency(now - n * MINUTE, n, line, received=9, rtt_p50_ms=100.0 + n) for n in range(1, 9) for line in lines]
    )
    store.write([latency(now - 3 * HOUR, 20, rtt_p50_ms=1.0), health(now - MINUTE, 21, temp_c=85.0)])
    states = LineStates(store, registry, Rules())
    seen = [AgentSeen(AGENT, True, "1.0", now), AgentSeen("nd-z-9", True, "1.0", now)]
    minute = Minute(store, registry, lambda: seen, lambda: None, Limits(latency_ms=104, loss_percent=10))
    states.known.append(minute.of_lines)
    states.beside.append(minute.points)
    at = states.take().at

    def written(measurement: str) -> Iterable[Point]:
        return store.figures.points(measurement, at, at + dt.timedelta(microseconds=1))

    of_lines = {(p.tags["agent"], p.tags["line"]): p.fields for p in written("line_state")}
    line = of_lines[LINE]
    assert (line["rtt_ms"], line["loss_percent"], line["latency_bad"], line["loss_bad"]) == (104.5, 10.0, 1, 0)
    assert "rtt_ms" not in of_lines[MOBILE]
    units = {p.tags["agent"]: p.fields for p in written("unit_state")}
    assert [(agent, units[agent]["problem"]) for agent in sorted(units)] == [(AGENT, "hot"), ("nd-b-2", "offline")]
    places = {(p.tags["scope"], p.tags.get("place", ""), p.tags["access"]): p.fields for p in written("place_state")}
    assert places["all", "", "fixed"]["lines"] == 2
    assert places["area", "Nam Định/Hải Hậu", "mobile"] == {
        **{"lines": 1, "silent": 1, "short": 0, "uncertain": 0, "meeting": 0, "not_assessable": 0}
    }
    (own,) = written("collector_state")
    assert own.fields == {"up": 1, "lines": 3, "units": 2, "units_online": 1}


def test_many_units_of_an_hour_are_all_read(store: Store) -> None:
    """From `MANY` on nobody is named for an hour, and a day is read by portions: nobody is left out."""
    names = [f"nd-{n}" for n in range(60)]
    book = Registry([row(LineId(name, "ftth")) for name in names], registry()._targets)
    points = [speed(NOW, n, LineId(name, "ftth"), down_mbps=100.0 + n) for n, name in enumerate(names, 1)]
    store.write(points)
    assert len(names) > max(MANY, AT_ONCE)
    told = Rollups(store, lambda: book, sweep_days=0)
    told.saw(points)
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
