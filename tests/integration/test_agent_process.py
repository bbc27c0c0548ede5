"""The agent as systemd starts it: a process of its own, a real broker, real signals."""

import datetime as dt
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from agent.clock.timestamps import NEVER_SYNCED_ERROR_S
from measurement_server import MeasurementServer
from tests.support.services import Mosquitto
from xomnet.contract.messages import (
    Ack,
    AgentState,
    Event,
    EventResult,
    HealthResult,
    Result,
    SpeedResult,
    Stored,
    decode_result,
    decode_state,
    encode,
)
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Handler, Link, Message

AGENT = "nd-a-1"


class Province(Handler):
    """The collector's place at the broker: hears everything, acknowledges what it is told to."""

    def __init__(self, port: int, acknowledge: bool = True) -> None:
        self.results: list[Result] = []
        self.payloads: dict[int, list[bytes]] = {}
        self.states: list[AgentState] = []
        self.acknowledge = acknowledge
        self._link = Link(Broker(port=port), "collector", self, subscriptions=("xomnet/v1/+/up", "xomnet/v1/+/state"))

    def __enter__(self) -> Self:
        self._link.start()
        wait_until(lambda: self._link.connected)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.stop()

    def on_message(self, connection: Connection, message: Message) -> None:
        if message.topic.endswith("/state"):
            self.states.append(decode_state(message.payload))
            return
        result = decode_result(message.payload)
        self.results.append(result)
        self.payloads.setdefault(result.seq, []).append(message.payload)
        if self.acknowledge:
            stored = (Stored(spool=result.spool, seqs=(result.seq,)),)
            ack = Ack(agent=result.agent, time=dt.datetime.now(dt.UTC), stored=stored)
            connection.publish(f"xomnet/v1/{result.agent}/ack", encode(ack))

    def speeds(self) -> list[SpeedResult]:
        return [result for result in self.results if isinstance(result, SpeedResult)]

    def events(self) -> list[Event]:
        return [result.data for result in self.results if isinstance(result, EventResult)]


