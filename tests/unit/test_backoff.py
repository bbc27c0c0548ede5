"""The wait before the next try: full jitter, between two bounds."""

import pytest

from xomnet.runtime.backoff import back_off_s


@pytest.mark.parametrize(
    ("tries", "bound_s"), [(0, 0.5), (1, 1.0), (3, 4.0), (6, 32.0), (7, 60.0), (10, 60.0), (100_000, 60.0)]
)
def test_the_wait_is_spread_up_to_a_bound_that_doubles_up_to_the_longest(tries: int, bound_s: float) -> None:
    waits = sorted(back_off_s(tries, base_s=0.5, max_s=60.0) for _ in range(2000))
    assert 0 <= waits[0] < 0.1 * bound_s
    assert 0.9 * bound_s < waits[-1] <= bound_s


def test_a_wait_may_have_a_lower_bound() -> None:
    waits = sorted(back_off_s(0, base_s=30.0, max_s=900.0, min_s=10.0) for _ in range(2000))
    assert 10.0 <= waits[0] < 12.0
    assert 28.0 < waits[-1] <= 30.0
