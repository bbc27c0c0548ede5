"""What two looks at the unit say of the time between them: stub files, fake programs, and values."""

import datetime as dt
from pathlib import Path

import pytest

from agent.clock.clock import ClockReading, clock_step_s, read_clock
from agent.measure import conditions as conditions_module
from agent.measure import health as health_module
from agent.measure.conditions import Count, CrossTraffic, Reading, TestConditions, cross_traffic, disturbance_flags
from agent.measure.engines import Progress
from agent.measure.health import is_throttled, read_throttled
from agent.net.interface import ReceiveCounter
from agent.settings import LineSettings
from tests.unit.test_interface import ETH0, WWAN0, record
from tests.unit.test_latency import NOON
from xomnet.contract.messages import Speed

FIXED = LineSettings(line="ftth", access="fixed", interface="eth0")
NOWHERE = Path("/nowhere")
GOOD = Speed(engine="http", server="s", down_mbps=80.0)


def reading(after_s: float = 0.0, step_s: float = 0.0, wait_s: float = 0.0, interrupts_s: float = 0.0) -> Reading:
    """A look at a unit with four processors, so long after the first one."""
    clock = ClockReading(NOON + dt.timedelta(seconds=after_s + step_s), int(after_s * 1e9), True)
    return Reading(clock, 100.0 + after_s, int(wait_s * 1e9), (3.0, 4.0 + interrupts_s, 5.0, 6.0))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (reading(10), ()),
        (reading(10, wait_s=3.9), ()),
        (reading(10, wait_s=4.1), ("cpu_bound",)),
        (reading(0.01, wait_s=0.009, interrupts_s=0.01), ()),  # a refused connection takes no longer
        (reading(10, interrupts_s=8.9), ()),
        (reading(10, interrupts_s=9.1), ("cpu_bound",)),  # one processor does nothing but take packets in
        (reading(10, step_s=0.4), ()),
        (reading(10, step_s=0.6), ("clock_unsynced",)),
        (reading(10, step_s=-3600), ("clock_unsynced",)),
    ],
)
def test_what_two_readings_say_of_the_time_between_them(after: Reading, expected: tuple[str, ...]) -> None:
    assert disturbance_flags(reading(), after) == expected


def test_what_can_not_be_read_is_not_flagged() -> None:
    """A sandbox that hides /proc."""
    before, after = (Reading(ClockReading(NOON, 0, True), at_s) for at_s in (0.0, 10.0))
    assert disturbance_flags(before, after) == ()


def test_a_step_of_the_wall_clock_shows_against_the_boot_clock() -> None:
    before, after = read_clock(), read_clock()
    assert abs(clock_step_s(before, after)) < 0.1
    later = ClockReading(after.wall - dt.timedelta(hours=2), after.boot_ns, True)
    assert clock_step_s(before, later) == pytest.approx(-7200, abs=0.1)


def test_a_clock_that_was_set_during_a_test_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = TestConditions(FIXED, NOWHERE, NOWHERE)
    assert seen.annotate(GOOD).flags == ()
    now = read_clock()
    set_ = ClockReading(now.wall + dt.timedelta(seconds=40), now.boot_ns, True)
    monkeypatch.setattr(conditions_module, "read_clock", lambda: set_)
    assert seen.annotate(GOOD).flags == ("clock_unsynced",)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0x0, 0x0, False),
        (0x50000, 0x50000, False),  # once since boot, long ago
        (0x0, 0x50000, True),  # under-voltage came and went
        (0x50000, 0x50005, True),
        (0x50005, 0x50000, True),  # it was so when the test began
        (0x50000, 0x70000, True),
        (0x0, 0x10000, True),
        (0x0, 0x80000, True),  # the soft limit of heat
        (None, 0x50000, False),
        (None, None, False),
        (0x0, None, False),
    ],
)
def test_throttling_between_two_looks(before: int | None, after: int | None, expected: bool) -> None:
    assert is_throttled(before, after) is expected


def test_throttling_that_came_and_went_during_a_test_is_flagged(tmp_path: Path) -> None:
    file = tmp_path / "get_throttled"
    file.write_text("0\n")  # as the kernel prints it: hexadecimal, without 0x
    seen = TestConditions(FIXED, NOWHERE, file)
    assert seen.annotate(GOOD).flags == ()
    file.write_text("50000\n")
    assert seen.annotate(GOOD).flags == ("throttled",)


@pytest.mark.parametrize(
    ("script", "bits"),
    [
        ("echo throttled=0x50005", 0x50005),
        ("echo throttled=0x0", 0),
        ("echo 'VCHI initialization failed' >&2; exit 255", None),
        ("echo Can\\'t open device file: /dev/vcio; exit 1", None),
        ("exec sleep 60", None),
    ],
)
def test_where_the_kernel_has_no_file_vcgencmd_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, bits: int | None
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$*" = get_throttled ] || exit 9\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(health_module, "VCGENCMD_S", 0.5)
    assert read_throttled(NOWHERE) == bits


