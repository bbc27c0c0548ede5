"""Both stores do the same: the suite runs over a SQLite file and over a real influxd."""

import dataclasses
import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from collector.judge.assess import JudgingRules
from collector.judge.line_states import line_state_points, take_snapshot
from collector.store import Store, influx
from collector.store.derived_points import write_own
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import Point, Value, time_ns
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, Sample, SpeedRow
from collector.store.sqlite import SqliteStore
from tests.support.filled import filled
from tests.support.stored import (
    AGENT,
    LINE,
    NOW,
    SERVER,
    SPOOL,
    event,
    health,
    latency,
    manifest,
    outage,
    received,
    registry,
    speed,
    tagged,
)
from xomnet.contract.messages import KIND_OF, Event, Health, Interface, Latency, Outage, Speed
from xomnet.contract.radio import Radio

EARLIER = NOW - dt.timedelta(days=1)
LATER = NOW + dt.timedelta(days=1)

HOSTILE = [
    "Xóm 5, thôn Đông",
    "two  words",
    "a=b,c=d",
    'a "quoted" hamlet',
    "it's one",
    "back\\slash",
    "back\\",
    "back\\,comma",
    "🏡 xóm",
    "' OR '1'='1",
    "x\nspeed,agent=thief down_mbps=999",
]
"""Texts that end a word, a tag or a string in line protocol, InfluxQL or SQL."""


HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
UNIT, OTHER = LineId(AGENT, ""), LineId("nd-b-2", "")
ETH0 = Interface(name="eth0", up=True, rx_bytes=1, tx_bytes=2)

RADIO = Radio(
    technologies=("lte", "5gnr"),
    bands=("eutran-3", "ngran-78"),
    rsrp_dbm=-104,
    rsrq_db=-14.5,
    sinr_db=2,
    operator="Viettel",
    cell="0197763E",
)


def test_a_result_is_read_as_it_was_written(store: Store) -> None:
    full = speed(
        *(NOW, 1),
        engine="http",
        server="http://s1.example/",
        flags=("wifi", "audit"),
        down_mbps=151.25,
        gross_mbps=140.0,
        trimmed_mbps=150.0,
        bytes=2**40,
        duration_s=8.5,
        streams=4,
        stop_reason="steady",
        rtt_idle_ms=10.0,
        rtt_loaded_ms=31.5,
        link_mbps=1000,
        other_bytes=1234,
        cpu_wait_s=0.25,
        radio=RADIO,
        budget_used_bytes=5,
        budget_bytes=6,
    )
    assert store.write([full]) == []
    (row,) = store.speed(LINE, EARLIER, LATER)
    assert (row.at, row.flags, row.down_mbps, row.bytes) == (NOW, ("wifi", "audit"), 151.25, 2**40)
    assert (row.gross_mbps, row.trimmed_mbps, row.duration_s, row.streams) == (140.0, 150.0, 8.5, 4)
    assert (row.rtt_idle_ms, row.rtt_loaded_ms, row.stop_reason) == (10.0, 31.5, "steady")
    assert (row.link_mbps, row.other_bytes, row.cpu_wait_s) == (1000, 1234, 0.25)
    assert row.radio == RADIO
    assert (row.engine, row.server, row.clock) == ("http", "http://s1.example/", "synced")
    assert (row.budget_used_bytes, row.budget_bytes) == (5, 6)


def test_every_field_of_every_kind_is_read_as_it_was_sent(store: Store) -> None:
    sent = {data: structs.asdict(filled(data)) for data in KIND_OF}
    makers: list[Callable[..., Point]] = [speed, latency, outage, health, event]  # as in KIND_OF
    assert store.write([make(NOW, 7, **sent[data]) for data, make in zip(KIND_OF, makers, strict=True)]) == []
    envelope: dict[str, Any] = {"at": NOW, "clock": "synced"}
    assert store.speed(LINE, EARLIER, LATER, raw=True) == [SpeedRow(**envelope, **sent[Speed])]
    assert store.latency(LINE, EARLIER, LATER, raw=True) == [LatencyRow(**envelope, **sent[Latency])]
    assert store.outages(LINE, EARLIER, LATER) == [OutageRow(**envelope, **sent[Outage])]
    assert store.health(EARLIER, raw=True) == {AGENT: HealthRow(**envelope, **sent[Health])}
    read = EventRow(**envelope, spool=SPOOL, seq=7, **sent[Event])
    assert store.events(None, EARLIER, LATER) == {LINE: [read]}


