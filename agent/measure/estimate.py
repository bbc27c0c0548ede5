"""From byte counts over time to figures: where the steady part begins, when to stop, goodput. Pure.

Counts are `(seconds since the first request, payload bytes so far)`, in the order of time; rates are Mb/s. The rates of
bins of a quarter of a second, from the first request on, are what the two rules look at:

- the measured window begins where leaving out more would make the mean less certain (`steady_bin`);
- the test may end when that window agrees with itself and the line, not the sender, set the pace (`agrees`, `drained`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles

Counts = Sequence[tuple[float, int]]

BIN_S = 0.25
WARM_UP_MIN_S = 1.0
MEASURED_MIN_S, DRAINED_MIN_S = 2.0, 5.0
HALVES_AGREE, TENTHS_AGREE = 0.02, 0.10
QUEUE_MS = 5.0
LAST_PROBES = 3
SERIES_S = 0.1
SLICES, SLOWEST, FASTEST = 20, 6, 2
"""Of 20 slices the slowest 30 % and the fastest 10 % are dropped, as Speedtest's classic rule does."""


@dataclass(frozen=True, slots=True)
class Estimate:
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


def more_bins(bins: list[float], counts: Counts) -> bool:
    """Adds the bins that are whole by the last count to those before; whether there were any."""
    before = len(bins)
    while (len(bins) + 1) * BIN_S <= counts[-1][0]:
        bins.append(rate_mbps(counts, len(bins) * BIN_S, (len(bins) + 1) * BIN_S))
    return len(bins) > before


def steady_bin(bins: Sequence[float]) -> int:
    """The first bin of the steady part, by the marginal standard error rule (MSER; White, 1997).

    Of all starts, the one that makes the standard error of the mean of the rest smallest: a ramp, or the surplus that
    a sender puts into the line before its first losses, is left out as far as it makes the mean less certain, and no
    further. The rest is at least half of the test, and does not begin before the first second of a longer one.
    """
    number = len(bins)
    first = min(int(WARM_UP_MIN_S / BIN_S), number // 2)
    best, least = first, float("inf")
    total = squares = 0.0
    for start in range(number - 1, first - 1, -1):
        total += bins[start]
        squares += bins[start] ** 2
        kept = number - start
        error = max(0.0, squares - total * total / kept) / kept**2
        if kept * 2 >= number and error <= least:
            best, least = start, error
    return best


def agrees(window: Sequence[float]) -> bool:
    """Whether a window is steady: its halves within 2 % of the mean of each other, its P10 and P90 within 10 %."""
    if len(window) < int(MEASURED_MIN_S / BIN_S):
        return False
    mean, half = fmean(window), len(window) // 2
    tenths = quantiles(window, n=10, method="inclusive")
    return (
        mean > 0
        and abs(fmean(window[:half]) - fmean(window[-half:])) <= HALVES_AGREE * mean
        and tenths[-1] - tenths[0] <= TENTHS_AGREE * mean
    )


def drained(idle_ms: Sequence[float], loaded_ms: Sequence[float]) -> bool:
    """Whether the queue that the transfer had built up has gone to less than half.

    As long as a queue stands, the line sets the pace, and two seconds tell it. One that shrinks says that the sender is
    slowing down: after random losses the full rate of the first seconds does not last.
    """
    if not idle_ms or not loaded_ms:
        return False
    most = max(loaded_ms) - median(idle_ms)
    return most > QUEUE_MS and median(loaded_ms[-LAST_PROBES:]) - median(idle_ms) < most / 2


def may_stop(bins: Sequence[float], idle_ms: Sequence[float], loaded_ms: Sequence[float]) -> bool:
    """Whether more of the transfer would not change the figure: the rule of stopping early."""
    window = bins[steady_bin(bins) :]
    enough_s = DRAINED_MIN_S if drained(idle_ms, loaded_ms) else MEASURED_MIN_S
    return len(window) * BIN_S >= enough_s and agrees(window)


def figures(counts: Counts, since: float) -> Estimate:
    """The figures of a test whose measured window begins at `since` and ends at the last count."""
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
