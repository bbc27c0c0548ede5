"""A part that does one thing again and again goes on whatever happens in a turn, and ends when it is told to."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest

from collector.periodic import PeriodicWorker
from collector.store.errors import StoreUnavailable
from xomnet.runtime.log import Log

log = Log("test")
Turns = Callable[[float, Sequence[object], float], list[float]]


class Turn(list[float]):
    """Notes when it has its turn; what `outcomes` says is raised or returned, then nothing."""

    def __init__(self, outcomes: Sequence[object], takes_s: float) -> None:
        self.outcomes, self.takes_s, self.enough = list(outcomes), takes_s, threading.Event()

    def __call__(self, now: dt.datetime) -> object:
        assert now.tzinfo is dt.UTC
        self.append(time.monotonic())
        if len(self) == 4:
            self.enough.set()
        time.sleep(self.takes_s)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def turns() -> Iterator[Turns]:
    started: list[PeriodicWorker] = []

    def run(interval_s: float, outcomes: Sequence[object] = (), takes_s: float = 0.0) -> list[float]:
        turn = Turn(outcomes, takes_s)
        started.append(PeriodicWorker("test", interval_s, turn, log, "not done"))
        started[-1].start()
        assert turn.enough.wait(10)
        return [later - sooner for sooner, later in pairwise(turn)]

    yield run
    for one in started:
        one.stop()
        assert not one.is_alive()


def test_turns_are_counted_from_beginning_to_beginning(turns: Turns) -> None:
    assert 0.35 < min(turns(0.4, (), 0.3)) < 0.65


def test_what_fails_has_its_next_turn_as_ever(turns: Turns) -> None:
    assert min(turns(0.3, [StoreUnavailable("away"), ValueError("a bad value"), OSError()], 0.0)) > 0.25


def test_where_there_is_more_to_do_it_takes_only_a_breath(turns: Turns) -> None:
    assert max(turns(60, [True, True, True], 0.0)) < 10


def test_it_ends_in_its_rest_and_also_where_it_never_began() -> None:
    one = PeriodicWorker("test", 3600, lambda _: None, log, "not done")
    one.stop()
    one.start()
    one.join(5)
    assert not one.is_alive()
