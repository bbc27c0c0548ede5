"""A thief fills the archive: what quota and store take for one result is kept once, in however many words it comes."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.archive import read_records
from tests.support.deployment import ENDLESS, Collector, made, plain, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto

EVENTS = {"kind": "event", "at": "2026-11-20T05:00:00.000001Z"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(made(tmp_path, "broker"), log="error") as mosquitto:
        yield mosquitto


@pytest.fixture
def collector(tmp_path: Path, broker: Mosquitto) -> Iterator[Collector]:
    quota = ENDLESS | {"events_per_day": 10}  # of which 200 are of a day
    with Collector(made(tmp_path, "collector"), plain(broker), ROWS, quota=quota) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        yield collector


def noise(seq: int) -> dict[str, Any]:
    """The same result in other words each time."""
    return result(seq, **EVENTS, data={"name": "x", "detail": os.urandom(200).hex()})


def archived(collector: Collector) -> list[int]:
    found = [one for some in read_records(collector.folder / "state/archive") for one in some]
    return [json.loads(one.payload)["seq"] for one in found]


def test_a_result_that_comes_again_and_again_in_other_words_is_archived_once(
    broker: Mosquitto, collector: Collector
) -> None:
    sender = Sender(broker.port)
    try:
        for _ in range(400):
            sender.send(noise(1))
        until(lambda: collector.metric("xomnet_queue") == 0 and len(sender.acks) > 0, "all are answered")
        sender.send(noise(2))
        until(lambda: sender.stored() == {1, 2}, "the last too")
        assert archived(collector) == [1, 2]
    finally:
        sender.close()


def test_what_comes_again_beyond_the_quota_is_archived_again_some_times_and_then_waits(
    broker: Mosquitto, collector: Collector
) -> None:
    """The collector may have died before it was archived, so it is not left out without a word."""
    sender = Sender(broker.port)
    try:
        for seq in range(1, 201):
            sender.send(noise(seq))
        until(lambda: sender.stored() == set(range(1, 201)), "a day's events are answered")
        # 128 are known to have been counted, 72 are not: of these, 3,600 come
        threads = [threading.Thread(target=repeat, args=(broker.port, 2_500)) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        until(lambda: collector.metric("xomnet_queue") == 0, "all are read")
        assert collector.metric('xomnet_messages_unanswered_total{why="quota"}') > 0
        assert 200 < len(archived(collector)) <= 200 + 2_000
    finally:
        sender.close()


def repeat(port: int, times: int) -> None:
    sender = Sender(port, str(threading.get_ident()))
    for number in range(times):
        sender.post(noise(number % 200 + 1))
    sender.close()
