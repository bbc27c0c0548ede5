"""Goodput, warm-up and early stop, from tables and over made-up transfers."""

import random
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measure.early_stop import MEASURED_MIN_S, has_drained, is_steady, may_stop
from agent.measure.goodput import add_bins, bytes_at, figures, rate_mbps
from agent.measure.warm_up import BIN_S, WARM_UP_MIN_S, steady_bin

TICK_S = 0.05

Counts = list[tuple[float, int]]


def transfer(*phases: tuple[float, float]) -> Counts:
    """Counts of a transfer of some phases, each `(seconds, Mb/s)`, looked at every 50 ms."""
    counts: Counts = [(0.0, 0)]
    t = total = 0.0
    for seconds, mbps in phases:
        for _ in range(round(seconds / TICK_S)):
            t, total = t + TICK_S, total + mbps * 1e6 / 8 * TICK_S
            counts.append((round(t, 3), round(total)))
    return counts


def until(counts: Counts, t: float) -> Counts:
    return [count for count in counts if count[0] <= t + 1e-9]


@pytest.mark.parametrize(
    ("t", "expected"), [(-1, 0), (0, 0), (0.25, 250), (0.5, 500), (1, 1500), (1.5, 2500), (2, 3500), (9, 3500)]
)
def test_bytes_between_two_counts_lie_on_a_straight_line(t: float, expected: float) -> None:
    assert bytes_at([(0, 0), (0.5, 500), (2, 3500)], t) == pytest.approx(expected)


def bins_of(counts: Counts) -> list[float]:
    bins: list[float] = []
    add_bins(bins, counts)
    return bins


def ends_at(counts: Counts, idle_ms: list[float], loaded: list[tuple[float, float]]) -> tuple[float, float]:
    """When a test over these counts stops early, and from when on it measured; `loaded` are `(s, ms)`."""
    bins: list[float] = []
    for t, _ in counts[1:]:
        if add_bins(bins, until(counts, t)) and may_stop(bins, idle_ms, [ms for at, ms in loaded if at <= t]):
            return t, steady_bin(bins) * BIN_S
    raise AssertionError("it never stops")


def test_bins_are_whole_quarters_of_a_second_from_the_first_request_on() -> None:
    counts = transfer((0.5, 80), (0.25, 100), (0.2, 999))
    bins: list[float] = []
    assert add_bins(bins, until(counts, 0.5))
    assert not add_bins(bins, until(counts, 0.7))
    assert add_bins(bins, counts)
    assert bins == pytest.approx([80, 80, 100])


