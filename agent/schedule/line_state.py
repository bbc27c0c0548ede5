"""What the unit's loop remembers of a line, and what new settings leave of it."""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agent.settings import AgentSettings, LineSettings
from xomnet.contract.messages import Speed


@dataclass(slots=True)
class LineState:
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


def lines_of(settings: AgentSettings, now: float, known: Sequence[LineState] = ()) -> list[LineState]:
    """The lines as they stand now (time.monotonic()); one that is known keeps what is remembered of it.

    Where a pace is new, the first test by it comes at random within it: many units may hear of it at once.
    """
    by_name = {line.settings.line: line for line in known}
    found = []
    for line in settings.lines:
        paced = now + (line.every_s or 0) * random.random()  # noqa: S311
        one = by_name.get(line.line) or LineState(line, now, paced)
        one.latency_at = min(one.latency_at, now + settings.latency.every_s)
        if line.every_s != one.settings.every_s:
            one.speed_at = paced if one.settings.every_s is None else min(one.speed_at, paced)
        one.settings = line
        found.append(one)
    return found
