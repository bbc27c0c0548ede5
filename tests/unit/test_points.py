"""From a result to a database point: identity, types and tags are fixed in one place."""

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.store.points import RESULTS, SCHEMAS, TAGS, Point, point_of, tags_in, tags_of, time_ns, when
from xomnet.contract.messages import (
    Event,
    EventResult,
    Health,
    HealthResult,
    Interface,
    Latency,
    LatencyResult,
    Speed,
    SpeedResult,
)
from xomnet.contract.radio import Radio
from xomnet.registry.registry import LineRow

ID = UUID("6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11")
AT = dt.datetime(2026, 11, 1, 7, 30, 0, 123456, dt.UTC)
ROW = LineRow("nd-a-1", "ftth", "fixed", "Xóm 5", "Nam Định/Hải Hậu", "VNPT", dt.date(2026, 1, 1), plan_mbps=200.0)
INSTANTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


def envelope(**changes: Any) -> dict[str, Any]:
    return {"v": 1, "agent": "nd-a-1", "spool": ID, "seq": 7, "boot": ID, "at": AT, "clock": "synced", **changes}


def speed(data: Speed, **changes: Any) -> Point:
    return point_of(SpeedResult(**envelope(**changes), line="ftth", data=data), ROW)


def test_a_speed_result_becomes_a_point() -> None:
    seen = {"down_mbps": 151, "bytes": 10**8, "flags": ("wifi", "audit"), "series_mbps": (1.0, 2.5)}
    data = Speed(engine="http", server="http://s/", **seen)  # type: ignore[arg-type]
    assert speed(data, clock="estimated", at_error_s=3) == Point(
        "speed",
        {
            "agent": "nd-a-1",
            "line": "ftth",
            "access": "fixed",
            "isp": "VNPT",
            "hamlet": "Xóm 5",
            "area": "Nam Định/Hải Hậu",
        },
        {
            "spool": str(ID),
            "seq": 7,
            "clock": "estimated",
            "at_error_s": 3.0,
            "engine": "http",
            "server": "http://s/",
            "down_mbps": 151.0,
            "bytes": 10**8,
            "flags": "wifi,audit",
            "series_mbps": "[1.0,2.5]",
        },
        1793518200123456007,
    )


def test_what_the_modem_said_stands_in_fields_of_its_own() -> None:
    """A chart of the signal needs numbers, not JSON."""
    radio = Radio(technologies=("lte", "5gnr"), bands=("eutran-3",), rsrp_dbm=-104, operator="Viettel", cell="0197763E")
    fields = speed(Speed(engine="http", server="s", radio=radio)).fields
    assert {name: value for name, value in fields.items() if name.startswith("radio")} == {
        "radio_technologies": "lte,5gnr",
        "radio_bands": "eutran-3",
        "radio_rsrp_dbm": -104.0,
        "radio_operator": "Viettel",
        "radio_cell": "0197763E",
    }
    assert isinstance(fields["radio_rsrp_dbm"], float)
    assert SCHEMAS["speed"]["radio_sinr_db"] is float


def test_the_type_is_that_of_the_contract_and_not_of_the_number() -> None:
    fields = speed(Speed(engine="http", server="s", down_mbps=100, streams=4)).fields
    assert isinstance(fields["down_mbps"], float)
    assert isinstance(fields["streams"], int)


@pytest.mark.parametrize("measurement", sorted(SCHEMAS))
def test_every_point_has_only_fields_of_its_schema(measurement: str) -> None:
    tags = {*tags_in(measurement), "time", "time_ns"}
    assert not set(SCHEMAS[measurement]) & tags, "a tag and a field may not share a name"
    assert set(SCHEMAS[measurement].values()) <= {float, int, bool, str}


def test_the_schemas_have_the_types_of_the_contract() -> None:
    expected = {"down_mbps": float, "bytes": int, "engine": str, "flags": str, "series_mbps": str, "seq": int}
    assert {name: SCHEMAS["speed"][name] for name in expected} == expected
    assert SCHEMAS["health"]["clock_synced"] is bool
    assert SCHEMAS["health"]["throttled"] is int
    assert SCHEMAS["health"]["interfaces"] is str
    assert SCHEMAS["latency"]["loss_percent"] is float
    assert set(RESULTS) == {"speed", "latency", "health", "outage", "event"}


def test_what_is_absent_has_no_field() -> None:
    fields = speed(Speed(engine="http", server="s", error="timeout")).fields
    assert set(fields) == {"spool", "seq", "clock", "engine", "server", "error"}


def test_a_false_and_a_zero_are_not_absent() -> None:
    data = Latency(method="icmp", anchors=("a",), sent=10, received=0, loss_percent=0)
    fields = point_of(LatencyResult(**envelope(), line="ftth", data=data), ROW).fields
    assert (fields["received"], fields["loss_percent"]) == (0, 0.0)


def test_the_unit_itself_has_the_place_but_no_line() -> None:
    data = Health(
        version="1",
        cpu_percent=1,
        load1=0,
        mem_used_percent=1,
        disk_free_bytes=1,
        disk_used_percent=1,
        uptime_s=1,
        rss_bytes=1,
        spool_depth=0,
        spool_bytes=0,
        clock_synced=False,
        interfaces=(Interface(name="eth0", up=True, rx_bytes=1, tx_bytes=2),),
    )
    point = point_of(HealthResult(**envelope(), data=data), ROW)
    assert point.tags == {"agent": "nd-a-1", "hamlet": "Xóm 5", "area": "Nam Định/Hải Hậu"}
    assert point.fields["clock_synced"] is False
    assert point.fields["interfaces"] == '[{"name":"eth0","up":true,"rx_bytes":1,"tx_bytes":2}]'


def test_an_event_may_be_of_a_line_or_of_the_unit() -> None:
    of_line = point_of(EventResult(**envelope(), line="ftth", data=Event(name="started")), ROW)
    of_unit = point_of(EventResult(**envelope(), data=Event(name="started")), ROW)
    assert (of_line.tags.get("line"), of_unit.tags.get("line")) == ("ftth", None)


def test_tags_hold_nothing_that_changes_with_a_plan_or_a_target() -> None:
    assert set(tags_of(ROW, "ftth")) == set(TAGS)


@given(INSTANTS, st.integers(1, 2**53))
def test_the_instant_of_a_point_is_that_of_its_result(at: dt.datetime, seq: int) -> None:
    assert when(time_ns(at, seq)) == at


@given(INSTANTS, st.integers(1, 2**53), st.integers(1, 999))
def test_neighbours_of_one_microsecond_have_times_of_their_own(at: dt.datetime, seq: int, later: int) -> None:
    assert time_ns(at, seq) != time_ns(at, seq + later)


@given(INSTANTS, INSTANTS, st.integers(1, 2**53), st.integers(1, 2**53))
def test_the_order_of_time_is_kept(one: dt.datetime, other: dt.datetime, seq: int, other_seq: int) -> None:
    if one < other:
        assert time_ns(one, seq) < time_ns(other, other_seq)


def test_the_zone_of_an_instant_does_not_matter() -> None:
    assert time_ns(AT.astimezone(dt.timezone(dt.timedelta(hours=7)))) == time_ns(AT)
