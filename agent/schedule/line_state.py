"""What the unit's loop remembers of a line, also over new settings."""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agent.settings import AgentSettings, LineSettings
from xomnet.contract.messages import Speed


@dataclass(slots=True)
class LineState:
    """Written by the loop's thread; other threads may read it. Times `…_at` are time.monotonic()."""

    settings: LineSettings
    latency_at: float
    speed_at: float
    """When a test is due; for a line tested by slots, not before this."""
    deferrals: int = 0
    busy_tries: int = 0
    budget_spent: bool = False
    """The event that no bytes are left for echoes was committed."""
    test_at: float | None = None
    """The next test of the schedule, as the loop last calculated it."""
    testing: bool = False
    last_test: tuple[dt.datetime, Speed] | None = None
    """When the last test of this process began, by the unit's clock, and its result."""

    @contextmanager
    def mark_testing(self) -> Iterator[None]:
        """Sets `testing` for as long as the context lasts."""
        self.testing = True
        try:
            yield
        finally:
            self.testing = False


def line_states(settings: AgentSettings, now: float, before: Sequence[LineState] = ()) -> list[LineState]:
    """The states of the settings' lines at `now` (time.monotonic()); a line that was there `before` keeps its state.

    After a change of `every_s` the first test comes at a random time within it: many units may change it at once.
    """
    by_name = {line.settings.line: line for line in before}
    states = []
    for line in settings.lines:
        paced = now + (line.every_s or 0) * random.random()  # noqa: S311
        state = by_name.get(line.line) or LineState(line, now, paced)
        state.latency_at = min(state.latency_at, now + settings.latency.every_s)
        if line.every_s != state.settings.every_s:
            state.speed_at = paced if state.settings.every_s is None else min(state.speed_at, paced)
        state.settings = line
        states.append(state)
    return states
