"""The charts as numbers: where a bar ends, where the target stands, which marks a state and a test get."""

import datetime as dt
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from collector.judge.assess import Judgement
from collector.store.row_types import LatencyRow, OutageRow, Sample
from collector.svg import element, picture
from collector.texts.texts import LOCAL, Texts
from collector.web import axis as axes
from collector.web import chart_history as history
from collector.web import chart_map, charts
from xomnet.states import LOOKS, STATES, State

NOW = dt.datetime(2026, 11, 22, 6, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VI = Texts("vi")


def tree(svg: Markup) -> ElementTree.Element:
    """Parsed: a chart that is no XML fails here."""
    return ElementTree.fromstring(str(svg))


def of_class(svg: Markup, name: str) -> list[ElementTree.Element]:
    return [e for e in tree(svg).iter() if name in (e.get("class") or "").split()]


def judged(state: State = "meeting", median: float | None = 100.0, target: float = 100.0) -> Judgement:
    return Judgement(state=state, samples=9, target_mbps=target, median_mbps=median, low_mbps=80, high_mbps=120)


def echoes(at: dt.datetime, received: int, **figures: float) -> LatencyRow:
    """Of twenty."""
    told = {"sent": 20, "received": received, "loss_percent": 5.0 * (20 - received), **figures}
    return LatencyRow(at=at, method="icmp", anchors=(), **told)  # type: ignore[arg-type]


def outage(at: dt.datetime, duration_s: float) -> OutageRow:
    return OutageRow(at=at, duration_s=duration_s, failed_probes=5)


def test_texts_and_attributes_of_a_drawing_are_escaped() -> None:
    drawn = picture('"><script>', element("text", "<b>&"), class_="x")
    assert "<script" not in drawn
    assert tree(drawn).get("aria-label") == '"><script>'
    assert "&lt;b&gt;&amp;" in drawn


@pytest.mark.parametrize(
    ("median", "target", "width"), [(100, 100, "62.5%"), (50, 100, "31.25%"), (42, 70, "37.5%"), (0, 70, "0%")]
)
def test_a_bar_is_as_long_as_its_share_of_the_target(median: float, target: float, width: str) -> None:
    assert of_class(charts.bar(judged(median=median, target=target), ""), "fill")[0].get("width") == width


@given(st.floats(0, 2000), st.floats(1, 1000))
def test_the_target_is_the_same_line_in_every_row_and_no_bar_leaves_its_track(median: float, target: float) -> None:
    drawn = charts.bar(judged(median=median, target=target), "x")
    assert of_class(drawn, "target")[0].get("x1") == "62.5%"
    assert 0 <= float(str(of_class(drawn, "fill")[0].get("width")).rstrip("%")) <= 100
    assert bool(of_class(drawn, "more")) == (median / target > charts.FULL_RATIO)


def test_a_line_without_a_median_has_a_target_and_no_bar() -> None:
    drawn = charts.bar(Judgement(state="silent", samples=0, target_mbps=70), "x")
    assert of_class(drawn, "fill") == []
    assert len(of_class(drawn, "target")) == 1


def test_no_band_is_drawn_across_a_gap() -> None:
    axis = axes.Axis(NOW - 48 * HOUR, NOW)
    hours = [h for h in range(47, 0, -1) if not 12 < h < 30]
    rows = [echoes(NOW - h * HOUR, 20, rtt_p50_ms=20.0, rtt_p95_ms=40.0) for h in hours]
    drawn = history.latency(VI, axis, rows, [], "x")
    assert len(of_class(drawn, "spread")) == len(of_class(drawn, "idle")) == 2


def test_every_state_has_a_shape_of_its_own() -> None:
    shapes = {re.sub(r'class="[^"]*"', "", charts.mark(state, 10, 10)) for state in STATES}
    assert len(shapes) == len(STATES) == len({look.mark for look in LOOKS.values()})


def test_a_line_without_data_is_a_dot_with_the_reach_of_every_other_mark() -> None:
    reach, dot = tree(charts.mark("no_data", 10, 10, 7)).iter("circle")
    assert (reach.get("class"), reach.get("r"), dot.get("r")) == ("reach", "7", "3.5")


def test_a_sparkline_leaves_out_what_does_not_count_and_crosses_what_failed() -> None:
    samples = [
        Sample(NOW - 3 * HOUR, 50.0),
        Sample(NOW - 2 * HOUR, 400.0, ("cross_traffic",)),
        Sample(NOW - HOUR, None, (), "timeout"),
        Sample(NOW, 100.0),
        Sample(NOW - 30 * HOUR, 10.0),
    ]
    drawn = charts.sparkline(samples, 100.0, NOW - 24 * HOUR, NOW, "meeting", "x")
    d = str(of_class(drawn, "trace")[0].get("d"))
    assert d.count("L") == 1
    target_y = float(str(of_class(drawn, "target")[0].get("y1")))
    first_y, last_y = (float(pair.split()[1]) for pair in d[1:].split("L"))
    assert last_y == pytest.approx(target_y)
    assert first_y > target_y
    assert len(of_class(drawn, "cross")) == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 500)), max_size=300), st.integers(1, 60))