def test_raw_material_is_read_only_where_it_is_asked_for(store: Store) -> None:
    store.write([speed(NOW, 1, series_mbps=(1.0, 2.5)), latency(NOW, 2), health(NOW, 3, interfaces=(ETH0,))])
    assert [row.series_mbps for row in store.speed(LINE, EARLIER, LATER)] == [()]
    assert [row.series_mbps for row in store.speed(LINE, EARLIER, LATER, raw=True)] == [(1.0, 2.5)]
    assert [row.anchors for row in store.latency(LINE, EARLIER, LATER)] == [()]
    assert [row.anchors for row in store.latency(LINE, EARLIER, LATER, raw=True)] == [("1.1.1.1",)]
    assert store.health(EARLIER)[AGENT].interfaces == ()
    assert store.health(EARLIER, raw=True)[AGENT].interfaces == (ETH0,)


def test_the_last_health_of_one_unit_is_that_of_all(store: Store) -> None:
    store.write([health(NOW, 1), health(NOW + HOUR, 2, temp_c=60.0), health(NOW, 3, agent="nd-b-2")])
    assert store.health(EARLIER, AGENT) == {AGENT: store.health(EARLIER)[AGENT]}
    assert store.health(EARLIER, AGENT)[AGENT].temp_c == 60.0
    assert store.health(NOW + HOUR, "nd-b-2") == {}
    assert store.health(EARLIER, "nobody") == {}


def test_the_least_that_waited_in_each_hour_is_read_of_some_units(store: Store) -> None:
    reports = [(0, 5), (10, 3), (50, 9), (130, 4)]
    store.add([received(health(NOW + m * MINUTE, m, spool_depth=depth), NOW + m * MINUTE) for m, depth in reports])
    other = received(health(NOW, 1, agent="nd-b-2", spool_depth=7), NOW)
    unused = [received(health(NOW, 1, agent="nd-c-3", spool_depth=1), NOW), health(NOW + MINUTE, 2, spool_depth=0)]
    estimated = received(health(NOW + 2 * MINUTE, 3, spool_depth=0), NOW)
    estimated = dataclasses.replace(estimated, fields={**estimated.fields, "clock": "estimated"})
    came_later = received(health(NOW + 3 * MINUTE, 4, spool_depth=0), LATER)
    store.add([other, *unused, estimated, came_later])
    hour = NOW.replace(minute=0)
    assert store.spool_depths([AGENT, "nd-b-2"], EARLIER, NOW + 3 * HOUR) == {
        AGENT: [(hour, 3), (hour + HOUR, 9), (hour + 2 * HOUR, 4)],
        "nd-b-2": [(hour, 7)],
    }
    assert store.spool_depths([AGENT], NOW + HOUR, NOW + 3 * HOUR) == {AGENT: [(hour + 2 * HOUR, 4)]}
    assert store.spool_depths(["nobody"], EARLIER, LATER).get("nobody", []) == []


def test_events_are_found_by_name_by_unit_or_all(store: Store) -> None:
    store.write([event(NOW, 1, "started", UNIT), event(NOW, 2, "evicted"), event(NOW, 3, "started", OTHER)])
    found = store.events(None, EARLIER, LATER)
    assert {line: [row.name for row in rows] for line, rows in found.items()} == {
        UNIT: ["started"],
        LINE: ["evicted"],
        OTHER: ["started"],
    }
    assert store.events(None, EARLIER, LATER, AGENT).keys() == {UNIT, LINE}
    assert store.events("started", EARLIER, LATER).keys() == {UNIT, OTHER}
    assert store.events("started", EARLIER, LATER, AGENT).keys() == {UNIT}


