"""Goodput: from counts of payload bytes over time to rates and figures. Pure.

Counts are `(seconds since the first request, payload bytes so far)`, in the order of time; rates are Mb/s. The measured
window begins after the warm-up (`warm_up`) and ends where the test may stop (`early_stop`) or at a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from agent.measure.warm_up import BIN_S

Counts = Sequence[tuple[float, int]]

SERIES_S = 0.1
SLICES, SLOWEST, FASTEST = 20, 6, 2
"""Of 20 slices the slowest 30% and the fastest 10% are dropped, as in Speedtest's classic rule."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The figures of one test, all from the same counts: steady goodput, mean of the whole transfer, trimmed mean,
    length of the measured window, and goodput of each 100 ms.
    """

    down_mbps: float
    gross_mbps: float
    trimmed_mbps: float
    measured_s: float
    series_mbps: tuple[float, ...]


def bytes_at(counts: Counts, t: float) -> float:
    """Bytes by the moment `t` in seconds, interpolated linearly between the two counts around it."""
    low, high = 0, len(counts) - 1
    if t <= counts[0][0]:
        return counts[0][1]
    if t >= counts[high][0]:
        return counts[high][1]
    while high - low > 1:
        middle = (low + high) // 2
        if counts[middle][0] <= t:
            low = middle
        else:
            high = middle
    (t0, b0), (t1, b1) = counts[low], counts[high]
    return b0 + (b1 - b0) * (t - t0) / (t1 - t0)


def rate_mbps(counts: Counts, since: float, until: float) -> float:
    """Mean rate between two moments in seconds."""
    return (bytes_at(counts, until) - bytes_at(counts, since)) * 8e-6 / (until - since)


def add_bins(bins: list[float], counts: Counts) -> bool:
    """Adds the bins that are complete by the last count; returns whether there were any."""
    before = len(bins)
    while (len(bins) + 1) * BIN_S <= counts[-1][0]:
        bins.append(rate_mbps(counts, len(bins) * BIN_S, (len(bins) + 1) * BIN_S))
    return len(bins) > before


def figures(counts: Counts, since: float) -> Estimate:
    """The figures of a test whose measured window begins at `since`, in seconds, and ends at the last count."""
    end = counts[-1][0]
    width = end / SLICES
    slices = sorted(rate_mbps(counts, i * width, (i + 1) * width) for i in range(SLICES))
    series = (rate_mbps(counts, i * SERIES_S, (i + 1) * SERIES_S) for i in range(int(end / SERIES_S + 1e-9)))
    return Estimate(
        down_mbps=rate_mbps(counts, since, end),
        gross_mbps=rate_mbps(counts, 0.0, end),
        trimmed_mbps=fmean(slices[SLOWEST : SLICES - FASTEST]),
        measured_s=end - since,
        series_mbps=tuple(round(rate, 2) for rate in series),
    )
