"""What the unit's loop remembers of a line."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.settings import LineSettings
from xomnet.messages import Speed


@dataclass(slots=True)
class Remembered:
    """Written by the loop alone; others may read it."""

    settings: LineSettings
    latency_at: float
    speed_at: float
    """time.monotonic(); for a line tested by slots, not before this."""
    deferred: int = 0
    busy_tries: int = 0
    spent: bool = False
    """It was said that no byte is left for echoes."""
    test_at: float | None = None
    """time.monotonic() of the next test of the schedule, as the loop last reckoned it."""
    testing: bool = False
    last: tuple[dt.datetime, Speed] | None = None
    """The last test of this process, and when it began by the unit's clock."""

    @contextmanager
    def test(self) -> Iterator[None]:
        """A test runs."""
        self.testing = True
        try:
            yield
        finally:
            self.testing = False
