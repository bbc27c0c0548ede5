"""The estimator: warm-up, stopping and figures, from tables and over made-up transfers."""

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.estimate import (
    MEASURED_MIN_S,
    WARM_UP_MIN_S,
    bins_mbps,
    bytes_at,
    figures,
    rate_mbps,
    stable,
    warmed_up,
)

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


def test_bins_end_at_the_end_and_the_odd_rest_at_the_beginning_is_left_out() -> None:
    counts = transfer((0.5, 800), (1, 100), (1, 200))
    assert bins_mbps(counts, 0, 2.5, 1) == pytest.approx([100, 200])
    assert bins_mbps(counts, 0, 0.4, 1) == []


@pytest.mark.parametrize(
    ("phases", "warm_at"),
    [
        (((5, 100),), 1.0),  # not before a second, however steady
        (((0.75, 50), (4, 100)), 1.45),  # three windows of 250 ms after the step, less the 10 %
        (((1, 95), (4, 100)), 1.0),  # a step of 5 % is none
        (((0.25, 0), (0.25, 30), (0.25, 60), (0.25, 90), (4, 120)), 1.65),
    ],
)
def test_the_warm_up_ends_when_three_windows_agree(phases: tuple[tuple[float, float], ...], warm_at: float) -> None:
    counts = transfer(*phases)
    warm = [t for t, _ in counts[1:] if warmed_up(until(counts, t))]
    assert warm[0] == pytest.approx(warm_at)


def test_silence_is_no_steady_state() -> None:
    assert not warmed_up(transfer((5, 0)))
    assert not stable(transfer((5, 0)), 1.0)


@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0, 1000)), min_size=1, max_size=6))
def test_the_warm_up_never_ends_before_a_second(phases: list[tuple[float, float]]) -> None:
    counts = transfer(*phases, (1.0, 100.0))
    assert not any(warmed_up(until(counts, t)) for t, _ in counts if t < WARM_UP_MIN_S)


@given(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0, 1000)), max_size=6), st.floats(0.5, 3))
def test_a_test_never_stops_before_two_seconds_were_measured(phases: list[tuple[float, float]], since: float) -> None:
    counts = transfer(*phases, (6.0, 100.0))
    assert not any(
        stable(until(counts, t), since) for t, _ in counts if since <= t < since + MEASURED_MIN_S - 1e-6 and t > 0
    )


@pytest.mark.parametrize(
    ("last_two_seconds", "may_stop"),
    [
        ([100] * 10, True),
        ([100, 104, 96, 100, 103, 97, 100, 100, 100, 100], True),
        ([100, 10, 100, 100, 100, 100, 100, 100, 100, 100], True),  # one short gap in ten is in no tenth
        ([100, 100, 100, 100, 100, 120, 120, 120, 120, 120], False),
        ([50, 60, 70, 80, 90, 100, 110, 120, 130, 140], False),
    ],
)
def test_a_test_may_stop_when_its_last_two_seconds_agree(last_two_seconds: list[float], may_stop: bool) -> None:
    counts = transfer((1, 100), *((0.2, mbps) for mbps in last_two_seconds))
    assert stable(counts, 1.0) is may_stop


@given(
    ramp=st.lists(st.tuples(st.integers(1, 10).map(lambda ticks: ticks * TICK_S), st.floats(0, 2000)), max_size=5),
    mbps=st.floats(0.5, 5000),
    seconds=st.floats(4, 9),
)
def test_a_constant_rate_after_any_ramp_is_the_figure(
    ramp: list[tuple[float, float]], mbps: float, seconds: float
) -> None:
    counts = transfer(*ramp, (seconds, mbps))
    since = next((t for t, _ in counts if t >= 3 or (t > 0 and warmed_up(until(counts, t)))), None)
    assert since is not None
    since = max(since, sum(s for s, _ in ramp))  # what of the ramp agreed with itself is not this property's matter
    stop = next(t for t, _ in counts if t > since and stable(until(counts, t), since))
    assert stop - since == pytest.approx(MEASURED_MIN_S, abs=2 * TICK_S)
    found = figures(until(counts, stop), since)
    assert found.down_mbps == pytest.approx(mbps, rel=0.001, abs=0.001)
    assert found.measured_s == pytest.approx(stop - since)


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
