"""The verdict of a month: what it asks for, what it leaves out, how wide its interval is, and how often it is wrong."""

import datetime as dt
import random
from bisect import bisect_left
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.verdicts import ASKINGS, WAYS, Asking, Line, alerts_a_year, falls_found, verdicts, wrong
from collector.judge.assess import quantile
from collector.judge.confidence_interval import _resamples, median_interval, monthly_interval
from collector.judge.verdict import Month, Verdict, line_verdict, verdict_of
from collector.store.row_types import Sample
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

TARGET = 100.0
HOURS = (8, 14, 19.5, 21.5)
NOVEMBER = Month(2026, 11)


def month(figures: list[float] | float, days: range = range(30), hours: tuple[float, ...] = HOURS) -> list[Sample]:
    """Tests of some days of November, in the order of time; `figures` by turns."""
    turns = [figures] if isinstance(figures, float) else figures
    moments = [NOVEMBER.since() + dt.timedelta(days=day, hours=hour) for day in days for hour in hours]
    return [Sample(at, turns[n % len(turns)]) for n, at in enumerate(moments)]


def judged(samples: list[Sample], now: dt.datetime | None = None, plan: float | None = None) -> Verdict:
    return verdict_of(samples, TARGET, NOVEMBER, 4, now or NOVEMBER.until(), plan_mbps=plan)


def test_a_good_month_is_met_and_a_bad_one_is_not() -> None:
    good, bad = judged(month(120.0)), judged(month(99.9))
    assert (good.verdict, good.reasons, good.samples, good.days, good.peak_samples) == ("met", (), 120, 30, 60)
    assert (good.median_mbps, good.low_mbps, good.ratio) == (120, 120, 1.2)
    assert good.mean_mbps == pytest.approx(120)
    assert (bad.verdict, bad.reasons) == ("not_met", ())
    assert judged(month(100.0)).verdict == "met"


def test_without_a_test_that_counts_a_month_is_unmeasured() -> None:
    assert judged([]).verdict == "unmeasured"
    flagged = [Sample(s.at, s.down_mbps, ("wifi",)) for s in month(120.0)]
    found = judged(flagged, plan=50)
    assert (found.verdict, found.reasons, found.excluded, found.median_mbps) == ("unmeasured", (), 120, None)


@pytest.mark.parametrize(
    ("samples", "reasons"),
    [
        (month(120.0, range(7)), ("few_tests", "few_days", "few_valid")),
        (month(120.0, range(9)), ("few_days", "few_valid")),
        (month(120.0, range(10)), ("few_valid",)),
        (month(120.0, range(23)), ("few_valid",)),
        (month(120.0, range(24)), ()),
        (month(120.0, hours=(7, 9, 12, 15)), ("few_peak",)),
        (month(120.0, hours=(18.9, 23.0, 12, 15)), ("few_peak",)),
        (month(120.0, range(6)) + month(120.0, range(6, 30), (7, 9, 12, 15)), ()),
        (month([90.0, 110.0]), ("undecided",)),
        (month([90.0, 110.0], range(9)), ("few_days", "few_valid", "undecided")),
    ],
)
def test_what_a_verdict_asks_for(samples: list[Sample], reasons: tuple[str, ...]) -> None:
    found = judged(samples)
    assert found.reasons == reasons
    assert (found.verdict == "not_certain") == bool(reasons)


def test_of_the_present_month_counts_what_was_due() -> None:
    found = judged(month(120.0), NOVEMBER.since() + dt.timedelta(days=12))
    assert (found.verdict, found.samples, found.expected, found.valid_share) == ("met", 48, 48, 1.0)


def test_tests_of_other_months_and_tests_that_were_asked_for_are_left_out() -> None:
    other = [Sample(s.at + dt.timedelta(days=30), 1.0) for s in month(1.0)]
    asked = [Sample(s.at + dt.timedelta(minutes=20), 1.0, asked="confirmation") for s in month(1.0)]
    samples = sorted(month(120.0) + asked, key=lambda s: s.at) + other
    assert judged(samples) == judged(month(120.0))


def test_failures_of_the_line_are_zeros_and_those_of_the_unit_are_excluded() -> None:
    samples = month(120.0)
    samples[::4] = [Sample(s.at, None, ("link_down",), "connect") for s in samples[::4]]
    samples[1::12] = [Sample(s.at, None, ("unit_fault",), "dns") for s in samples[1::12]]
    found = judged(samples)
    assert (found.failed, found.excluded, found.samples, found.p5_mbps) == (30, 10, 110, 0)


def test_a_plan_or_a_port_below_the_target_is_no_fault_of_the_line() -> None:
    assert judged(month(60.0), plan=60).reasons == ("not_assessable",)
    port = [Sample(s.at, 60.0, ("link_below_target",)) for s in month(60.0)]
    assert judged(port).reasons == ("not_assessable",)
    few = port[:20] + month(120.0)[20:]
    assert (judged(few).verdict, judged(few).excluded) == ("met", 20)


def test_consistency_is_of_the_peak_hours_alone() -> None:
    found = judged(month([120.0, 120.0, 79.9, 80.0]))
    assert found.consistency == 0.5


