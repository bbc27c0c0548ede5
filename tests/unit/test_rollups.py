"""The arithmetic of roll-ups: a line's hour, a place's day, a month's count."""

import datetime as dt
from statistics import median
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from collector.judge.verdict import VERDICTS, Verdict
from collector.rollups.aggregate import (
    MAX_LINE_BYTES,
    MAX_LINE_OUTAGE_S,
    by_place,
    day_of,
    hour_of,
    hours_of,
    line_fields,
    month_fields,
    place_fields,
    place_month_fields,
    place_points,
    places_of,
    portions,
)
from collector.rollups.rollups import ALL_FROM_UNITS, _mark
from collector.store.line_id import LineId
from collector.store.points import SCHEMAS, Value
from collector.store.row_types import Download, LatencyFigures, OutageTotal
from tests.support.stored import row
from xomnet.contract.values import MAX_COUNT

NOW = dt.datetime(2026, 11, 20, 16, 59, tzinfo=dt.UTC)
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def download(mbps: float | None = 100.0, **more: object) -> Download:
    return Download(NOW, mbps, **more)  # type: ignore[arg-type]


downloads = st.lists(
    st.builds(
        Download,
        at=st.just(NOW),
        down_mbps=st.none() | st.floats(0, 1000),
        flags=st.sampled_from([(), ("link_down",), ("wifi",), ("audit",)]),
        error=st.none() | st.sampled_from(["timeout", "connect"]),
        bytes=st.none() | st.integers(0, 10**9),
        rtt_loaded_ms=st.none() | st.floats(0, 1000),
    ),
    max_size=12,
)


# --- hours and days


def test_a_day_is_that_of_the_province() -> None:
    day = day_of(NOW, ZONE)  # 23:59 on the 20th there
    assert day.since == dt.datetime(2026, 11, 19, 17, tzinfo=dt.UTC)
    assert day_of(NOW + dt.timedelta(minutes=1), ZONE).since == day.until
    hours = hours_of(day)
    assert (len(hours), hours[0].since, hours[-1].until) == (24, day.since, day.until)
    assert hours[-1] == hour_of(NOW)


# --- a line


def test_the_figures_of_a_line_are_of_the_tests_that_count() -> None:
    tests = [
        download(100.0, bytes=5, rtt_loaded_ms=30.0),
        download(200.0, bytes=7, rtt_loaded_ms=50.0),
        download(900.0, flags=("wifi",), bytes=1),
        download(None, error="connect", flags=("link_down",)),
        download(None, error="timeout"),
        download(5.0, asked="confirmation", bytes=2),
    ]
    latency = LatencyFigures(12, 240, 234, 20.0, 41.0, 3.0)
    fields = line_fields(tests, latency, OutageTotal(2, 90.5), 150)
    assert fields == {
        **{"tests": 6, "counted": 3, "failed": 2, "bytes": 15},
        **{"median_mbps": 100.0, "mean_mbps": 100.0, "p5_mbps": 10.0, "p95_mbps": 190.0},
        **{"target_mbps": 150.0, "ratio": 100 / 150, "rtt_loaded_ms": 40.0},
        **{"rtt_ms": 20.0, "rtt_p95_ms": 41.0, "jitter_ms": 3.0, "loss_percent": 2.5, "probes": 12},
        **{"outages": 2, "outage_s": 90.5, "excluded": 0},
    }
    assert set(fields) == set(SCHEMAS["line_hour"])


def test_what_nothing_is_known_of_is_absent_and_never_0() -> None:
    counts = {"tests": 0, "counted": 0, "failed": 0, "bytes": 0, "probes": 0, "outages": 0, "outage_s": 0.0}
    counts["excluded"] = 0
    assert line_fields([], None, None, 70) == {**counts, "target_mbps": 70.0}
    excluded = line_fields([download(99.0, flags=("cpu_bound",))], LatencyFigures(1, 0, 0), None, 70)
    assert not {"median_mbps", "ratio", "rtt_ms", "loss_percent"} & set(excluded)


