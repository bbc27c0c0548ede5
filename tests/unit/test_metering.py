"""What the meter lets a line do, and what it charges where the counters can't tell."""

import datetime as dt
from pathlib import Path
from uuid import UUID

import pytest

from agent.clock.clock import ClockReading
from agent.engines import ENGINES
from agent.measure.download import METERED_BYTES, wanted_bytes
from agent.net.counters import Counters
from agent.schedule.quota.budget import RESERVE_FACTOR, DataBudget
from agent.schedule.quota.metering import WIRE_FACTOR, Meter, background_traffic, wire_bytes
from agent.settings import AgentSettings, LatencySettings, LineSettings
from tests.unit.test_budget import full_disk
from xomnet.contract.messages import Speed
from xomnet.mqtt.broker import Broker

MB = 1_000_000
RESERVED = int(METERED_BYTES * RESERVE_FACTOR)
UNCAPPED_BYTES = ENGINES["speedtest-cli"].uncapped_bytes or 0


class World:
    """What the meter sees: one port, and a clock."""

    def __init__(self, folder: Path, line: LineSettings) -> None:
        self.line, self.moved, self.port = line, 0, "wwan0#5"
        self.wall, self.synced = dt.datetime(2026, 11, 28, tzinfo=dt.UTC), True
        self.settings = AgentSettings(agent="nd-a", state_dir=folder, broker=Broker(), lines=(line,))
        self.ledger = DataBudget(folder / "ledger.json")
        self.meter = Meter(self.settings, self.ledger, lambda _: self.clock(), UUID(int=1), self.counters)
        self.meter.charge()

    def clock(self) -> ClockReading:
        return ClockReading(self.wall, 0, self.synced)

    def counters(self) -> Counters:
        return {self.port: (self.moved, 0)} if self.port else {}

    def test(self, moved: int, result: Speed | None) -> int:
        """What a test comes to be charged with."""
        self.meter.reserve(self.line, METERED_BYTES)
        self.moved += moved
        self.meter.settle(self.line, result)
        return self.ledger.used_bytes(self.line.line)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, LineSettings(line="4g", access="mobile", interface="wwan0"))


def speed(received: int, error: str | None = None) -> Speed:
    return Speed(engine="http", server="", bytes=received, error=error)


def test_a_test_is_charged_by_the_counter(world: World) -> None:
    assert world.test(33 * MB, speed(30 * MB)) == 33 * MB


def test_a_test_that_came_to_nothing_is_charged_by_the_counter_too(world: World) -> None:
    assert world.test(12 * MB, None) == 12 * MB
    assert world.test(3 * MB, speed(0, "stalled")) == 15 * MB


def test_a_test_that_no_counter_saw_is_estimated(world: World) -> None:
    world.port = ""  # a sandbox, from the start
    world.meter.charge()
    assert world.test(0, speed(30 * MB)) == int(30 * MB * WIRE_FACTOR)


def test_a_test_that_unplugged_the_modem_costs_what_was_reserved(world: World) -> None:
    world.meter.reserve(world.line, METERED_BYTES)
    world.port = "wwan0#6"
    world.meter.settle(world.line, speed(10 * MB, "interface_missing"))
    assert world.ledger.used_bytes("4g") == RESERVED


def test_an_estimate_has_what_was_under_way_when_the_test_ended() -> None:
    ended = Speed(engine="http", server="", bytes=6_906_216, down_mbps=19.3, rtt_loaded_ms=130.0)
    assert wire_bytes(ended) == pytest.approx(1.1083 * 6_906_216, rel=0.015)  # as the laboratory's port counted


@pytest.mark.parametrize(("seen", "charged"), [(True, 200 * MB), (False, int(UNCAPPED_BYTES * RESERVE_FACTOR))])
def test_a_speedtest_cli_that_fails_is_charged_what_moved_or_all_that_it_may_have(
    tmp_path: Path, seen: bool, charged: int
) -> None:
    world = World(tmp_path, LineSettings(line="4g", access="mobile", engine="speedtest-cli"))
    if not seen:
        world.port = ""
        world.meter.charge()
    allowed = world.meter.allowance(world.line, wanted_bytes(world.line), None)
    assert allowed.max_bytes == UNCAPPED_BYTES
    world.meter.reserve(world.line, allowed.max_bytes)
    assert world.ledger.used_bytes("4g") == int(UNCAPPED_BYTES * RESERVE_FACTOR)
    world.moved += 200 * MB
    failed = Speed(engine="speedtest-cli", server="", bytes=0, error="timeout")
    world.meter.settle(world.line, failed)
    assert world.ledger.used_bytes("4g") == charged


def test_tests_leave_what_latency_and_messages_need_until_the_month_ends(world: World) -> None:
    day = background_traffic(world.settings)
    world.moved = 5_000 * MB - RESERVED - int(2.5 * (day.echoes + day.messages))  # it ends in 2.7 days
    assert world.meter.allowance(world.line, wanted_bytes(world.line), None).reason is not None
    world.wall = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
    assert world.meter.allowance(world.line, wanted_bytes(world.line), None).reason is None


def test_a_clock_that_is_not_synchronised_holds_back_for_a_whole_month(world: World) -> None:
    day = background_traffic(world.settings)
    world.moved = 5_000 * MB - RESERVED - int(30 * (day.echoes + day.messages))
    assert world.meter.allowance(world.line, wanted_bytes(world.line), None).reason is None
    world.synced = False
    assert world.meter.allowance(world.line, wanted_bytes(world.line), None).reason is not None


def test_echoes_stop_while_messages_still_have_their_bytes(world: World) -> None:
    messages = int(background_traffic(world.settings).messages * 3)
    world.moved = 5_000 * MB - messages
    world.meter.charge()
    assert world.meter.echo_stop_reason(world.line) is None
    world.moved += messages // 3
    world.meter.charge()
    assert world.meter.echo_stop_reason(world.line) == f"{world.moved} of 5000000000 bytes: no latency until next month"
    world.wall = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    world.meter.charge()
    world.meter.charge()
    assert world.meter.echo_stop_reason(world.line) is None


def test_a_line_without_a_budget_goes_on_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path, LineSettings(line="ftth", access="fixed", interface="wwan0"))
    world.moved = 10**15
    world.meter.charge()
    assert world.meter.echo_stop_reason(world.line) is None
    assert world.meter.allowance(world.line, wanted_bytes(world.line), None).reason is None


def test_what_latency_and_messages_take_follows_the_settings(world: World) -> None:
    usual = background_traffic(world.settings)
    assert usual.echoes + usual.messages < 6 * MB  # a day, of 5 GB a month
    world.settings = AgentSettings(
        agent="nd-a", state_dir=Path(), broker=Broker(), lines=(world.line,), latency=LatencySettings(every_s=30)
    )
    assert background_traffic(world.settings).echoes == pytest.approx(10 * usual.echoes)
    assert background_traffic(world.settings).messages > 3 * usual.messages


def test_much_is_written_at_once_and_little_waits(world: World, tmp_path: Path) -> None:
    def written() -> int:
        return DataBudget(tmp_path / "ledger.json").used_bytes("4g")

    world.moved = 10_000
    world.meter.charge()
    assert written() == 0
    world.moved = 150_000
    world.meter.charge()
    assert written() == 150_000


def test_a_full_disk_stops_no_counting(world: World) -> None:
    world.moved = 5 * MB
    with full_disk():
        world.meter.charge()
        world.meter.save()
    assert world.ledger.used_bytes("4g") == 5 * MB