class Unit:
    """A unit's folder with its settings, and its process."""

    def __init__(self, folder: Path, port: int, **settings: Any) -> None:
        self.folder, self.config, self.log = folder, folder / "agent.yaml", folder / "agent.log"
        self.settings: dict[str, Any] = {
            "agent": AGENT,
            "state_dir": "state",
            "broker": {"port": port, "keepalive_s": 5},
            "clock": {"assume_synced": True},
            "precheck": {"cpu_busy_percent": 100, "defer_times": 0},
            "lines": [{"line": "ftth", "access": "fixed", "every_s": 3600}],
            "status_page": {"port": 0},
            **settings,
        }
        self.write()
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, **changes: Any) -> None:
        """JSON is YAML."""
        self.settings.update(changes)
        self.config.write_text(json.dumps(self.settings, indent=1))

    def start(self, *program: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *(program or ("-m", "agent")), "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **environment})
        return self.process

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def depth(self) -> int:
        """What waits in the spool, read beside the process."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/state/spool.db?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT count(*) FROM results").fetchone()[0])
        except sqlite3.OperationalError:  # it is being made
            return 0

    def end(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(5)


NewUnit = Callable[..., Unit]


@pytest.fixture
def new_unit(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[NewUnit]:
    """Makes units that report to the test's broker and end with it."""
    with ExitStack() as stack:

        def new(name: str = "unit", **settings: Any) -> Unit:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            unit = Unit(folder, mosquitto.port, **settings)
            stack.callback(unit.end)
            return unit

        yield new


@pytest.fixture
def province(mosquitto: Mosquitto) -> Iterator[Province]:
    with Province(mosquitto.port) as province:
        yield province


@pytest.fixture
def server() -> Iterator[MeasurementServer]:
    server = MeasurementServer("127.0.0.1", 0, 20)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.close()
    thread.join()


def wait_until(holds: Callable[[], object], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def line(server: MeasurementServer, **more: Any) -> dict[str, Any]:
    return {"line": "ftth", "access": "fixed", "servers": [server.url], "every_s": 0.1, **more}


def test_a_result_arrives_and_leaves_the_spool_when_it_is_acknowledged(
    new_unit: NewUnit, province: Province, server: MeasurementServer
) -> None:
    unit = new_unit(lines=[line(server, every_s=1)], anchors=["127.0.0.1:1"], latency={"echoes": 2, "interval_ms": 10})
    process = unit.start()
    wait_until(province.speeds)
    first = province.speeds()[0]
    assert (first.agent, first.line, first.clock) == (AGENT, "ftth", "synced")
    assert first.data.down_mbps == pytest.approx(20, rel=0.05)
    assert {type(result).__name__ for result in province.results} == {
        "EventResult",
        "HealthResult",
        "LatencyResult",
        "SpeedResult",
    }
    assert sorted({r.seq for r in province.results}) == list(range(1, len(province.results) + 1))
    wait_until(lambda: unit.depth() <= 2)
    process.terminate()
    process.wait(10)
    assert unit.depth() <= 1, "what is answered goes at the latest at the end; one may be on its way"


def test_it_says_that_it_is_online_and_says_goodbye(new_unit: NewUnit, province: Province) -> None:
    unit = new_unit()
    process = unit.start()
    wait_until(lambda: [state.online for state in province.states] == [True])
    process.terminate()
    assert process.wait(5) == 0
    wait_until(lambda: [state.online for state in province.states] == [True, False])
    with Province(unit.settings["broker"]["port"], acknowledge=False) as late:
        wait_until(lambda: [state.online for state in late.states] == [False])  # it is retained


def test_the_broker_says_that_a_killed_unit_is_offline(new_unit: NewUnit, province: Province) -> None:
    process = new_unit().start()
    wait_until(lambda: province.states and province.states[-1].online)
    process.kill()
    wait_until(lambda: not province.states[-1].online)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_in_mid_test_and_the_test_is_none(
    new_unit: NewUnit, province: Province, server: MeasurementServer, number: signal.Signals
) -> None:
    unit = new_unit(lines=[line(server, every_s=0.1)])
    process = unit.start()
    wait_until(lambda: server.admission._running)
    at = time.monotonic()
    process.send_signal(number)
    assert process.wait(5) == 0
    assert time.monotonic() - at < 5
    assert province.speeds() == []
    assert 'event="agent ended" status=0' in unit.said()
    assert "Traceback" not in unit.said()


def test_signals_in_heaps_leave_it_able_to_end(new_unit: NewUnit, province: Province) -> None:
    """They are waited for. A handler would interrupt the main loop anywhere, and meet the lock of the event that it
    sets: once in a few thousand times, so this looks at what the kernel knows of handlers.
    """
    process = new_unit().start(WATCHDOG_USEC="200")
    wait_until(lambda: province.states)
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(int(row.split()[1], 16) for row in status if row.startswith("SigCgt:"))
    assert [s.name for s in (signal.SIGTERM, signal.SIGHUP) if caught >> (s - 1) & 1] == []
    for _ in range(200):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    process.terminate()
    assert process.wait(5) == 0


def test_a_probe_that_waits_for_an_answer_does_not_hold_up_the_end(new_unit: NewUnit, province: Province) -> None:
    unit = new_unit(anchors=["192.0.2.1:443"], latency={"timeout_ms": 3000, "echoes": 100})
    unit.settings["lines"][0]["interface"] = "lo"
    unit.write()
    process = unit.start()
    wait_until(lambda: province.results)
    time.sleep(0.3)
    process.terminate()
    assert process.wait(5) == 0


def test_new_settings_are_taken_without_a_restart(
    new_unit: NewUnit, province: Province, server: MeasurementServer
) -> None:
    unit = new_unit(lines=[line(server, every_s=100_000)], health={"every_s": 0.3})
    process = unit.start()
    wait_until(lambda: len(province.results) > 3)
    assert province.speeds() == []
    unit.write(lines=[line(server, every_s=0.5, target_mbps=20)])
    process.send_signal(signal.SIGHUP)
    wait_until(province.speeds, 30)
    assert process.poll() is None


def test_settings_that_are_wrong_are_refused_with_an_event_and_the_old_ones_stay(
    new_unit: NewUnit, province: Province
) -> None:
    unit = new_unit(health={"every_s": 0.5})
    process = unit.start()
    wait_until(lambda: len(province.results) > 2)
    unit.write(health={"every_s": 0})
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "settings_refused" in [event.name for event in province.events()])
    refused = next(event for event in province.events() if event.name == "settings_refused")
    assert refused.detail is not None
    assert "health.every_s: found 0; allowed: a number, more than 0" in refused.detail
    before = len(province.results)
    wait_until(lambda: len(province.results) > before + 2)
    assert process.poll() is None


def test_systemd_hears_that_it_is_ready_alive_reloading_and_stopping(
    new_unit: NewUnit, province: Province, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        unit = new_unit()
        process = unit.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        assert systemd.recv(100) == b"READY=1"
        at = time.monotonic()
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert time.monotonic() - at < 3  # twice in each second that systemd allows
        process.send_signal(signal.SIGHUP)
        said = [systemd.recv(100) for _ in range(3)]
        assert [word.partition(b"\n")[0] for word in said if word != b"WATCHDOG=1"] == [b"RELOADING=1", b"READY=1"]
        assert any(b"MONOTONIC_USEC=" in word for word in said)
        process.terminate()
        while (word := systemd.recv(100)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"
        assert process.wait(5) == 0


def test_systemd_hears_it_also_while_the_broker_is_away(
    new_unit: NewUnit, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.kill()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        new_unit().start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        assert [systemd.recv(100) for _ in range(4)] == [b"READY=1", *[b"WATCHDOG=1"] * 3]


def test_a_second_agent_in_the_same_folder_is_refused(new_unit: NewUnit, province: Province) -> None:
    unit = new_unit()
    unit.start()
    wait_until(lambda: province.states)
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(unit.config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    folder = unit.folder / "state"
    assert done.stderr == f"another agent works in {folder}; stop it, or give this one its own state_dir\n"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agent": "Hải Hậu"}, "agent.yaml, line 2: agent: found 'Hải Hậu'; allowed: lower-case letters"),
        ({"lines": []}, "agent.yaml, line 15: lines: found a list; allowed: a list"),
        ({"timezone": "Asia/Hanoi"}, "timezone: found 'Asia/Hanoi'; allowed: a time zone such as Asia/Ho_Chi_Minh"),
        ({"log_level": "loud"}, "log_level: found 'loud'; allowed: debug or error or info or warning"),
    ],
)
def test_wrong_settings_end_it_with_one_sentence(new_unit: NewUnit, changes: dict[str, Any], sentence: str) -> None:
    unit = new_unit(**changes)
    assert unit.start().wait(20) == 2
    assert sentence in unit.said()
    assert unit.said().count("\n") == 1


def test_settings_that_are_not_there_end_it_with_one_sentence(new_unit: NewUnit) -> None:
    unit = new_unit()
    unit.config.unlink()
    assert unit.start().wait(20) == 2
    assert unit.said() == f"{unit.config}: file: found No such file or directory; allowed: a readable YAML file\n"


def fill(folder: Path) -> Path:
    """Takes what is left, to the last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_disk_that_fills_up_stops_nothing_and_is_said(
    new_unit: NewUnit, small_disk: Path, server: MeasurementServer, mosquitto: Mosquitto
) -> None:
    with Province(mosquitto.port, acknowledge=False) as province:
        unit = new_unit(
            state_dir=str(small_disk), health={"every_s": 0.2}, lines=[line(server, every_s=0.5, target_mbps=20)]
        )
        process = unit.start()
        wait_until(lambda: len(province.results) > 2)
        filler = fill(small_disk)
        wait_until(lambda: "result not kept" in unit.said(), 30)
        assert "free some space or replace the card" in unit.said()
        assert process.poll() is None
        promised = {result.seq for result in province.results}
        filler.unlink()
        wait_until(lambda: max(r.seq for r in province.results) > max(promised) + 3)
        assert process.poll() is None
        assert "Traceback" not in unit.said()
    with Province(mosquitto.port) as again:  # what was promised before is still there
        process.terminate()
        process.wait(5)
        unit.start()
        wait_until(lambda: promised <= {result.seq for result in again.results})


def test_a_disk_that_is_full_at_the_start_ends_it_with_a_sentence(new_unit: NewUnit, small_disk: Path) -> None:
    fill(small_disk)
    unit = new_unit(state_dir=str(small_disk))
    assert unit.start().wait(20) == 1
    assert f"{small_disk}/" in unit.said()
    assert "Traceback" not in unit.said()


def test_results_wait_while_the_broker_is_away_and_come_when_it_is_back(
    new_unit: NewUnit, mosquitto: Mosquitto
) -> None:
    mosquitto.kill()
    unit = new_unit(health={"every_s": 0.2})
    process = unit.start()
    wait_until(lambda: unit.depth() >= 5)
    waited = unit.depth()
    assert process.poll() is None
    mosquitto.start()
    with Province(mosquitto.port) as province:
        wait_until(lambda: len({result.seq for result in province.results}) > waited, 40)
        assert set(range(1, waited + 1)) <= {result.seq for result in province.results}


def test_a_refusal_of_the_broker_is_said_once_not_for_each_result(new_unit: NewUnit, mosquitto: Mosquitto) -> None:
    """Nobody listens: every PUBACK says so (0x10)."""
    unit = new_unit(health={"every_s": 0.2})
    unit.start()
    wait_until(lambda: unit.depth() > 15)
    assert unit.said().count("No matching subscribers") == 1


def test_what_was_not_acknowledged_comes_again_byte_for_byte_after_a_kill(
    new_unit: NewUnit, mosquitto: Mosquitto
) -> None:
    with Province(mosquitto.port, acknowledge=False) as province:
        unit = new_unit(health={"every_s": 0.3})
        process = unit.start()
        wait_until(lambda: len(province.payloads) > 3)
        process.kill()
        process.wait(5)
        first = {seq: sent[0] for seq, sent in province.payloads.items()}
        unit.start()
        wait_until(lambda: all(len(province.payloads[seq]) > 1 for seq in first))
        assert all(set(province.payloads[seq]) == {sent} for seq, sent in first.items())


def test_damage_is_reported_when_it_starts(new_unit: NewUnit, province: Province) -> None:
    unit = new_unit()
    (unit.folder / "state").mkdir()
    (unit.folder / "state/spool.db").write_bytes(b"rubbish" * 1000)
    (unit.folder / "state/ledger.json").write_bytes(b"rubbish")
    unit.start()
    wait_until(lambda: {"spool_reset", "ledger_reset", "started"} <= {event.name for event in province.events()})
    assert len(list((unit.folder / "state").glob("*.damaged-*"))) == 2


def test_two_units_with_one_card_are_reported_and_both_deliver(new_unit: NewUnit, province: Province) -> None:
    """The broker throws out the first when the second comes; each comes back in its turn."""
    first, second = new_unit("one"), new_unit("two")
    first.start()
    wait_until(lambda: any(result.spool for result in province.results))
    second.start()
    wait_until(lambda: "session taken over" in first.said())
    wait_until(lambda: "session_taken_over" in [event.name for event in province.events()], 60)
    wait_until(lambda: len({result.spool for result in province.results}) == 2)
    assert first.said().count('event="session taken over"') == 1


def test_a_spool_of_another_machine_is_reported_when_it_starts(new_unit: NewUnit, province: Province) -> None:
    unit = new_unit()
    process = unit.start()
    wait_until(lambda: province.results)
    process.terminate()
    process.wait(5)
    with closing(sqlite3.connect(unit.folder / "state/spool.db")) as db:
        here = db.execute("SELECT value FROM meta WHERE key='machine'").fetchone()[0]
        db.execute("UPDATE meta SET value=? WHERE key='machine'", (here[:-4] + "0000",))
        db.commit()
    unit.start()
    wait_until(lambda: "spool_cloned" in [event.name for event in province.events()])
    assert len({result.spool for result in province.results}) == 2


NEVER_SET = "import agent.clock.clock as c; c._STA_UNSYNC = 0xFFFF; from agent.run import main; main()"
"""The agent on a machine whose kernel says of no clock that it is synchronised."""


def test_where_no_clock_is_ever_set_the_answers_tell_the_time(new_unit: NewUnit, mosquitto: Mosquitto) -> None:
    """The first result waits out its hold; the answer to it dates the rest."""
    with Province(mosquitto.port) as province:
        unit = new_unit(clock={"assume_synced": False, "hold_s": 2}, health={"every_s": 0.5})
        unit.start("-c", NEVER_SET)
        wait_until(lambda: any((r.at_error_s or 99) < 5 for r in province.results))
        bounded = [r for r in province.results if (r.at_error_s or 99) < 5]
        assert {r.clock for r in bounded} == {"estimated"}
        assert province.results[0].at_error_s == NEVER_SYNCED_ERROR_S


IDLE_S = 15.0


def cpu_s(pid: int) -> float:
    """Seconds that a process has run, to the nanosecond: its ticks would miss short wakes."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_idle_it_takes_under_40_mb_and_under_one_per_cent_of_a_core(
    new_unit: NewUnit, province: Province, record_property: Callable[[str, object], None]
) -> None:
    """A unit at its usual pace, between two tests, connected: what it takes after it has come up."""
    lines = [{"line": "ftth", "access": "fixed"}, {"line": "4g", "access": "mobile"}]
    process = new_unit(lines=lines, servers=["http://127.0.0.1:1/"], anchors=["127.0.0.1"]).start()
    wait_until(lambda: any(isinstance(result, HealthResult) for result in province.results))
    time.sleep(6)  # the first latency series are over
    before, at = cpu_s(process.pid), time.monotonic()
    time.sleep(IDLE_S)
    cpu_percent = 100 * (cpu_s(process.pid) - before) / (time.monotonic() - at)
    rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6
    print(f"idle: {rss_mb:.1f} MB resident, {cpu_percent:.2f} % of a core")
    record_property("rss_mb", rss_mb)
    record_property("cpu_percent", cpu_percent)
    assert rss_mb < 40
    assert cpu_percent < 1
