"""What the loop makes of a line: whose fault a dark port is, what latency is measured to."""

import datetime as dt
import threading
from pathlib import Path
from uuid import UUID

import pytest

from agent.clock import clock as clock_module
from agent.clock.clock import boot_id, boot_ns, read_clock
from agent.clock.timestamps import server_reference
from agent.delivery import spool as spool_module
from agent.delivery.spool import Spool
from agent.loop import AgentLoop
from agent.measure import runner as tester_module
from agent.measure.latency import Anchor, server_anchors
from agent.measure.precheck import Precheck
from agent.schedule.line_state import line_states
from agent.schedule.quota.budget import DataBudget
from agent.settings import AgentSettings, ClockSettings, LatencySettings, LineSettings
from collector.judge.assess import counted_mbps
from collector.store.row_types import Sample
from tests.unit.test_clock import Libc
from xomnet.contract.messages import Access, SpeedResult, decode_result
from xomnet.defaults import config_file
from xomnet.mqtt.broker import Broker
from xomnet.targets import load_targets

pytestmark = pytest.mark.date


def first_test(
    folder: Path, access: Access, stop: threading.Event, clock_set: bool = True, **line: object
) -> SpeedResult:
    """What a unit with one line puts into its spool for its first download."""
    settings = AgentSettings(
        agent="nd-a",
        state_dir=folder,
        broker=Broker(),
        lines=(LineSettings(line="one", access=access, interface="eth0", every_s=0.01, **line),),  # type: ignore[arg-type]
        servers=("http://127.0.0.1:9/",),
        clock=ClockSettings(assume_synced=clock_set),
        latency=LatencySettings(echoes=1, timeout_ms=50),
    )
    spool = Spool(folder / "spool.db", "nd-a", UUID(int=1))
    ledger = DataBudget(folder / "ledger.json")
    unit = AgentLoop(settings, spool, ledger, load_targets(config_file("targets.yaml")), stop, read_clock)
    loop = threading.Thread(target=unit.run)
    loop.start()
    try:
        while True:
            now = unit._clock()
            for pending in spool.pending(50, now, 1):
                result = decode_result(pending.payload)
                if isinstance(result, SpeedResult):
                    return result
    finally:
        stop.set()
        loop.join(10)
        spool.close()


@pytest.mark.parametrize(("access", "counts_for"), [("fixed", None), ("mobile", 0.0)])
def test_a_dark_ethernet_port_is_our_side_and_a_modem_without_a_network_is_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: Access, counts_for: float | None
) -> None:
    down = Precheck(("link_down",), None, ("interface_down", "eth0 is down"))
    monkeypatch.setattr(tester_module, "precheck", lambda *_: down)
    result = first_test(tmp_path, access, threading.Event())
    assert result.data.error == "interface_down"
    assert counted_mbps(Sample(result.at, None, result.data.flags, result.data.error)) == counts_for


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tester_module, "precheck", lambda *_: Precheck())


@pytest.mark.usefixtures("fit")
def test_a_test_that_the_budget_does_not_allow_is_skipped_and_flagged(tmp_path: Path) -> None:
    found = first_test(tmp_path, "mobile", threading.Event(), budget_gb=0.001).data
    assert (found.error, found.flags, found.bytes) == ("budget", ("budget_skip",), 0)


@pytest.mark.usefixtures("fit")
@pytest.mark.parametrize(
    ("result", "status", "flags"), [(5, 0x40, ("clock_unsynced",)), (0, 0x40, ("clock_unsynced",)), (0, 0x2001, ())]
)
def test_a_test_under_a_clock_that_is_not_set_is_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: int, status: int, flags: tuple[str, ...]
) -> None:
    """By what adjtimex says: TIME_ERROR or STA_UNSYNC."""
    monkeypatch.setattr(clock_module, "_libc", Libc(result, status, 1500))
    found = first_test(tmp_path, "mobile", threading.Event(), clock_set=False, budget_gb=0.001).data
    assert found.flags == ("budget_skip", *flags)