def test_what_was_not_measured_stays_absent(store: Store) -> None:
    store.write([speed(NOW, 1, down_mbps=None, error="timeout")])
    (row,) = store.speed(LINE, EARLIER, LATER)
    assert (row.down_mbps, row.bytes, row.rtt_idle_ms, row.flags) == (None, None, None, ())
    assert row.error == "timeout"


def test_a_whole_number_in_a_field_of_fractions_stays_a_fraction(store: Store) -> None:
    store.write([speed(NOW, 1, down_mbps=100, streams=4)])
    assert store.write([speed(NOW, 2, down_mbps=99.5, streams=3)]) == []
    first, second = store.speed(LINE, EARLIER, LATER)
    assert (first.down_mbps, second.down_mbps) == (100.0, 99.5)
    assert isinstance(first.down_mbps, float)
    assert isinstance(first.streams, int)


def test_writing_again_changes_nothing(store: Store) -> None:
    points = [speed(NOW, 1), latency(NOW, 2), health(NOW, 3), outage(NOW, 4)]
    store.write(points)
    before = (store.speed(LINE, EARLIER, LATER), store.latency(LINE, EARLIER, LATER), store.health(EARLIER))
    for _ in range(3):
        assert store.write([*points, *points]) == []
    assert (store.speed(LINE, EARLIER, LATER), store.latency(LINE, EARLIER, LATER), store.health(EARLIER)) == before
    assert len(store.outages(LINE, EARLIER, LATER)) == 1


def test_two_results_of_one_microsecond_are_both_kept(store: Store) -> None:
    store.write([speed(NOW, 41, down_mbps=10.0), speed(NOW, 42, down_mbps=20.0)])
    assert [row.down_mbps for row in store.speed(LINE, EARLIER, LATER)] == [10.0, 20.0]


def test_a_result_sent_again_after_its_hamlet_was_renamed_counts_once(store: Store) -> None:
    first = speed(NOW, 1)
    store.write([first])
    store.write([tagged(first, hamlet="Xóm Năm")])
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    assert [len(samples) for samples in store.samples(EARLIER, LATER).values()] == [1]


def test_lines_and_agents_are_kept_apart(store: Store) -> None:
    other, third = LineId(AGENT, "4g"), LineId("nd-b-2", "ftth")
    store.write(
        [speed(NOW, 1, down_mbps=1.0), speed(NOW, 1, other, down_mbps=2.0), speed(NOW, 1, third, down_mbps=3.0)]
    )
    found = {line: [row.down_mbps for row in store.speed(line, EARLIER, LATER)] for line in (LINE, other, third)}
    assert found == {LINE: [1.0], other: [2.0], third: [3.0]}


@pytest.mark.parametrize("text", HOSTILE)
def test_tags_may_say_anything(store: Store, text: str) -> None:
    odd = tagged(speed(NOW, 1), hamlet=text, area=f"A/{text}", isp=text)
    assert store.write([odd, speed(NOW, 2)]) == []
    assert [row.down_mbps for row in store.speed(LINE, EARLIER, LATER)] == [100.0, 100.0]
    assert list(store.samples(EARLIER, LATER)) == [LINE]


@pytest.mark.parametrize("text", [*HOSTILE, "", "tab\there", "\r\n", '"', "\\", 'ends with a quote"', "#", "'''"])
def test_a_text_comes_back_letter_by_letter(store: Store, text: str) -> None:
    assert store.write([speed(NOW, 1, server=text, error_detail=text)]) == []
    (row,) = store.speed(LINE, EARLIER, LATER)
    assert (row.server, row.error_detail) == (text, text)


@pytest.mark.parametrize(
    "name", ["' OR '1'='1", "ftth' OR line='4g", '"; DROP MEASUREMENT speed', "\\", "x\\' OR 1=1 --"]
)
def test_asking_for_a_hostile_line_finds_nothing(store: Store, name: str) -> None:
    store.write([speed(NOW, 1)])
    assert store.speed(LineId(AGENT, name), EARLIER, LATER) == []
    assert store.speed(LineId(name, "ftth"), EARLIER, LATER) == []
    assert len(store.speed(LINE, EARLIER, LATER)) == 1


