"""What the collector takes in: one process, with Mosquitto and influxd 1.6.7 (behind nginx) on the same machine.

Three questions. `drained`: results wait in the broker while the collector is away; how many a second does it store and
acknowledge once it is back? `backlog`: 200 units come back after 72 hours with 432 results each, and keep to the window
of 64 without an answer, as units do; how long until all is stored, how long did a unit wait for an answer at most, what
memory did the collector take? `online`: real units that measure once a second; how long from a result's own time
until the database gives it back?
"""

import datetime as dt
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from bench.runs import write
from tests.support.backlog import Agent, row
from tests.support.deployment import DATABASE, Collector, Unit, made, plain, until
from tests.support.influx import influx_v2
from tests.support.sender import result
from tests.support.services import InfluxV2, Mosquitto

AGENTS, HOURS, EACH_HOUR = 200, 72, 6
WAITING = 60_000
UNITS, ONLINE_S = 5, 60.0
MB = 2**20
NO_ARCHIVE = """
from collector.archive import Archive
from collector.run import main

Archive.append = lambda *_: None
raise SystemExit(main())
"""


@dataclass(frozen=True)
class Found:
    drained_per_s: list[float]
    """Of each run: results a second from the first stored to the last."""
    backlog_results: int
    backlog_s: float
    backlog_longest_wait_s: float
    backlog_rss_mb: float
    online_results: int
    online_p50_s: float
    online_p99_s: float