@pytest.mark.parametrize(
    ("bins", "first"),
    [
        ([], 0),
        ([100.0], 0),
        ([100.0] * 3, 1),  # a test of less than two seconds: its second half
        ([100.0] * 12, 4),  # a constant rate: all but the first second
        ([5, 20, 60, 90, 95, 100, *[100.0] * 10], 5),  # a ramp
        ([100, 100, 100, 100, 100, 100, 80, 60, 40, 30, *[20.0] * 12], 10),  # what the sender had sent too early
        ([*[100.0] * 7, *[20.0] * 5], 6),  # never less than half of the test
        ([90, 110] * 10, 4),  # noise is no ramp
    ],
)
def test_the_steady_part_begins_where_the_mean_is_surest(bins: list[float], first: int) -> None:
    assert steady_bin(bins) == first


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=80))
def test_the_steady_part_is_at_least_half_and_leaves_out_the_first_second(bins: list[float]) -> None:
    first = steady_bin(bins)
    assert first <= len(bins) / 2
    assert first >= min(WARM_UP_MIN_S / BIN_S, len(bins) // 2)


def test_the_rate_of_ordinary_noise_is_not_bent_by_the_choice_of_its_part() -> None:
    chance = random.Random(4)
    found = []
    for _ in range(2000):
        bins = [max(0.0, chance.gauss(100, 20)) for _ in range(40)]
        found.append(fmean(bins[steady_bin(bins) :]))
    assert fmean(found) == pytest.approx(100, abs=0.4)


@pytest.mark.parametrize(
    ("window", "agreed"),
    [
        ([100.0] * 8, True),
        ([100.0] * 7, False),  # under two seconds
        ([100, 104, 96, 100, 103, 97, 100, 100], True),
        ([100, 100, 100, 100, 103, 103, 103, 103], False),  # the halves differ by 3 %
        ([50, 60, 70, 80, 90, 100, 110, 120], False),
        ([120, 80] * 6, False),
        ([0.0] * 20, False),
    ],
)
def test_a_window_agrees_with_itself(window: list[float], agreed: bool) -> None:
    assert is_steady(window) is agreed


@pytest.mark.parametrize(
    ("loaded_ms", "said"),
    [
        ([], False),
        ([20, 21, 20, 21], False),  # never a queue: the server or a policer sets the pace
        ([20, 60, 100, 90, 95], False),  # it stands
        ([20, 60, 100, 60, 55, 50], True),  # it shrinks
        ([20, 100, 21, 90, 95, 92], False),  # it was gone for a moment
        ([20, 23, 24, 20, 20, 20], False),  # not worth the name
    ],
)
def test_a_queue_that_came_and_goes(loaded_ms: list[float], said: bool) -> None:
    assert has_drained([20.0] * 5, loaded_ms) is said


def test_a_full_line_takes_two_seconds_after_the_first() -> None:
    standing = [(i * 0.2, 90.0) for i in range(50)]
    stop, since = ends_at(transfer((0.25, 5), (0.25, 60), (9, 100)), [20.0] * 5, standing)
    assert stop == pytest.approx(3.0)
    assert since == 1.0


def test_a_rate_that_its_sender_cannot_hold_is_waited_for() -> None:
    """Full for two seconds out of a queue that runs dry, then a fifth: what random losses do to TCP."""
    queue = [(0.4, 20.0), (0.6, 90.0), *((1.0 + i * 0.2, max(20.0, 90.0 - 10 * i)) for i in range(60))]
    counts = transfer((0.5, 50), (2.6, 100), (1, 60), (10, 20))
    stop, since = ends_at(counts, [20.0] * 5, queue)
    assert since >= 3.5
    assert figures(until(counts, stop), since).down_mbps == pytest.approx(20, rel=0.1)


@given(
    ramp=st.lists(st.tuples(st.integers(1, 10).map(lambda ticks: ticks * TICK_S), st.floats(0, 2000)), max_size=5),
    mbps=st.floats(0.5, 5000),
)
def test_a_constant_rate_after_any_ramp_is_the_figure(ramp: list[tuple[float, float]], mbps: float) -> None:
    counts = transfer(*ramp, (12, mbps))
    stop, since = ends_at(counts, [20.0] * 5, [])
    assert stop - since >= MEASURED_MIN_S
    assert figures(until(counts, stop), since).down_mbps == pytest.approx(mbps, rel=0.05, abs=0.001)


def test_the_gross_figure_is_all_bytes_over_all_the_time() -> None:
    counts = transfer((2, 50), (2, 150))
    found = figures(counts, 2.0)
    assert found.gross_mbps == pytest.approx(100)
    assert found.gross_mbps == pytest.approx(counts[-1][1] * 8e-6 / counts[-1][0])
    assert found.down_mbps == pytest.approx(150)


def test_the_trimmed_figure_leaves_out_the_six_slowest_and_the_two_fastest_of_twenty_slices() -> None:
    rates = [1000, 900, *range(200, 188, -1), 5, 4, 3, 2, 1, 0]
    shuffled = rates[7:] + rates[:7]
    found = figures(transfer(*((0.2, mbps) for mbps in shuffled)), 1.0)
    assert found.trimmed_mbps == pytest.approx(fmean(range(200, 188, -1)), rel=1e-3)


def test_the_series_has_the_rate_of_each_tenth_of_a_second_from_the_first_request_on() -> None:
    counts = transfer((0.1, 10), (0.1, 20), (0.1, 30), (0.05, 999))
    assert figures(counts, 0.1).series_mbps == pytest.approx((10, 20, 30), rel=1e-3)


@given(st.lists(st.tuples(st.floats(0.01, 0.5), st.integers(0, 10_000_000)), min_size=3, max_size=60))
def test_figures_lie_within_what_was_seen_and_the_series_adds_up_to_the_bytes(steps: list[tuple[float, int]]) -> None:
    counts: Counts = [(0.0, 0)]
    for seconds, more in steps:
        counts.append((counts[-1][0] + seconds, counts[-1][1] + more))
    fastest = max(rate_mbps(counts, a[0], b[0]) for a, b in pairwise(counts))
    found = figures(counts, counts[1][0])
    for figure in (found.down_mbps, found.gross_mbps, found.trimmed_mbps):
        assert -1e-6 <= figure <= fastest * (1 + 1e-6) + 1e-6
    covered = bytes_at(counts, len(found.series_mbps) * 0.1)
    assert sum(found.series_mbps) * 0.1 * 1e6 / 8 == pytest.approx(covered, rel=1e-3, abs=130 * len(counts) * 5)