def test_a_range_holds_its_beginning_and_not_its_end(store: Store) -> None:
    hours = [NOW + dt.timedelta(hours=hour) for hour in range(4)]
    for n, at in enumerate(hours, 1):
        # every thousandth result stands on its microsecond exactly
        store.write([speed(at, n * 1000), latency(at, n * 1000), outage(at, n * 1000)])
    assert [row.at for row in store.speed(LINE, hours[1], hours[3])] == hours[1:3]
    assert [row.at for row in store.latency(LINE, hours[1], hours[3])] == hours[1:3]
    assert [row.at for row in store.outages(LINE, hours[1], hours[3])] == hours[1:3]
    assert [sample.at for sample in store.samples(hours[1], hours[3])[LINE]] == hours[1:3]


def test_rows_come_in_the_order_of_time_however_they_were_written(store: Store) -> None:
    hours = [NOW + dt.timedelta(hours=hour) for hour in (3, 1, 2, 0)]
    store.write([speed(at, seq) for seq, at in enumerate(hours, 1)])
    assert [row.at for row in store.speed(LINE, EARLIER, LATER)] == sorted(hours)
    assert [sample.at for sample in store.samples(EARLIER, LATER)[LINE]] == sorted(hours)


@pytest.mark.parametrize("page", [10_000, 2, 1])
def test_only_the_latest_of_each_line_are_read_where_no_more_are_asked_for(
    store: Store, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx, "PAGE", page)
    other, hours = LineId("nd-b-2", "4g"), [NOW + dt.timedelta(hours=hour) for hour in (3, 1, 2, 0)]
    for n, line in enumerate((LINE, other)):
        for seq, at in enumerate(hours, 10 * n):
            data = [speed(at, seq, line), latency(at, seq, line), outage(at, seq, line), event(at, seq, "ntp", line)]
            assert store.write(data) == []
    asked = (EARLIER, LATER)
    for most in (1, 2, 3, 4, 99):
        found = sorted(hours)[-most:]
        assert [row.at for row in store.speed(LINE, *asked, latest=most)] == found
        assert [row.at for row in store.latency(LINE, *asked, latest=most)] == found
        assert [row.at for row in store.outages(LINE, *asked, latest=most)] == found
        assert [row.at for row in store.events(None, *asked, AGENT, latest=most)[LINE]] == found
        for lines in (None, [LINE, other]):
            samples = store.samples(*asked, lines, latest=most)
            assert {line: [one.at for one in of_line] for line, of_line in samples.items()} == {
                LINE: found,
                other: found,
            }
    assert [row.at for row in store.speed(LINE, EARLIER, hours[0], latest=1)] == [hours[2]]


def test_samples_are_what_judging_needs_of_every_line(store: Store) -> None:
    other = LineId("nd-b-2", "4g")
    store.write(
        [
            speed(NOW, 1, down_mbps=90.0),
            speed(NOW + dt.timedelta(hours=1), 2, down_mbps=None, error="connect", flags=("link_down",)),
            speed(NOW, 3, other, down_mbps=70.0, flags=("wifi", "audit")),
            latency(NOW, 4, LineId("nd-c-3", "ftth")),
        ]
    )
    assert store.samples(EARLIER, LATER) == {
        LINE: [
            Sample(NOW, 90.0, server=SERVER),
            Sample(NOW + dt.timedelta(hours=1), None, ("link_down",), "connect", server=SERVER),
        ],
        other: [Sample(NOW, 70.0, ("wifi", "audit"), server=SERVER)],
    }


def test_samples_of_some_lines_are_those_of_all_lines(store: Store) -> None:
    odd = LineId("nd-b-2", "x' OR '1'='1")
    for n, line in enumerate((LINE, LineId(AGENT, "4g"), odd), 1):
        store.write([speed(NOW + dt.timedelta(hours=hour), 10 * n + hour, line) for hour in (2, 0, 1)])
    found = store.samples(EARLIER, LATER)
    for wanted in ([LINE], [odd], [LINE, odd], [*found]):
        assert store.samples(EARLIER, LATER, wanted) == {line: found[line] for line in wanted}
    assert store.samples(EARLIER, LATER, []) == {}
    assert store.samples(EARLIER, LATER, [LineId("nd-c-3", "ftth")]) == {}
    assert store.samples(NOW, NOW + dt.timedelta(hours=1), [LINE]) == {LINE: found[LINE][:1]}