@pytest.mark.parametrize(
    ("anchors", "latency", "longest_s"),
    [
        ((), LatencySettings(), 200),
        (("1.1.1.1",), LatencySettings(), 200),
        (("1.1.1.1",) * 4, LatencySettings(echoes=100, timeout_ms=3000), 4 * (30 + 300)),
        (("1.1.1.1",) * 4, LatencySettings(echoes=100, timeout_ms=50, interval_ms=1000), 4 * (30 + 100)),
    ],
)
def test_the_watchdog_waits_for_the_longest_probe_that_the_settings_allow(
    tmp_path: Path, anchors: tuple[str, ...], latency: LatencySettings, longest_s: float
) -> None:
    lines = (LineSettings(line="one", access="fixed"),)
    settings = AgentSettings(
        agent="nd-a", state_dir=tmp_path, broker=Broker(), lines=lines, anchors=anchors, latency=latency
    )
    spool = Spool(tmp_path / "spool.db", "nd-a", UUID(int=1))
    targets = load_targets(config_file("targets.yaml"))
    unit = AgentLoop(settings, spool, DataBudget(tmp_path / "ledger.json"), targets, threading.Event(), read_clock)
    assert unit.max_job_s == longest_s
    spool.close()


def test_where_no_clock_is_set_months_and_slots_go_by_the_servers_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "_libc", Libc(5, 0x40, 16_000_000))
    lines = (LineSettings(line="one", access="mobile"),)
    settings = AgentSettings(agent="nd-a", state_dir=tmp_path, broker=Broker(), lines=lines)
    spool = Spool(tmp_path / "spool.db", "nd-a", boot_id())
    unit = AgentLoop(
        settings,
        spool,
        DataBudget(tmp_path / "ledger.json"),
        load_targets(config_file("targets.yaml")),
        threading.Event(),
        read_clock,
    )
    assert unit._meter._now() is None
    told, now = dt.datetime(2031, 5, 1, tzinfo=dt.UTC), boot_ns()
    spool.learn_time(server_reference(told, now - 10**9, now))
    found = unit._meter._now()
    assert found is not None
    assert abs((found - told).total_seconds()) < 60
    assert unit._next_test(unit._lines[0]).at.year == 2031
    spool.close()


def test_a_spool_whose_disk_hangs_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "LOCK_S", 0.05)
    spool = Spool(tmp_path / "spool.db", "nd-a", UUID(int=1))
    assert spool.alive()
    held, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with spool._lock:
            held.set()
            go_on.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    held.wait(10)
    assert not spool.alive()
    go_on.set()
    thread.join()
    assert spool.alive()
    spool.close()


def test_a_unit_without_anchors_measures_latency_to_its_servers() -> None:
    assert server_anchors(("http://a.example.vn:8080/", "http://b.example.vn/", "http://c.example.vn/")) == (
        Anchor("a.example.vn", 8080),
        Anchor("b.example.vn", 80),
    )


def test_a_pace_that_is_new_to_many_units_begins_at_another_moment_at_each() -> None:
    def settings(every_s: float | None) -> AgentSettings:
        lines = (LineSettings(line="one", access="fixed", every_s=every_s),)
        return AgentSettings(agent="nd-a", state_dir=Path(), broker=Broker(), lines=lines)

    by_slots = [line_states(settings(None), 100.0) for _ in range(50)]
    paced = sorted(line_states(settings(1000.0), 500.0, before)[0].speed_at for before in by_slots)
    assert 500 <= paced[0] < paced[-1] <= 1500
    assert paced[-1] - paced[0] > 200
    (kept,) = line_states(settings(1000.0), 100.0)
    soon = kept.speed_at
    assert line_states(settings(1000.0), 600.0, [kept])[0].speed_at == soon, "an old one goes on"
    assert line_states(settings(None), 600.0, [kept])[0].speed_at <= 600, "the slots say when"
