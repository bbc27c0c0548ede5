"""The time of day on a machine whose clock is kept. A unit's clock may be unset: see agent.clock."""

import datetime as dt
from collections.abc import Callable

UtcClock = Callable[[], dt.datetime]
"""`utc_now`, or a test's own."""


def utc_now() -> dt.datetime:
    """For the edges alone: what decides by the time is given it, as a value or as a `UtcClock`."""
    return dt.datetime.now(dt.UTC)
