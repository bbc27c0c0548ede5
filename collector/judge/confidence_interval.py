"""Confidence intervals of the median: of a window by order statistics, of a month also by a bootstrap of whole days."""

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

RESAMPLES = 1000


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The distribution-free confidence interval of the median by order statistics; None for too few values.

    The widest `j` for which P(j <= Binomial(n, 1/2) <= n-j) >= confidence gives the j-th value from either end
    (Conover, Practical Nonparametric Statistics, 3.2): n=20: 6th and 15th; 30: 10th and 21st; 120: 49th and 72nd.
    """
    rank = _rank(len(values), confidence)
    if rank == 0:
        return None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


@lru_cache(maxsize=4096)
def _rank(n: int, confidence: float) -> int:
    """How far from either end the interval's ends stand, from 1; 0 where even the extremes are not wide enough."""
    tail, rank = 0.0, 0
    while rank < n // 2:
        tail += math.comb(n, rank) / 2**n
        if 1 - 2 * tail < confidence:
            break
        rank += 1
    return rank


def monthly_interval(values: Sequence[float], days: Sequence[int]) -> tuple[float, float] | None:
    """The 95 % interval of the median of correlated tests: the wider, at either end, of the one by order statistics and
    that of a bootstrap of whole days. `days` says for each value which day it is of. None for fewer than six values.
    """
    exact = median_interval(values)
    if exact is None:
        return None
    names = {day: n for n, day in enumerate(dict.fromkeys(days))}
    ordered = sorted(zip(values, (names[day] for day in days), strict=True))
    medians = sorted(_weighted_median(ordered, weights) for weights in _resamples(len(names)))
    tail = len(medians) // 40
    return min(exact[0], medians[tail]), max(exact[1], medians[-1 - tail])


def _weighted_median(ordered: Sequence[tuple[float, int]], weights: Sequence[int]) -> float:
    """The lower median of values that each count as often as their day was drawn."""
    counts = list(accumulate(weights[day] for _, day in ordered))
    return ordered[bisect_left(counts, counts[-1] / 2)][0]


@lru_cache(maxsize=64)
def _resamples(days: int) -> tuple[tuple[int, ...], ...]:
    """How often each day is drawn in each resample: of as many days always the same, so that a verdict stands."""
    draw = random.Random(days)  # noqa: S311  # a bootstrap, not a secret
    found = []
    for _ in range(RESAMPLES):
        drawn = Counter(draw.choices(range(days), k=days))
        found.append(tuple(drawn[day] for day in range(days)))
    return tuple(found)
