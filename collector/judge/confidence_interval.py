"""Confidence intervals of the median: of a window by order statistics, of a month also by a bootstrap of whole days."""

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from operator import mul

RESAMPLES = 1000


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The distribution-free confidence interval of the median by order statistics; None for too few values.

    The widest `j` for which P(j <= Binomial(n, 1/2) <= n-j) >= confidence gives the j-th value from either end
    (Conover, Practical Nonparametric Statistics, 3.2): n=20: 6th and 15th; 30: 10th and 21st; 120: 49th and 72nd.
    """
    return ends_of_interval(sorted(values), confidence)


def ends_of_interval(ordered: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """The same of values that are sorted already."""
    rank = _rank(len(ordered), confidence)
    return (ordered[rank - 1], ordered[-rank]) if rank else None


@lru_cache(maxsize=4096)
def _rank(n: int, confidence: float) -> int:
    """How far from either end the interval's ends stand, from 1; 0 where even the extremes are not wide enough.

    It is found from the middle outwards, in about as many steps as the square root of `n`.
    """
    rank, chance = n // 2, _middle_chance(n)
    coverage = chance * (1 + n % 2)
    while rank and coverage < confidence:
        chance = chance * rank / (n - rank + 1)
        rank -= 1
        coverage += 2 * chance
    return rank


def _middle_chance(n: int) -> float:
    """P(Binomial(n, 1/2) = n // 2), as near as a float can be: by Stirling's series where the numbers are large."""
    half = (n + 1) // 2
    if half <= 500:
        return math.comb(2 * half, half) / (1 << 2 * half)
    return math.exp(-1 / (8 * half) + 1 / (192 * half**3)) / math.sqrt(math.pi * half)


def monthly_interval(values: Sequence[float], days: Sequence[int]) -> tuple[float, float] | None:
    """The 95 % interval of the median of correlated tests: the wider, at either end, of the one by order statistics and
    that of a bootstrap of whole days. `days` says for each value which day it is of. None for fewer than six values.
    """
    exact = median_interval(values)
    if exact is None:
        return None
    names = {day: n for n, day in enumerate(dict.fromkeys(days))}
    ordered = sorted(zip(values, (names[day] for day in days), strict=True))
    counts = _DayCounts(ordered, len(names))
    medians = sorted(counts.weighted_median(weights) for weights in _resamples(len(names)))
    tail = len(medians) // 40
    return min(exact[0], medians[tail]), max(exact[1], medians[-1 - tail])


class _DayCounts:
    """Values with their days, in order, and how many of each day stand before every block of them: so that a weighted
    median takes a look at some blocks, and not at all values.
    """

    def __init__(self, ordered: Sequence[tuple[float, int]], days: int) -> None:
        self._ordered, self._size = ordered, max(1, math.isqrt(len(ordered)))
        self._before: list[tuple[int, ...]] = []
        self._all = [0] * days
        for place, (_, day) in enumerate(ordered):
            if place % self._size == 0:
                self._before.append(tuple(self._all))
            self._all[day] += 1

    def weighted_median(self, weights: Sequence[int]) -> float:
        """The lower median of values that each count as often as their day was drawn."""

        def weight(counts: Sequence[int]) -> int:
            return sum(map(mul, counts, weights))

        half = weight(self._all) / 2
        block = bisect_left(self._before, half, key=weight) - 1
        reached, first = weight(self._before[block]), block * self._size
        for value, day in self._ordered[first : first + self._size]:
            reached += weights[day]
            if reached >= half:
                return value
        raise AssertionError("the values weigh more than half of their weight")


@lru_cache(maxsize=64)
def _resamples(days: int) -> tuple[tuple[int, ...], ...]:
    """How often each day is drawn in each resample: of as many days always the same, so that a verdict stands."""
    draw = random.Random(days)  # noqa: S311  # a bootstrap, not a secret
    found = []
    for _ in range(RESAMPLES):
        drawn = Counter(draw.choices(range(days), k=days))
        found.append(tuple(drawn[day] for day in range(days)))
    return tuple(found)