def test_the_last_result_of_a_line_is_its_newest_of_either_kind(store: Store) -> None:
    quiet, old = LineId("nd-b-2", "4g"), LineId("nd-c-3", "ftth")
    minute = dt.timedelta(minutes=1)
    store.write([speed(NOW, 1), latency(NOW + minute, 2), latency(NOW - minute, 3)])
    store.write([speed(NOW + 2 * minute, 4, quiet, down_mbps=None, error="dns")])
    store.write([speed(NOW - dt.timedelta(days=2), 5, old), health(NOW, 6), outage(NOW + 9 * minute, 7)])
    assert store.last_results(EARLIER) == {LINE: NOW + minute, quiet: NOW + 2 * minute}
    never = LineId("nd-c-3", "4g")
    assert store.last_results(EARLIER, [LINE, old, never]) == {LINE: NOW + minute}
    assert store.last_results(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), [old, quiet, never]) == {
        **{old: NOW - dt.timedelta(days=2), quiet: NOW + 2 * minute}
    }
    assert store.last_results(EARLIER, []) == {}


def test_health_is_the_newest_of_each_unit(store: Store) -> None:
    store.write([health(NOW + dt.timedelta(minutes=m), m + 1, cpu_percent=float(m)) for m in (0, 5, 3)])
    store.write([health(NOW, 9, agent="nd-b-2", temp_c=61.5, throttled=5, clock_synced=False)])
    store.write([health(NOW - dt.timedelta(days=2), 10, agent="nd-c-3")])
    last = store.health(EARLIER)
    assert sorted(last) == [AGENT, "nd-b-2"]
    assert (last[AGENT].at, last[AGENT].cpu_percent) == (NOW + dt.timedelta(minutes=5), 5.0)
    assert (last[AGENT].temp_c, last[AGENT].clock_synced) == (None, True)
    assert (last["nd-b-2"].temp_c, last["nd-b-2"].throttled, last["nd-b-2"].clock_synced) == (61.5, 5, False)


def test_events_of_a_name_are_read_with_their_numbers(store: Store) -> None:
    unit = LineId(AGENT, "")
    store.write([manifest(NOW, 5, [1, 2, 4], 4), manifest(NOW, 6, [3], 4, line=unit), event(NOW, 7, "started")])
    store.write([manifest(NOW - dt.timedelta(days=2), 8, [1], 1)])
    found = store.events("manifest", EARLIER, LATER)
    assert sorted(found) == [unit, LINE]
    (row,) = found[LINE]
    assert (row.at, row.name, row.spool, row.seq) == (NOW, "manifest", SPOOL, 5)
    assert (row.first_seq, row.last_seq, row.count) == (1, 4, 3)
    assert row.digest is not None
    assert len(row.digest) == 32
    assert store.events("started", EARLIER, LATER) == {
        LINE: [EventRow(at=NOW, spool=SPOOL, seq=7, clock="synced", name="started")]
    }
    assert store.events("' OR '1'='1", EARLIER, LATER) == {}


def test_the_numbers_of_a_spool_are_found_in_every_kind_of_result(store: Store) -> None:
    mobile = LineId(AGENT, "4g")
    store.write([speed(NOW, 1), latency(NOW, 2, mobile), health(NOW, 3), outage(NOW, 4), event(NOW, 5, "started")])
    store.write([speed(NOW, 6), speed(LATER, 7), speed(NOW, 2, LineId("nd-b-2", "ftth"))])
    assert store.numbers(AGENT, SPOOL, 1, 5, EARLIER, LATER) == {1: "ftth", 2: "4g", 3: "", 4: "ftth", 5: "ftth"}
    assert store.numbers(AGENT, SPOOL, 6, 2**53, EARLIER, LATER) == {6: "ftth"}
    assert store.numbers(AGENT, "another", 1, 9, EARLIER, LATER) == {}
    assert store.numbers("' OR '1'='1", SPOOL, 1, 9, EARLIER, LATER) == {}


