"""The rule of stopping a test early: more of the transfer would not change the figure. Pure.

A test may end when its steady part agrees with itself, and the line, not the sender, set the pace.
"""

from collections.abc import Sequence
from statistics import fmean, median, quantiles

from agent.measure.warm_up import BIN_S, steady_bin

MEASURED_MIN_S, DRAINED_MIN_S = 2.0, 5.0
HALVES_AGREE, TENTHS_AGREE = 0.02, 0.10
QUEUE_MS = 5.0
LAST_PROBES = 3


def may_stop(bins: Sequence[float], idle_ms: Sequence[float], loaded_ms: Sequence[float]) -> bool:
    """Whether a test may stop, from the rates of its bins in Mb/s and its round trips, idle and loaded, in ms."""
    window = bins[steady_bin(bins) :]
    enough_s = DRAINED_MIN_S if has_drained(idle_ms, loaded_ms) else MEASURED_MIN_S
    return len(window) * BIN_S >= enough_s and is_steady(window)


def is_steady(window: Sequence[float]) -> bool:
    """Whether the means of a window's halves differ by at most 2% of its mean, and its P10 and P90 by at most 10%."""
    if len(window) < int(MEASURED_MIN_S / BIN_S):
        return False
    mean, half = fmean(window), len(window) // 2
    tenths = quantiles(window, n=10, method="inclusive")
    return (
        mean > 0
        and abs(fmean(window[:half]) - fmean(window[-half:])) <= HALVES_AGREE * mean
        and tenths[-1] - tenths[0] <= TENTHS_AGREE * mean
    )


def has_drained(idle_ms: Sequence[float], loaded_ms: Sequence[float]) -> bool:
    """Whether the queue that the transfer had built up has shrunk to less than half.

    While a queue stands, the line sets the pace, and two seconds show it. A queue that shrinks says that the sender is
    slowing down: after random losses the full rate of the first seconds does not last.
    """
    if not idle_ms or not loaded_ms:
        return False
    most = max(loaded_ms) - median(idle_ms)
    return most > QUEUE_MS and median(loaded_ms[-LAST_PROBES:]) - median(idle_ms) < most / 2
