"""Judging: what a test counts for, when a line meets its target, and how sure the interval is."""

import datetime as dt
import math
import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.judge import confidence_interval
from collector.judge.assess import (
    EXCLUDED_FLAGS,
    Judgement,
    JudgingRules,
    counted_mbps,
    detect_state,
    early_bias,
    judge,
)
from collector.judge.change_detector import DetectorState, Level
from collector.judge.confidence_interval import median_interval
from collector.store.row_types import Sample, SpeedRow
from xomnet.states import State

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
TARGET = 150.0


def spread(figures: list[float], apart: float = 6) -> list[Sample]:
    """Good tests, some hours apart, the last of them five minutes ago."""
    last = NOW - dt.timedelta(minutes=5)
    back = range(len(figures) - 1, -1, -1)
    return [Sample(last - dt.timedelta(hours=apart * n), figure) for n, figure in zip(back, figures, strict=True)]


def judged(samples: list[Sample], target: float = TARGET, plan: float | None = None) -> Judgement:
    return judge(samples, target, NOW, NOW - dt.timedelta(minutes=5), plan)


# --- what a test counts for


@pytest.mark.parametrize(
    ("sample", "counts"),
    [
        (Sample(NOW, 99.0), 99.0),
        (Sample(NOW, 0.0), 0.0),
        (Sample(NOW, 99.0, ("weak_radio",)), 99.0),
        (Sample(NOW, 99.0, ("a_flag_of_next_year",)), 99.0),
        (Sample(NOW, None, (), "timeout"), None),
        (Sample(NOW, None, ("link_down",), "connect"), 0.0),
        (Sample(NOW, None, ("link_down", "unit_fault"), "connect"), None),
        (Sample(NOW, None), None),
    ],
)
def test_what_a_test_counts_for(sample: Sample, counts: float | None) -> None:
    assert counted_mbps(sample) == counts


@pytest.mark.parametrize("flag", sorted(EXCLUDED_FLAGS))
def test_a_test_that_says_something_of_the_unit_does_not_count(flag: str) -> None:
    assert counted_mbps(Sample(NOW, 99.0, (flag,))) is None


# --- the interval of the median


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (15, 4, 12), (20, 6, 15), (25, 8, 18), (30, 10, 21), (120, 49, 72)],
)
def test_the_ends_of_the_interval_are_those_of_the_tables(n: int, low: int, high: int) -> None:
    assert median_interval([float(value) for value in range(1, n + 1)]) == (low, high)


@pytest.mark.parametrize("n", range(6))
def test_fewer_than_six_tests_give_no_interval(n: int) -> None:
    assert median_interval([1.0] * n) is None


def rank_of_0_1_0(n: int, confidence: float) -> int:
    """As version 0.1.0 found it, from the ends inwards; its binomials one from the other, which are the same."""
    tail, rank, ways = 0.0, 0, 1
    while rank < n // 2:
        tail += ways / 2**n
        if 1 - 2 * tail < confidence:
            break
        ways = ways * (n - rank) // (rank + 1)
        rank += 1
    return rank


def rank(n: int, confidence: float) -> int:
    """Which value of n, from either end."""
    found = median_interval(range(1, n + 1), confidence)
    return 0 if found is None else int(found[0])


def test_binomials_one_from_the_other_are_the_same() -> None:
    ways = 1
    for k in range(40):
        assert ways == math.comb(80, k)
        ways = ways * (80 - k) // (k + 1)


@pytest.mark.parametrize("confidence", [0.75, 0.8, 0.9, 0.95, 0.99])
def test_the_ends_of_the_interval_stand_where_they_always_stood(confidence: float) -> None:
    """What was judged and reported does not change."""
    several = [*range(1200), *range(1200, 6000, 331), 20_000]
    assert {n: rank(n, confidence) for n in several} == {n: rank_of_0_1_0(n, confidence) for n in several}