def test_headers_are_no_others_traffic() -> None:
    """1,000 packets of 1,448 bytes, as an Ethernet port counts them, and as a modem without Ethernet headers does."""
    begin = Count(1.0, 500, 10_000, 20)
    ethernet, raw = (Count(2.0, 1_448_500, 10_000 + 1000 * size, 1020) for size in (1514, 1500))
    assert cross_traffic(begin, ethernet) == CrossTraffic(0, 1.0)
    assert cross_traffic(begin, raw, ethernet=False) == CrossTraffic(0, 1.0)
    assert cross_traffic(begin, Count(2.0, 1_448_500, 10_000 + 2_014_000, 1520)) == CrossTraffic(467_000, 1.0)


def test_there_are_no_others_without_two_moments_and_never_less_than_none() -> None:
    one = Count(1.0, 0, 0, 0)
    assert cross_traffic(None, None) is cross_traffic(one, one) is cross_traffic(one, None) is None
    assert cross_traffic(one, Count(2.0, 10**6, 10**5, 70)) == CrossTraffic(
        0, 1.0
    )  # a counter of 32 bits that began again


@pytest.mark.parametrize(
    ("others_mbps", "down_mbps", "limit_mbps", "crossed"),
    [
        (1.5, 80, None, False),
        (1.7, 80, None, True),
        (0.09, 1, None, False),  # the murmur of a network is no more than that
        (0.11, 1, None, True),
        (1.7, 80, 3.0, False),
        (3.1, 80, 3.0, True),
        (50.0, None, None, False),
    ],
)
def test_others_matter_from_two_per_cent_of_the_figure_on(
    others_mbps: float, down_mbps: float | None, limit_mbps: float | None, crossed: bool
) -> None:
    assert CrossTraffic(int(others_mbps * 125_000 * 4), 4.0).exceeds(down_mbps, limit_mbps) is crossed


def transfer(seen: TestConditions, sys: Path, mbps: float, others_mbps: float, begin_s: float = 0.0) -> None:
    """Four ticks of a test at an interface, whose counters move along."""
    for tick in range(4):
        t_s = begin_s + tick
        packets = int(t_s * mbps * 125_000 / 1448)
        (sys / "eth0/statistics/rx_bytes").write_text(f"{packets * 1514 + int(t_s * others_mbps * 125_000)}\n")
        (sys / "eth0/statistics/rx_packets").write_text(f"{packets}\n")
        seen.on_progress(Progress(t_s, mbps, packets * 1448, True))


@pytest.fixture
def eth0(tmp_path: Path) -> Path:
    return record(tmp_path, "eth0", {**ETH0, "statistics/rx_packets": "0\n"})


@pytest.mark.parametrize(("others_mbps", "expected"), [(0.0, ()), (4.0, ("cross_traffic",))])
def test_a_test_counts_what_others_receive_and_reads_the_port(
    eth0: Path, others_mbps: float, expected: tuple[str, ...]
) -> None:
    seen = TestConditions(FIXED, eth0, NOWHERE)
    transfer(seen, eth0, 80.0, others_mbps)
    found = seen.annotate(GOOD)
    seen.close()
    flags = tuple(flag for flag in found.flags if flag != "cpu_bound")  # this machine may be busy
    assert (flags, found.link_mbps, found.other_bytes) == (expected, 1000, int(others_mbps * 125_000 * 3))


def test_another_servers_test_starts_a_new_count(eth0: Path) -> None:
    """What came in while the first server failed is not beside the test that counts."""
    seen = TestConditions(FIXED, eth0, NOWHERE)
    transfer(seen, eth0, 5.0, 40.0, begin_s=4.0)
    transfer(seen, eth0, 80.0, 0.0)
    assert seen.annotate(GOOD).other_bytes == 0


def test_a_line_without_a_port_that_is_there_is_watched_as_far_as_it_can_be(tmp_path: Path) -> None:
    for line in (FIXED, LineSettings(line="ftth", access="fixed")):
        seen = TestConditions(line, tmp_path, NOWHERE)
        seen.on_progress(Progress(0.0, 0.0, 0, False))
        seen.on_progress(Progress(1.0, 0.0, 0, False))
        found = seen.annotate(GOOD)
        assert (found.other_bytes, found.link_mbps, found.flags) == (None, None, ())
        assert found.cpu_wait_s is not None


def test_the_counters_are_read_again_each_time(tmp_path: Path) -> None:
    sys = record(tmp_path, "wwan0", {**WWAN0, "statistics/rx_packets": "3\n"})
    received = ReceiveCounter("wwan0", sys)
    assert received.read() == (7, 3)
    (sys / "wwan0/statistics/rx_bytes").write_text("19000000007\n")
    assert received.read() == (19_000_000_007, 3)
    received.close()
    with pytest.raises(OSError, match="No such file"):
        ReceiveCounter("wwan1", sys)