@contextmanager
def _services() -> Iterator[tuple[Path, Mosquitto, InfluxV2]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Mosquitto(made(folder, "broker"), log="error")
        influx = stack.enter_context(influx_v2(made(folder, "influx")))
        influx.create(DATABASE)
        yield folder, stack.enter_context(broker), influx


def _names(count: int) -> list[str]:
    return [f"nd-{number:03}" for number in range(count)]


class Drained(NamedTuple):
    per_s: float
    """Results a second."""
    cpu_us: float
    """The collector's processor time for a result."""


def drained(waiting: int = WAITING, archive: bool = True) -> Drained:
    """Of a collector that finds `waiting` results in the broker; it may have no archive."""
    names = _names(AGENTS)
    with _services() as (folder, broker, influx):
        collector = Collector(made(folder, "collector"), plain(broker), [row(name) for name in names], influx)
        if not archive:
            collector.run_as([sys.executable, "-c", NO_ARCHIVE, "--config", "collector.yaml"])
        with collector:
            until(lambda: collector.metric("xomnet_broker_answers") == 1, "it has a session")
            collector.stop()
            _leave(broker.port, names, waiting)
            collector.start()
            until(lambda: _stored(collector) > 0, "it begins", 60)
            process = psutil.Process(collector.pid)
            before, began, cpu_s = _stored(collector), time.monotonic(), sum(process.cpu_times()[:2])
            until(lambda: _stored(collector) >= waiting, "all is stored", 300)
            took_s, cpu_s = time.monotonic() - began, sum(process.cpu_times()[:2]) - cpu_s
            return Drained((waiting - before) / took_s, cpu_s / (waiting - before) * 1e6)


def _leave(port: int, names: list[str], waiting: int) -> None:
    """Gives the broker results for a collector that is away."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="many", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    for number in range(waiting):
        at = begin + dt.timedelta(milliseconds=number)
        name = names[number % len(names)]
        message = json.dumps(result(number + 1, agent=name, at=at.isoformat()))
        sent = client.publish(f"xomnet/v1/{name}/up", message, qos=1)
    sent.wait_for_publish(120)
    client.disconnect()
    client.loop_stop()


def _stored(collector: Collector) -> float:
    try:
        return collector.metric("xomnet_results_stored_total")
    except OSError:
        return 0.0


def backlog() -> tuple[int, float, float, float]:
    """Results, seconds, the longest that a unit waited for an answer, and MB of the collector at most."""
    names, results = _names(AGENTS), HOURS * EACH_HOUR
    with _services() as (folder, broker, influx):
        rows = [row(name) for name in names]
        with Collector(made(folder, "collector"), plain(broker), rows, influx) as collector:
            until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
            process, log = psutil.Process(collector.pid), _Log()
            agents = [Agent(broker.port, name, results, log) for name in names]
            began = time.monotonic()
            for agent in agents:  # that takes a while, since those that have begun are at work
                log.times[agent.name] = [time.monotonic()]
                agent.start()
            most = 0
            while any(agent.left for agent in agents) and time.monotonic() - began < 600:
                most = max(most, process.memory_info().rss)
                time.sleep(0.2)
            took = time.monotonic() - began
            for agent in agents:
                agent.close()
            return len(log), took, log.longest_s(), most / MB


class _Log(list[str]):
    """Which unit was answered, and when."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def append(self, name: str) -> None:
        super().append(name)
        self.times[name].append(time.monotonic())

    def longest_s(self) -> float:
        """Between two answers of a unit, or from its beginning to its first."""
        return max(later - earlier for of_unit in self.times.values() for earlier, later in pairwise(of_unit))


def online() -> list[float]:
    """Seconds from each result's own time until the database gives it back."""
    names = _names(UNITS)
    with _services() as (folder, broker, influx), ExitStack() as stack:
        rows = [row(name) for name in names]
        stack.enter_context(Collector(made(folder, "collector"), plain(broker), rows, influx))
        for name in names:
            server = f"http://127.0.0.1:{influx.front.port}/"
            lines = [{"line": "ftth", "access": "fixed", "servers": [server], "every_s": 1e6}]
            stack.enter_context(Unit(made(folder, name), name, plain(broker), server, lines=lines))
        seen: dict[tuple[str, int], float] = {}
        until_s = time.monotonic() + ONLINE_S
        while time.monotonic() < until_s:
            time.sleep(0.1)
            newest = "SELECT seq FROM latency WHERE time > now() - 15s GROUP BY agent"
            answer = json.loads(influx.query(newest, DATABASE))
            now_ns = time.time_ns()
            for series in answer["results"][0].get("series", []):
                for at_ns, seq in series["values"]:
                    seen.setdefault((series["tags"]["agent"], seq), (now_ns - at_ns) / 1e9)
        return sorted(seen.values())


def main(*_: str) -> int:
    """Writes `intake.json` and `intake.md`."""
    rates = [round(drained().per_s, 1) for _ in range(3)]
    results, took, wait, memory = backlog()
    delays = online()
    found = Found(
        rates,
        results,
        round(took, 1),
        round(wait, 1),
        round(memory, 1),
        len(delays),
        round(statistics.median(delays), 3),
        round(delays[int(0.99 * len(delays))], 3),
    )
    text = report(found)
    write("intake", asdict(found), text)
    print(text)
    return 0


def report(found: Found) -> str:
    """The bars, in Markdown."""
    rates = ", ".join(f"{rate:,.0f}" for rate in sorted(found.drained_per_s))
    return f"""\
One collector, Mosquitto, nginx and influxd 1.6.7 on two cores (`python -m bench intake`). Online: from the time that a
result carries (the beginning of its probe) until a query every 0.1 s gives it back.

| | found | bar |
|---|---|---|
| {WAITING:,} results that waited in the broker, stored and acknowledged a second, three runs | {rates} | 3,000 |
| {AGENTS} units, {HOURS} h of backlog each ({found.backlog_results:,} results): drained in | {found.backlog_s:.0f} s \
| 180 s |
| … the longest that a unit waited for an answer | {found.backlog_longest_wait_s:.1f} s | 30 s |
| … memory of the collector at most | {found.backlog_rss_mb:.0f} MB | 200 MB |
| {UNITS} units online, {found.online_results} results: from measured to in the database, median \
| {found.online_p50_s:.2f} s | |
| … 99 % within | {found.online_p99_s:.2f} s | 2 s |
"""