def test_thinning_keeps_within_its_limit_and_its_range(points: list[tuple[float, float]], limit: int) -> None:
    thin = charts.reduce_points(sorted(points), limit)
    assert len(thin) <= limit
    assert bool(thin) == bool(points)
    if points:
        assert min(y for _, y in points) <= min(y for _, y in thin) <= max(y for _, y in points)


@given(st.floats(120, 31 * 86_400), st.integers(0, 86_400))
def test_ticks_are_few_inside_and_round_in_local_time(span_s: float, shift_s: int) -> None:
    until = NOW + dt.timedelta(seconds=shift_s)
    axis = axes.Axis(until - dt.timedelta(seconds=span_s), until)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= axes.MAX_TICKS + 1
    for at in ticks:
        assert axis.since <= at <= axis.until
        local = at.astimezone(LOCAL)
        since_midnight = local.hour * 3600 + local.minute * 60 + local.second
        assert since_midnight % min(axis.step_s(), 86_400) == 0


def test_peak_hours_are_those_of_viet_nam_and_clipped_to_the_axis() -> None:
    axis = axes.Axis(NOW - 24 * HOUR, NOW)  # 13:30 to 13:30 local
    assert axis.peaks() == [
        (dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), dt.datetime(2026, 11, 21, 16, tzinfo=dt.UTC))
    ]
    inside = axes.Axis(dt.datetime(2026, 11, 21, 13, tzinfo=dt.UTC), dt.datetime(2026, 11, 21, 14, tzinfo=dt.UTC))
    assert inside.peaks() == [(inside.since, inside.until)]
    assert len(axes.Axis(NOW - 720 * HOUR, NOW).peaks()) == 30


@pytest.mark.parametrize(
    ("age", "hours"), [(0.05, 1), (1, 1), (1.1, 24), (24, 24), (30, 168), (169, 720), (9999, 720), (None, 1)]
)
def test_the_shortest_range_that_holds_the_data_is_chosen(age: float | None, hours: int) -> None:
    assert axes.default_hours(None if age is None else NOW - age * HOUR, NOW) == hours


def test_an_axis_begins_shortly_before_the_first_of_the_data() -> None:
    axis = axes.fit_axis([NOW - dt.timedelta(minutes=10), NOW], 1, NOW)
    assert axis.span_s == pytest.approx(624)
    assert axes.fit_axis([NOW - dt.timedelta(seconds=3)], 1, NOW).span_s == 120
    assert axes.fit_axis([], 24, NOW).span_s == 86_400


@given(st.floats(1, 5000))
def test_a_grid_has_few_round_values_up_to_the_top(top: float) -> None:
    values = history.grid(top)
    assert values[0] == 0
    assert 2 <= len(values) <= 6
    assert values[-1] <= top * 1.0001