@given(st.integers(0, 400), st.floats(0.5, 0.9999))
def test_the_interval_is_the_narrowest_that_is_wide_enough(n: int, confidence: float) -> None:
    """Counted in whole numbers, and compared within what a sum of floats can tell."""
    found = rank(n, confidence)
    coverage = 1 - 2 * sum(math.comb(n, k) for k in range(found)) / 2**n
    assert coverage >= confidence - 1e-12
    assert found == n // 2 or coverage - 2 * math.comb(n, found) / 2**n < confidence + 1e-12


@pytest.mark.parametrize("n", [20_000, 150_000, 10_000_000])
def test_many_tests_cost_no_big_numbers(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binomial(whole: int, part: int) -> int:
        raise AssertionError(f"a binomial of {whole}")

    monkeypatch.setattr(math, "comb", no_binomial)
    place = confidence_interval._rank.__wrapped__(n, 0.95)
    assert place == pytest.approx(n / 2 - 1.959964 * math.sqrt(n) / 2, abs=1)


@pytest.mark.parametrize("n", [6, 8, 9, 20, 30, 120])
def test_the_interval_holds_the_true_median_as_often_as_it_says(n: int) -> None:
    draw = random.Random(n)
    trials = 4000
    held = 0
    for _ in range(trials):
        found = median_interval([draw.lognormvariate(4.6, 0.5) for _ in range(n)])
        assert found is not None
        held += found[0] <= 99.484316 <= found[1]
    assert held / trials >= 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5


@given(st.lists(st.floats(0, 1e4), min_size=6, max_size=400), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_interval_holds_the_median_and_lies_within_the_tests(values: list[float], confidence: float) -> None:
    found = median_interval(values, confidence)
    assert found is not None
    low, high = found
    assert min(values) <= low <= median(values) <= high <= max(values)
    assert low in values
    assert high in values


@given(st.lists(st.floats(0, 1e4), min_size=8, max_size=200), st.randoms())
def test_the_order_of_the_tests_does_not_matter(values: list[float], shuffle: random.Random) -> None:
    mixed = list(values)
    shuffle.shuffle(mixed)
    assert median_interval(mixed) == median_interval(values)


@given(st.lists(st.floats(0, 1e4), min_size=10, max_size=200))
def test_more_confidence_makes_it_no_narrower(values: list[float]) -> None:
    wide, narrow = median_interval(values, 0.99), median_interval(values, 0.8)
    assert wide is not None
    assert narrow is not None
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


# --- the state of a line


@pytest.mark.parametrize(
    ("figures", "state"),
    [
        ([160.0] * 12, "meeting"),
        ([150.0] * 12, "meeting"),
        ([149.9] * 12, "short"),
        ([100.0] * 8, "short"),
        ([240.0] * 8, "meeting"),
        ([160.0] * 5, "uncertain"),
        ([60.0] * 5, "uncertain"),
        ([], "uncertain"),
        ([150.0, 149.0] * 30, "uncertain"),
        ([200.0, 130.0] * 30, "meeting"),
        ([160.0, 80.0] * 6, "short"),
    ],
)
def test_the_state_follows_the_tests(figures: list[float], state: State) -> None:
    assert judged(spread(figures)).state == state


def test_a_new_line_meets_its_target_as_soon_as_the_interval_says_so() -> None:
    """Tests near to each other do not tell how a line scatters, so the sequential test would wait for more."""
    assert judged(spread([168.0] * 5, apart=0.001)).state == "uncertain"
    assert judged(spread([168.0] * 6, apart=0.001)).state == "meeting"
    fallen = spread([240.0] * 30 + [100.0] * 20 + [168.0] * 6)
    assert judged(fallen).state == "short", "one that was short needs more than that"


def test_one_bad_test_never_makes_a_line_short() -> None:
    for place in range(12):
        figures = [190.0] * 12
        figures[place] = 0.0
        assert judged(spread(figures)).state != "short"


@pytest.mark.parametrize(
    ("ago", "state"),
    [
        (dt.timedelta(minutes=15), "meeting"),
        (dt.timedelta(minutes=15, seconds=1), "silent"),
        (dt.timedelta(days=4000), "silent"),
    ],
)
def test_a_line_without_a_result_for_a_quarter_of_an_hour_is_silent(ago: dt.timedelta, state: State) -> None:
    assert judge(spread([160.0] * 8), TARGET, NOW, NOW - ago).state == state


@pytest.mark.parametrize("plan", [None, 100.0])
def test_a_line_that_was_never_heard_is_without_data_since_it_was_registered(plan: float | None) -> None:
    since = NOW - dt.timedelta(days=3)
    found = judge([], TARGET, NOW, None, plan, registered_since=since)
    assert (found.state, found.since, found.last_result_at, found.leaning) == ("no_data", since, None, False)
    assert judge([], TARGET, NOW, None, plan).since is None, "nobody knows since when"


@pytest.mark.parametrize(
    ("level", "heard_ago", "plan", "state", "leans"),
    [
        ("uncertain", dt.timedelta(minutes=5), None, "uncertain", True),
        ("meeting", dt.timedelta(minutes=5), None, "meeting", True),
        ("short", dt.timedelta(minutes=5), None, "short", False),
        ("uncertain", dt.timedelta(hours=1), None, "silent", False),
        ("uncertain", dt.timedelta(minutes=5), 100.0, "not_assessable", False),
        ("uncertain", None, None, "no_data", False),
    ],
)
def test_only_a_meeting_or_uncertain_line_leans_to_below_target(
    level: Level, heard_ago: dt.timedelta | None, plan: float | None, state: State, leans: bool
) -> None:
    last = None if heard_ago is None else NOW - heard_ago
    detector = DetectorState(level, leaning=True)
    found = judge(spread([140.0] * 8), TARGET, NOW, last, plan, detector_state=detector)
    assert (found.state, found.leaning) == (state, leans)


def test_when_a_line_was_registered_says_nothing_of_one_that_was_heard() -> None:
    registered, heard = NOW - dt.timedelta(days=3), NOW - dt.timedelta(hours=2)
    assert judge([], TARGET, NOW, heard, registered_since=registered).since == heard
    assert judge([], TARGET, NOW, NOW, registered_since=registered).since is None


def test_a_silent_line_keeps_its_figures() -> None:
    found = judge(spread([160.0] * 8), TARGET, NOW, NOW - dt.timedelta(hours=1))
    assert (found.median_mbps, found.samples) == (160.0, 8)


def test_a_plan_below_the_target_can_not_be_assessed() -> None:
    assert judged(spread([90.0] * 8), plan=100.0).state == "not_assessable"
    assert judged(spread([100.0] * 8), plan=150.0).state == "short"


def test_a_unit_whose_own_port_is_too_slow_can_not_assess() -> None:
    slow = [Sample(s.at, s.down_mbps, ("link_below_target",)) for s in spread([94.0] * 8)]
    assert judged(slow).state == "not_assessable"
    assert judged([*slow, Sample(NOW - dt.timedelta(minutes=1), 94.0)]).state == "short"


def test_what_lies_outside_the_window_is_left_out() -> None:
    old = [Sample(NOW - dt.timedelta(hours=72, seconds=n + 1), 10.0) for n in range(10, 0, -1)]
    ahead = [Sample(NOW + dt.timedelta(seconds=1), 10.0)]
    found = judged([*old, *spread([160.0] * 8), *ahead])
    assert (found.state, found.samples, found.now_mbps) == ("meeting", 8, 160.0)


def test_a_shorter_window_is_a_rule() -> None:
    rules = JudgingRules(window=dt.timedelta(hours=3))
    found = judge(spread([160.0] * 36, 0.25), TARGET, NOW, NOW, None, rules)
    assert (found.samples, found.state) == (12, "meeting")
    assert judge(spread([160.0] * 36), TARGET, NOW, NOW, None, rules).state == "uncertain"


def test_failures_of_the_line_count_as_nothing_received() -> None:
    down = [Sample(NOW - dt.timedelta(hours=6 * n), None, ("link_down",), "connect") for n in range(9, 0, -1)]
    found = judged(down)
    assert (found.state, found.median_mbps, found.ratio, found.samples) == ("short", 0.0, 0.0, 9)


def test_failures_of_the_unit_do_not_count() -> None:
    faulty = [Sample(NOW - dt.timedelta(hours=6 * n), None, ("unit_fault",), "dns") for n in range(9, 0, -1)]
    found = judged(faulty)
    assert (found.state, found.median_mbps, found.ratio, found.samples) == ("uncertain", None, None, 0)


def test_the_ratio_is_that_of_median_and_target() -> None:
    assert judged(spread([75.0] * 8)).ratio == 0.5


def test_the_figure_of_now_is_that_of_the_last_test() -> None:
    assert judged(spread([100.0, 120.0])).now_mbps == 120.0
    assert judged([*spread([100.0]), Sample(NOW, None, (), "timeout")]).now_mbps is None
    assert judged([]).now_mbps is None


@given(st.lists(st.floats(0, 1000), max_size=24), st.sampled_from([0.5, 2.0, 4.0]))
@settings(max_examples=40)
def test_only_the_ratio_to_the_target_matters(figures: list[float], times: float) -> None:
    one, other = judged(spread(figures)), judged(spread([times * f for f in figures]), times * TARGET)
    assert (one.state, one.since, one.leaning) == (other.state, other.since, other.leaning)


@given(st.lists(st.floats(150, 1000), max_size=24))
@settings(max_examples=40)
def test_a_line_that_always_reaches_its_target_is_never_short_and_soon_meets_it(figures: list[float]) -> None:
    found = judged(spread(figures))
    assert found.state in ("meeting", "uncertain")
    assert (found.state == "meeting") >= (len(figures) >= 8)
    assert not found.leaning


@given(st.lists(st.floats(0, 149), max_size=24))
@settings(max_examples=40)
def test_a_line_that_never_reaches_its_target_never_meets_it_and_is_short_in_three_days(figures: list[float]) -> None:
    found = judged(spread(figures))
    assert found.state in ("short", "uncertain")
    assert (found.state == "short") >= (len(figures) >= 12)


def test_a_silent_line_is_silent_since_its_last_result() -> None:
    assert judge(spread([160.0] * 12), TARGET, NOW, NOW - dt.timedelta(hours=2)).since == NOW - dt.timedelta(hours=2)


def test_a_fallen_line_says_since_when_and_what_it_gave_before() -> None:
    samples = spread([180.0] * 40 + [90.0] * 10)
    found = judged(samples)
    assert (found.state, found.since, found.before_mbps) == ("short", samples[40].at, 180.0)
    recent = [s for s in samples if s.at >= NOW - JudgingRules().window]
    detector_state = detect_state(samples, TARGET, JudgingRules())
    assert judge(recent, TARGET, NOW, NOW, None, JudgingRules(), detector_state) == judge(samples, TARGET, NOW, NOW)


def test_the_early_stop_is_compared_in_the_mean_of_the_audits() -> None:
    def test(down: float | None, early: float | None = None) -> SpeedRow:
        return SpeedRow(at=NOW, engine="http", server="http://s.example/", down_mbps=down, early_mbps=early)

    assert early_bias([]) is None
    assert early_bias([test(100), test(None)]) is None
    found = early_bias([test(100, 99), test(100), test(200, 206), test(0.0, 5)])
    assert found is not None
    assert found[0] == 2
    assert found[1] == pytest.approx(0.01)
