"""A backlog drains: nothing is acknowledged that is not stored, nobody is starved, and the memory has a bound."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from collector.ingest.intake import MAX_QUEUED
from tests.support.backlog import WINDOW, Agent, row
from tests.support.deployment import DATABASE, ENDLESS, Collector, made, plain, until
from tests.support.sender import Sender, result
from tests.support.services import InfluxV2, Mosquitto, Nginx

MB = 2**20


def test_one_with_a_huge_backlog_does_not_starve_the_others(tmp_path: Path, mosquitto: Mosquitto) -> None:
    names = [f"nd-{n:02}" for n in range(20)]
    log: list[str] = []
    rows = [row(name) for name in names]
    with Collector(made(tmp_path, "collector"), plain(mosquitto), rows, quota=ENDLESS) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        huge = Agent(mosquitto.port, names[0], 6000, log)
        others = [Agent(mosquitto.port, name, 200, log) for name in names[1:]]
        try:
            huge.start()
            until(lambda: len(log) > 2 * WINDOW, "the huge one is at it")
            before = len(log)
            for one in others:
                one.start()
            until(lambda: not any(one.left for one in others), "the others are done", 120)
            meanwhile = Counter(log[before:])
            assert sum(meanwhile[name] for name in names[1:]) == 19 * 200
            # An agent has no more under way than its window, so of what is handed out while the others are served the
            # huge one has about the share of one: 200 of them, and what it had while they were starting.
            assert meanwhile[names[0]] < 1500
            until(lambda: not huge.left, "the huge one is done", 120)
        finally:
            for one in (huge, *others):
                one.close()
    assert Counter(log) == {names[0]: 6000, **dict.fromkeys(names[1:], 200)}
    assert _longest_wait(log[before:], names) < 4 * len(names) * WINDOW


def test_more_than_was_agreed_breaks_no_connection(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Mosquitto 2.0.11 gives out far more than Receive Maximum while acks flow: 6,400 results may come at once."""
    names = [f"nd-{n:03}" for n in range(100)]
    log: list[str] = []
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [row(name) for name in names]) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        agents = [Agent(mosquitto.port, name, 100, log) for name in names]
        queued: list[float] = []

        def done() -> bool:
            queued.append(collector.metric("xomnet_queue"))
            return len(log) >= 10_000

        try:
            for one in agents:
                one.start()
            until(done, "all is stored", 100)
        finally:
            for one in agents:
                one.close()
        assert max(queued) <= MAX_QUEUED + 1
        assert "broker away" not in collector.output(1_000_000)
        assert collector.metric("xomnet_results_received_total") == 10_000


def _longest_wait(log: list[str], names: list[str]) -> int:
    """How many answers went to others between two of one agent, at most."""
    last = dict.fromkeys(names, 0)
    longest = 0
    for at, name in enumerate(log):
        longest, last[name] = max(longest, at - last[name]), at
    return longest


# --- the database refuses, through an nginx that can be told to


@pytest.fixture
def front(tmp_path: Path, own_influx_v2: InfluxV2) -> Iterator[Nginx]:
    """Before the database: refuses what is written with the status that a file is named for, while it is there."""
    folder = made(tmp_path, "front")
    own_influx_v2.create(DATABASE)
    rules = "\n".join(f"if (-f {folder}/{status}) {{ return {status}; }}" for status in (401, 403, 404, 429, 503))
    server = f"""\
location = /api/v2/write {{
    {rules}
    add_header Retry-After 1 always;
    proxy_pass {own_influx_v2.url};
}}
location / {{ proxy_pass {own_influx_v2.url}; }}
"""
    with Nginx(folder, server) as nginx:
        yield nginx


class Fronted:
    """What a Collector needs to know of its database."""

    token = InfluxV2.token

    def __init__(self, nginx: Nginx) -> None:
        self.url = f"http://127.0.0.1:{nginx.port}"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_while_the_database_refuses_nothing_is_acknowledged_and_then_everything(
    tmp_path: Path, mosquitto: Mosquitto, front: Nginx, status: int
) -> None:
    refusing = front.folder / str(status)
    refusing.touch()
    fronted: Any = Fronted(front)
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [row("nd-a")], fronted) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        sender = Sender(mosquitto.port)
        for seq in range(1, 4):
            sender.send(result(seq))
        until(lambda: collector.metric("xomnet_write_errors_total") >= 2, "it is refused, and tries again")
        assert sender.acks == []
        assert collector.get("/api/v1/rejected")["rejected"] == []
        until(lambda: "not stored, kept" in collector.output(), "it says so")
        line = next(line for line in collector.output(100_000).splitlines() if "not stored, kept" in line)
        assert ("level=error" in line) == (status in (401, 403, 404))
        assert str(status) in line
        if status == 429:
            assert line.endswith("again_in_s=1")
        refusing.unlink()
        until(lambda: sender.stored() == {1, 2, 3}, "all are stored in the end", 60)
        sender.close()


def test_while_the_database_is_away_the_memory_has_a_bound(tmp_path: Path, mosquitto: Mosquitto, front: Nginx) -> None:
    (front.folder / "503").touch()
    fronted: Any = Fronted(front)
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [row("nd-a")], fronted, quota=ENDLESS) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        process = psutil.Process(collector.pid)
        idle = process.memory_info().rss
        # as large as the contract lets a result be: 400 numbers and the longest texts
        speed = {
            **{"engine": "http", "server": "s" * 500, "down_mbps": 100.0, "error_detail": "d" * 500},
            "series_mbps": [100 + n + 0.123456789 for n in range(400)],
        }
        body = json.dumps(result(1, kind="speed", data=speed))
        assert len(body) > 6_000
        messages = 5_000
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"many-{os.getpid()}", protocol=paho.MQTTv5)
        client.max_inflight_messages_set(500)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        for seq in range(1, messages + 1):
            sent = client.publish("xomnet/v1/nd-a/up", json.dumps(result(seq, kind="speed", data=speed)), qos=1)
        sent.wait_for_publish(60)
        until(lambda: collector.metric("xomnet_results_received_total") >= 1000, "it has all that it may have")
        until(lambda: collector.metric("xomnet_write_errors_total") >= 3, "it tries")
        assert collector.metric("xomnet_results_received_total") == 1000
        grown = process.memory_info().rss - idle
        assert grown < 100 * MB, f"{grown / MB:.0f} MB more"
        (front.folder / "503").unlink()
        until(lambda: collector.metric("xomnet_results_stored_total") == messages, "all are stored", 120)
        assert process.memory_info().rss - idle < 120 * MB
        client.disconnect()
        client.loop_stop()
