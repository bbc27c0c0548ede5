"""The warm-up of a transfer: where its steady part begins, by MSER truncation. Pure.

The rates of bins of a quarter of a second, from the first request on, are what is looked at; rates in Mb/s.
"""

from collections.abc import Sequence

BIN_S = 0.25
WARM_UP_MIN_S = 1.0


def steady_bin(bins: Sequence[float]) -> int:
    """The first bin of the steady part, by the marginal standard error rule.

    Source: K. P. White, "An effective truncation heuristic for bias reduction in simulation output", Simulation, 1997.
    Of all starts, the one that makes the standard error of the mean of the rest smallest. So a ramp, or the surplus
    that a sender puts into the line before its first losses, is left out as far as it makes the mean less certain, and
    no further. The rest is at least half of the test, and does not begin before the first second of a longer test.
    """
    number = len(bins)
    first = min(int(WARM_UP_MIN_S / BIN_S), number // 2)
    best, least = first, float("inf")
    total = squares = 0.0
    for start in range(number - 1, first - 1, -1):
        total += bins[start]
        squares += bins[start] ** 2
        rest = number - start
        error = max(0.0, squares - total * total / rest) / rest**2
        if rest * 2 >= number and error <= least:
            best, least = start, error
    return best