def test_the_interval_of_days_that_differ_is_wider_than_that_of_independent_tests() -> None:
    draw = random.Random(1)
    days = [day for day in range(30) for _ in range(4)]
    level = [draw.gauss(100, 30) for _ in range(30)]
    together = [level[day] + draw.gauss(0, 3) for day in days]
    low, high = monthly_interval(together, days) or (0, 0)
    exact = median_interval(together) or (0, 0)
    assert high - low > 1.5 * (exact[1] - exact[0])
    apart = [draw.gauss(100, 30) for _ in days]
    low, high = monthly_interval(apart, days) or (0, 0)
    exact = median_interval(apart) or (0, 0)
    assert exact[1] - exact[0] <= high - low < 1.5 * (exact[1] - exact[0])
    assert monthly_interval(together[:5], days[:5]) is None


def interval_of_0_1_0(values: list[float], days: list[int]) -> tuple[float, float]:
    """As version 0.1.0 found it: each resample goes through all values."""
    exact = median_interval(values) or (0, 0)
    names = {day: n for n, day in enumerate(dict.fromkeys(days))}
    ordered = sorted(zip(values, (names[day] for day in days), strict=True))

    def middle(weights: tuple[int, ...]) -> float:
        counts = list(accumulate(weights[day] for _, day in ordered))
        return ordered[bisect_left(counts, counts[-1] / 2)][0]

    medians = sorted(map(middle, _resamples(len(names))))
    return min(exact[0], medians[25]), max(exact[1], medians[-26])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 71.5, 150.0]) | st.floats(0, 1000), st.integers(1, 31)),
        min_size=6,
        max_size=300,
    )
)
def test_the_interval_of_a_month_stands_where_it_always_stood(tests: list[tuple[float, int]]) -> None:
    """What was reported does not change."""
    values, days = [value for value, _ in tests], [day for _, day in tests]
    assert monthly_interval(values, days) == interval_of_0_1_0(values, days)


def test_the_same_month_has_the_same_verdict_for_ever() -> None:
    line = Line(1.1, 0.4, WAYS[0], 4, "for ever")
    samples = month([line.mbps(n * 3600.0) for n in range(120)])
    found = judged(samples)
    assert found == judged(samples)
    assert found.low_mbps is not None
    assert (round(found.low_mbps, 6), found.verdict) == (92.914825, "not_certain")  # as it was in 2026


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 3), (1, 5), (0.25, 2), (0.05, 1.2)])
def test_a_share_of_values_lies_below_the_quantile(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0, 5.0], share) == pytest.approx(value)
    assert quantile([7.0], share) == 7.0


def test_a_line_is_judged_by_the_target_at_the_end_and_since_it_was_registered() -> None:
    targets = Targets(
        [Target(access=access, from_=dt.date(2024, 1, 1), down_mbps=70) for access in ("mobile", "fixed")]
        + [Target(access="mobile", from_=dt.date(2026, 11, 20), down_mbps=100)]
    )
    row = LineRow("nd-a-1", "4g", "mobile", "Xóm 5", "Nam Định", "VNPT", from_=dt.date(2026, 11, 16))
    registry = Registry([row], targets)
    samples = month(90.0, range(15, 30))
    now = line_verdict(samples, row, registry, NOVEMBER, NOVEMBER.since() + dt.timedelta(days=18))
    end = line_verdict(samples, row, registry, NOVEMBER, NOVEMBER.until() + dt.timedelta(days=9))
    assert (now.target_mbps, now.expected, now.samples) == (70, 12, 12)
    assert (end.target_mbps, end.expected, end.samples, end.verdict) == (100, 60, 60, "not_met")


@pytest.mark.parametrize(
    ("text", "year", "days"), [("2026-11", 2026, 30), ("2028-02", 2028, 29), ("2026-12", 2026, 31)]
)
def test_a_month_is_of_the_province_s_time(text: str, year: int, days: int) -> None:
    month = Month.parse(text)
    assert (str(month), month.year, month.days, month.next.previous) == (text, year, days, month)
    assert month.until() - month.since() == dt.timedelta(days=days)
    assert Month.of(month.since()) == month == Month.of(month.until() - dt.timedelta(microseconds=1))


# --- how often it is wrong: a part of `python -m bench verdicts`


@pytest.mark.parametrize("level", [0.7, 0.9, 1.1, 1.3])
def test_simulated_months_are_hardly_ever_judged_wrong(level: float) -> None:
    ways = (WAYS[0], WAYS[-1])
    found = [one.verdict for way in ways for one in verdicts(level, 0.4, way, 8)[0]]
    assert sum(wrong(level, verdict) for verdict in found) <= 1
    if level in (0.7, 1.3):
        assert found.count("not_met" if level < 1 else "met") >= 12


def test_a_sound_line_is_left_alone_where_the_naive_rule_shouts_and_a_fall_is_found() -> None:
    plain = WAYS[0]
    found = alerts_a_year(1.1, 0.4, plain, Asking(), 4)
    assert found["ours"] <= 4.5
    assert found["naive"] > 200
    assert alerts_a_year(1.1, 0.4, plain, ASKINGS["asked"], 4)["ours"] <= 2
    assert alerts_a_year(1.3, 0.4, plain, ASKINGS["asked"], 2)["ours"] == 0
    assert falls_found(0.4, plain, Asking(), 60)["72 h"] >= 0.75
    assert falls_found(0.4, plain, ASKINGS["asked"], 100)["24 h"] >= 0.85
    assert falls_found(0.2, plain, ASKINGS["asked"], 40)["24 h"] >= 0.9
