"""From byte counts over time to figures: warm-up, when to stop, goodput. Pure.

Counts are `(seconds since the first request, payload bytes so far)`, in the order of time; rates are Mb/s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles

Counts = Sequence[tuple[float, int]]

WARM_UP_MIN_S, WARM_UP_MAX_S = 1.0, 3.0
WARM_UP_WINDOW_S, WARM_UP_WINDOWS, WARM_UP_AGREE = 0.25, 3, 0.10
MEASURED_MIN_S = 2.0
STABLE_BIN_S, STABLE_SPREAD = 0.2, 0.10
SERIES_S = 0.1
SLICES, SLOWEST, FASTEST = 20, 6, 2
"""Of 20 slices the slowest 30 % and the fastest 10 % are dropped, as Speedtest's classic rule does."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one test says, all from the same counts."""

    down_mbps: float
    gross_mbps: float
    trimmed_mbps: float
    measured_s: float
    series_mbps: tuple[float, ...]


def bytes_at(counts: Counts, t: float) -> float:
    """Bytes by a moment, straight between the two counts around it."""
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
    """Mean rate of a window."""
    return (bytes_at(counts, until) - bytes_at(counts, since)) * 8e-6 / (until - since)


def bins_mbps(counts: Counts, since: float, until: float, width_s: float) -> list[float]:
    """Rates of the whole bins of a width that end at `until`, first to last."""
    number = int((until - since) / width_s + 1e-9)
    return [rate_mbps(counts, until - (i + 1) * width_s, until - i * width_s) for i in reversed(range(number))]


def warmed_up(counts: Counts) -> bool:
    """Whether the ramp is over at the last count: three windows of 250 ms agree within 10 %, not before 1 s."""
    now = counts[-1][0]
    if now < WARM_UP_MIN_S:
        return False
    rates = bins_mbps(counts, now - WARM_UP_WINDOW_S * WARM_UP_WINDOWS, now, WARM_UP_WINDOW_S)
    return max(rates) > 0 and (max(rates) - min(rates)) / max(rates) <= WARM_UP_AGREE


def stable(counts: Counts, since: float) -> bool:
    """Whether the measured window may end: at least 2 s, and the last 2 s agree.

    They do when P10 and P90 of their 200 ms bins are within 10 % of the median of each other.
    """
    now = counts[-1][0]
    if now - since < MEASURED_MIN_S - 1e-9:
        return False
    rates = bins_mbps(counts, now - MEASURED_MIN_S, now, STABLE_BIN_S)
    middle = median(rates)
    tenths = quantiles(rates, n=10, method="inclusive")
    return middle > 0 and (tenths[-1] - tenths[0]) / middle <= STABLE_SPREAD


def figures(counts: Counts, since: float) -> Figures:
    """The figures of a test whose measured window begins at `since` and ends at the last count."""
    end = counts[-1][0]
    width = end / SLICES
    slices = sorted(rate_mbps(counts, i * width, (i + 1) * width) for i in range(SLICES))
    series = (rate_mbps(counts, i * SERIES_S, (i + 1) * SERIES_S) for i in range(int(end / SERIES_S + 1e-9)))
    return Figures(
        down_mbps=rate_mbps(counts, since, end),
        gross_mbps=rate_mbps(counts, 0.0, end),
        trimmed_mbps=fmean(slices[SLOWEST : SLICES - FASTEST]),
        measured_s=end - since,
        series_mbps=tuple(round(rate, 2) for rate in series),
    )