def test_an_empty_store_has_nothing_and_answers(store: Store) -> None:
    store.ping()
    assert store.speed(LINE, EARLIER, LATER) == []
    assert (store.samples(EARLIER, LATER), store.last_results(EARLIER), store.health(EARLIER)) == ({}, {}, {})
    assert store.write([]) == []


def broken(name: str, value: Value) -> Point:
    point = speed(NOW, 7)
    return Point(point.measurement, point.tags, {**point.fields, name: value}, point.time_ns)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (broken("down_mbps", math.nan), "down_mbps is nan"),
        (broken("down_mbps", math.inf), "down_mbps is inf"),
        (broken("down_mbps", "fast"), "down_mbps is 'fast', not of type float"),
        (broken("down_mbps", True), "down_mbps is True"),
        (broken("bytes", 1.5), "bytes is 1.5"),
        (broken("bytes", 2**64), "bytes is 18446744073709551616"),
        (broken("server", 5), "server is 5, not of type str"),
        (broken("server", "\ud800"), "server is not Unicode"),
        (broken("beauty", 1.0), "speed has no field 'beauty'"),
        (Point("speed", {}, {}, 1), "without fields"),
        (Point("speed", {}, {"down_mbps": 1.0}, 1), "without spool and seq"),
        (Point("weather", {}, {"rain": 1.0}, 1), "no measurement is called 'weather'"),
        (Point("speed", {}, speed(NOW, 1).fields, -1), "a time outside"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_the_contract_is_rejected_and_the_rest_is_stored(store: Store, point: Point, said: str) -> None:
    (rejection,) = store.write([speed(NOW, 1), point, speed(NOW, 2)])
    assert rejection.point is point
    assert said in rejection.reason
    assert rejection.reason.isprintable()
    assert len(store.speed(LINE, EARLIER, LATER)) == 2


def test_a_snapshot_judges_lines_from_what_is_stored_and_is_stored_itself(store: Store) -> None:
    now = NOW + dt.timedelta(hours=80)
    for hour in range(0, 80, 4):
        at = NOW + dt.timedelta(hours=hour)
        store.write([speed(at, hour + 1, down_mbps=160.0), speed(at, hour + 101, LineId(AGENT, "4g"), down_mbps=30.0)])
    store.write([latency(now - dt.timedelta(minutes=1), 200, line) for line in (LINE, LineId(AGENT, "4g"))])
    snapshot = take_snapshot(store, registry(), JudgingRules(), now)
    states = {(s.row.agent, s.row.line): s.judgement.state for s in snapshot.lines}
    assert states == {(AGENT, "ftth"): "meeting", (AGENT, "4g"): "short", ("nd-b-2", "ftth"): "no_data"}
    points = line_state_points(snapshot)
    assert store.write(points) == []
    assert store.write(points) == []


def test_a_closed_store_says_so(store: Store) -> None:
    store.write([speed(NOW, 1)])
    if isinstance(store, SqliteStore):
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.speed(LINE, EARLIER, LATER)
        with pytest.raises(StoreUnavailable, match="closed"):
            store.write([speed(NOW, 1)])


def test_times_keep_their_microseconds(store: Store) -> None:
    at = NOW.replace(microsecond=123_457)
    store.write([speed(at, 999)])
    assert store.speed(LINE, EARLIER, LATER)[0].at == at
    assert store.last_results(EARLIER) == {LINE: at}
    assert time_ns(at, 999) % 1000 == 999


def test_what_the_collector_worked_out_and_nobody_takes_is_said_in_the_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    write_own(store, [Point("line_state", {"agent": AGENT, "line": "ftth"}, {"samples": "many"}, time_ns(NOW))])
    (said,) = [record for record in caplog.records if record.name == "collector.store"]
    assert said.__dict__["fields"]["measurement"] == "line_state"
    assert "not of type int" in said.__dict__["fields"]["reason"]
