"""How much the collector has in its memory at most, and what it lets go of when the connection is another one."""

from pathlib import Path
from typing import Any, cast

from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import MAX_QUEUED, Intake
from collector.metrics import Metrics
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Message


class Wire:
    generation = 2

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        return 1


def test_it_asks_for_no_more_than_it_has_room_for_and_forgets_what_comes_again(tmp_path: Path) -> None:
    nothing: Any = None
    intake = Intake(Broker(), "collector", nothing, nothing, DeadLetters(tmp_path / "letters"), Metrics())
    wire = cast(Connection, Wire())
    for mid in range(1, MAX_QUEUED + 1):
        assert intake.has_room()
        intake.on_message(wire, Message("xomnet/v1/nd-a/up", b"{}", mid, 1))
    assert not intake.has_room()
    intake.on_lost()
    assert intake.has_room(), "the messages of another connection can't be acknowledged on the next one"
    assert intake._queue.empty()
    early = Message("xomnet/v1/nd-a/up", b"{}", 1, 2)
    intake.on_message(wire, early)
    intake.on_connected(wire)
    assert intake._queue.get_nowait() is early, "some come before the connection is said to be there"