@given(downloads, st.randoms(use_true_random=False))
def test_the_order_of_the_results_does_not_matter(tests: list[Download], draw: object) -> None:
    mixed = list(tests)
    draw.shuffle(mixed)  # type: ignore[attr-defined]
    assert line_fields(mixed, None, None, 70) == line_fields(tests, None, None, 70)


numbers = [st.none() | st.floats(0, 500)] * 3
probe = st.tuples(st.integers(0, 20), st.integers(0, 20), *numbers, st.sampled_from([None, True]))


@given(st.lists(probe), st.randoms(use_true_random=False))
def test_latency_is_the_medians_of_the_probes_in_whatever_order(probes: list[tuple[float, ...]], draw: object) -> None:
    found = LatencyFigures.of(probes)
    counted = [one for one in probes if one[-1] is None]
    known = [one[2] for one in counted if one[2] is not None]
    assert found.rtt_p50_ms == (median(known) if known else None)
    assert (found.probes, found.sent) == (len(counted), sum(one[0] for one in counted))
    assert found.excluded == len(probes) - len(counted)
    mixed = list(probes)
    draw.shuffle(mixed)  # type: ignore[attr-defined]
    assert LatencyFigures.of(mixed) == found


def test_outages_that_are_left_out_are_only_counted() -> None:
    assert OutageTotal.of([(60.0, None), (0.1, None), (7000.0, True)]) == OutageTotal(2, 60.1, 1)


def test_what_an_exclusion_leaves_out_is_in_no_figure_and_counted() -> None:
    tests = [download(100.0, bytes=5, rtt_loaded_ms=30.0)]
    out = [
        download(900.0, bytes=7, rtt_loaded_ms=1.0, excluded="quarantine"),
        download(None, error="timeout", excluded="late"),
    ]
    latency, outages = LatencyFigures(2, 20, 20, 9.0), OutageTotal(1, 60.0)
    without = line_fields(tests, latency, outages, 150)
    found = line_fields([*tests, *out], LatencyFigures(2, 20, 20, 9.0, excluded=3), OutageTotal(1, 60.0, 4), 150)
    assert found == {**without, "excluded": 2 + 3 + 4}


# --- a place


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(1, 9))
def test_portions_have_every_unit_once(names: set[str], most: int) -> None:
    found = portions(names, most)
    assert sorted(name for some in found for name in some) == sorted(names)
    assert all(0 < len(some) <= most for some in found)


def test_a_line_counts_for_its_province_each_level_of_its_area_and_its_isp() -> None:
    assert list(places_of(row(LineId("nd-a-1", "4g")))) == [
        ("all", ""),
        ("area", "Nam Định"),
        ("area", "Nam Định/Hải Hậu"),
        ("area", "Nam Định/Hải Hậu/Hải Minh"),
        ("isp", "VNPT"),
    ]


def test_access_types_are_never_mixed_and_the_province_has_no_name() -> None:
    points = place_points(day_of(NOW, ZONE), [(row(LineId("a", "4g")), {}), (row(LineId("a", "ftth")), {})])
    assert len(points) == 10
    assert {point.fields["lines"] for point in points} == {1}
    assert {"scope": "all", "access": "mobile"} in [dict(point.tags) for point in points]
    assert {"scope": "isp", "place": "VNPT", "access": "fixed"} in [dict(point.tags) for point in points]


def line(median_mbps: float, **more: Value) -> dict[str, Value]:
    return {**line_fields([download(median_mbps, bytes=10)], None, None, 100), **more}