def test_dots_show_whether_a_test_counts_is_flagged_or_failed() -> None:
    axis = axes.Axis(NOW - HOUR, NOW)
    dots = [
        history.Dot(0.1, 80, "counted", "a"),
        history.Dot(0.2, 300, "flagged", "b"),
        history.Dot(0.3, None, "failed", "c <"),
    ]
    trend = [history.Trend(0.1, 80, 70, 90), history.Trend(0.5, 82, 75, 88)]
    drawn = history.downloads(VI, axis, dots, trend, 70.0, "x")
    assert [len(of_class(drawn, name)) for name in ("counted", "flagged", "cross", "median", "interval")] == [1] * 5
    assert "chỉ tiêu 70 Mb/s" in drawn
    target_y = float(str(of_class(drawn, "target")[0].get("y1")))
    assert float(str(of_class(drawn, "counted")[0].get("cy"))) < target_y


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_many_dots_become_few_and_the_rare_ones_stay(counted: int, failed: int) -> None:
    dots = [history.Dot(i / 4000, 1, "counted", "") for i in range(counted)]
    dots += [history.Dot(i / 4000, None, "failed", "") for i in range(failed)]
    few = history.limit_dots(dots, lambda dot: dot.validity, 900)
    assert len(few) <= 901
    assert sum(d.validity == "failed" for d in few) >= min(failed, 225)


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = [(x / 100, 10.0) for x in [*range(20), *range(60, 80)]]
    assert [len(piece) for piece in history.split_at_gaps(points)] == [20, 20]
    assert history.split_at_gaps([]) == []
    assert history.split_at_gaps([(0.5, 1.0)]) == [[(0.5, 1.0)]]


def test_latency_loss_and_outages_are_drawn_on_the_axis() -> None:
    axis = axes.Axis(NOW - HOUR, NOW)
    rows = [
        echoes(NOW - HOUR / 2, 10, rtt_min_ms=8, rtt_p50_ms=9, rtt_p95_ms=12, jitter_ms=1),
        echoes(NOW - HOUR / 4, 20, rtt_min_ms=8, rtt_p50_ms=9, rtt_p95_ms=12, jitter_ms=1),
        echoes(NOW - HOUR / 8, 0),
    ]
    lost = history.loss(VI, axis, rows, "x")
    assert [bar.get("x") for bar in of_class(lost, "loss-bar")] == ["50%", "87.5%"]
    assert len(of_class(history.latency(VI, axis, rows, [(0.5, 80.0)], "x"), "loaded")) == 1
    bars = of_class(history.outages(VI, axis, [outage(NOW - 2 * HOUR, 5400), outage(NOW, 1)], "x"), "outage")
    assert [(bar.get("x"), bar.get("width")) for bar in bars] == [("0%", "50%")]
    for drawn in (history.latency(VI, axis, [], [], "x"), history.loss(VI, axis, [], "x")):
        tree(drawn)


def place(lat: float, lon: float, state: State = "meeting", label: str = "a") -> chart_map.MapPlace:
    return chart_map.MapPlace(lat, lon, state, "/lines/a/b", label, "Hải <Hậu>")


def test_a_map_puts_north_up_and_the_worst_of_a_spot_on_it() -> None:
    drawn = chart_map.draw([place(20.4, 106.1, "meeting"), place(20.0, 106.5), place(20.4, 106.1, "short", "b")], "Map")
    assert drawn is not None
    links = [e for e in tree(drawn).iter("a")]
    assert len(links) == 2
    assert [len(of_class(drawn, state)) for state in ("short", "meeting")] == [1, 1]
    assert [title.text for title in tree(drawn).iter("title")].count("a\nb") == 1
    south = of_class(drawn, "meeting")[0]
    top = min(float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", str(of_class(drawn, "short")[0].get("d"))))
    assert float(str(south.get("cy"))) > top
    assert chart_map.draw([], "Map") is None


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=30))
def test_every_mark_lies_on_the_map(spots: list[tuple[float, float]]) -> None:
    drawn = chart_map.draw([place(*spot) for spot in spots], "Map")
    assert drawn is not None
    _, _, width, height = (float(part) for part in str(tree(drawn).get("viewBox")).split())
    for circle in of_class(drawn, "mark"):
        assert 0 < float(str(circle.get("cx"))) < width
        assert 0 < float(str(circle.get("cy"))) < height
