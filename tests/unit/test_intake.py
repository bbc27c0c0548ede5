"""What the intake keeps in memory at most, what it forgets with a connection, and whom it tells of stored results."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from collector.commands.commands import Commands
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import MAX_QUEUED, Intake, StoredListener
from collector.metrics import Metrics
from collector.store.points import Point
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Message


class Wire:
    generation = 2

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        return 1


NOW = dt.datetime(2026, 11, 22, 5, tzinfo=dt.UTC)


def intake_of(dead: DeadLetters, *listeners: StoredListener) -> Intake:
    nothing: Any = None
    clock = lambda: NOW  # noqa: E731
    return Intake(Broker(), "collector", nothing, nothing, dead, Metrics(), Commands(clock), clock, listeners)


def test_it_asks_for_no_more_than_it_has_room_for_and_forgets_what_comes_again(tmp_path: Path) -> None:
    intake = intake_of(DeadLetters(tmp_path / "letters"))
    wire = cast(Connection, Wire())
    for mid in range(1, MAX_QUEUED + 1):
        assert intake.has_room()
        intake.on_message(wire, Message(f"xomnet/v1/nd-{mid % 8}/up", b"{}", mid, 1))
    assert not intake.has_room()
    intake.on_lost()
    assert intake.has_room(), "the messages of another connection can't be acknowledged on the next one"
    assert intake._queue.empty()
    early = Message("xomnet/v1/nd-a/up", b"{}", 1, 2)
    intake.on_message(wire, early)
    intake.on_connected(wire)
    assert intake._queue.get_nowait() is early, "some come before the connection is said to be there"


class Listener:
    def __init__(self) -> None:
        self.heard: list[Sequence[Point]] = []

    def on_stored(self, points: Sequence[Point]) -> None:
        self.heard.append(points)


class FailingListener:
    def on_stored(self, points: Sequence[Point]) -> None:
        raise KeyError("line")


def test_a_listener_that_fails_keeps_what_was_stored_from_nobody(tmp_path: Path) -> None:
    listener = Listener()
    intake = intake_of(DeadLetters(tmp_path / "letters"), FailingListener(), listener)
    intake._notify_listeners([])
    assert listener.heard == [[]]
