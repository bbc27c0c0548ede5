"""The log: its form, and that nobody can fill a disk with it."""

import io
import logging
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from xomnet.runtime.log import MAX_A_MINUTE, MAX_INFO_A_MINUTE, LimitedHandler, Log, setup


class Stage:
    """A log that is read, and a clock that is set."""

    def __init__(self) -> None:
        self.stream, self.now_s = io.StringIO(), 1000.0
        self.log = Log("test.log")

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def count(self, text: str) -> int:
        return sum(text in line for line in self.lines)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    one = Stage()
    monkeypatch.setattr(time, "monotonic", lambda: one.now_s)
    monkeypatch.setattr(sys, "stderr", one.stream)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    setup()
    yield one
    root.handlers, root.level = before, level


def flood(say: Callable[[str], None], count: int = 10_000) -> None:
    for _ in range(count):
        say("flood")


def test_a_flood_from_one_place_is_cut_and_its_rest_is_counted(stage: Stage) -> None:
    flood(stage.log.warning)
    assert stage.count("flood") == MAX_A_MINUTE
    stage.log.warning("something else")
    assert stage.count("something else") == 1
    stage.now_s += 61
    stage.log.info("a minute later")
    (said,) = [line for line in stage.lines if "left_out" in line]
    assert f'level=warning event="more like this were left out" like=flood left_out={10_000 - MAX_A_MINUTE}' in said
    flood(stage.log.warning)
    assert stage.count("event=flood") == 2 * MAX_A_MINUTE


def test_what_is_no_fault_has_more_room(stage: Stage) -> None:
    flood(stage.log.info)
    assert stage.count("flood") == MAX_INFO_A_MINUTE


def test_what_other_libraries_say_is_limited_too(stage: Stage) -> None:
    for number in range(1000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource %d", number)
    assert stage.count("socket.accept()") == MAX_A_MINUTE


def test_the_rest_is_counted_at_the_end(stage: Stage) -> None:
    flood(stage.log.error)
    (handler,) = [one for one in logging.getLogger().handlers if isinstance(one, LimitedHandler)]
    handler.close()
    assert stage.count(f"left_out={10_000 - MAX_A_MINUTE}") == 1


def test_a_value_has_a_longest_form(stage: Stage) -> None:
    stage.log.warning("long", reason="x" * 100_000)
    assert len(stage.lines[-1]) < 3000