def test_a_place_has_the_medians_and_the_sums_of_its_lines() -> None:
    lines = [line(90.0, rtt_ms=10.0), line(100.0, rtt_ms=30.0), line(300.0, outage_s=4.5, outages=1), {}]
    fields = place_fields(lines)
    assert (fields["lines"], fields["measured"], fields["meeting"], fields["share"]) == (4, 3, 2, 2 / 3)
    assert (fields["median_mbps"], fields["ratio"], fields["rtt_ms"], fields["target_mbps"]) == (100.0, 1.0, 20.0, 100)
    assert (fields["tests"], fields["bytes"], fields["outages"], fields["outage_s"]) == (3, 30, 1, 4.5)
    assert set(fields) <= set(SCHEMAS["place_day"])
    nothing = place_fields([{}, {}])
    assert (nothing["lines"], nothing["measured"], nothing["tests"]) == (2, 0, 0)
    assert not {"share", "median_mbps", "ratio", "target_mbps"} & set(nothing)


@given(st.lists(st.integers(0, 2**63), max_size=30), st.integers(1, 30_000))
def test_sums_stop_at_what_a_port_carries_and_a_database_holds(sizes: list[int], lines: int) -> None:
    tests = [download(bytes=size) for size in sizes]
    line = line_fields(tests, None, OutageTotal(5, 1e12), 150.0)
    assert 0 <= int(line["bytes"]) <= MAX_LINE_BYTES
    assert int(line["bytes"]) == sum(sizes) or sum(sizes) > MAX_LINE_BYTES
    place = place_fields([line] * lines)
    assert int(place["bytes"]) <= MAX_COUNT
    assert float(place["outage_s"]) <= lines * MAX_LINE_OUTAGE_S


@given(st.lists(st.sampled_from(["a/b", "a/c", "a", "d"]), min_size=1), st.data())
def test_a_place_counts_the_same_in_whatever_order_lines_come(areas: list[str], data: st.DataObject) -> None:
    base = row(LineId("u", "4g"))
    rows = [
        (type(base)(f"u{n}", "4g", "mobile", "h", area, "ISP", base.from_), data.draw(st.floats(0, 300)))
        for n, area in enumerate(areas)
    ]
    found = {(t["scope"], t.get("place", "")): sorted(members) for t, members in by_place(rows)}
    assert found == {(t["scope"], t.get("place", "")): sorted(m) for t, m in by_place(reversed(rows))}
    assert found["all", ""] == sorted(value for _, value in rows)
    below_a = [value for one, value in rows if one.area.split("/")[0] == "a"]
    assert found.get(("area", "a"), []) == sorted(below_a)
    assert len(found.get(("isp", "ISP"), [])) == len(rows)


# --- a month


def test_a_month_is_written_with_its_verdict() -> None:
    verdict = Verdict("met", 70.0, samples=120, days=30, expected=124, median_mbps=80.0, low_mbps=75.0)
    fields = month_fields(verdict)
    assert (fields["verdict"], VERDICTS[fields["verdict_code"]], fields["ratio"]) == ("met", "met", 80 / 70)  # type: ignore[index]
    assert "high_mbps" not in fields
    assert set(fields) <= set(SCHEMAS["line_month"])


def test_the_share_of_a_months_place_is_of_what_was_decided() -> None:
    months = [Verdict("met", 70.0, median_mbps=80.0), Verdict("not_met", 70.0, median_mbps=60.0)]
    fields = place_month_fields([*months, Verdict("unmeasured", 70.0), Verdict("not_certain", 70.0, median_mbps=71.0)])
    counts = {"lines": 4, "met": 1, "not_met": 1, "not_certain": 1, "unmeasured": 1}
    assert fields == {**counts, "share": 0.5, "ratio": median([80, 60, 71]) / 70}
    assert "share" not in place_month_fields([Verdict("unmeasured", 70.0)])


# --- what came in


def test_many_units_of_an_hour_are_all_of_them() -> None:
    marks: dict[int, set[str] | None] = {}
    for n in range(ALL_FROM_UNITS - 1):
        _mark(marks, 7, {f"u{n}"})
    assert marks[7] is not None
    _mark(marks, 7, {"u0"})
    assert len(marks[7]) == ALL_FROM_UNITS - 1
    _mark(marks, 7, {"one more"})
    assert marks == {7: None}
    _mark(marks, 7, {"another"})
    assert marks == {7: None}
