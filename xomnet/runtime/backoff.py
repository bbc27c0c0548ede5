"""Exponential back-off with full jitter: how long to wait before the next try.

Full jitter: the wait is uniform between 0 and a bound that doubles with each try, so that many units, or a unit's many
results, do not come back together (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

import random

MAX_DOUBLINGS = 10


def back_off_s(tries: int, base_s: float, max_s: float, min_s: float = 0.0) -> float:
    """Seconds to wait after `tries` tries: uniform between `min_s` and `base_s` x 2^tries, which is at most `max_s`."""
    return random.uniform(min_s, min(max_s, base_s * 2 ** min(tries, MAX_DOUBLINGS)))  # noqa: S311
