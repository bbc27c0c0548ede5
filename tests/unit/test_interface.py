"""Interface, precheck and health against recorded files of /sys."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.clock.clock import read_clock
from agent.measure import health as health_module
from agent.measure import precheck as precheck_module
from agent.measure.health import read_health, read_temperature, read_throttled
from agent.measure.precheck import precheck
from agent.net.interface import InterfaceState, read_interface
from tests.unit.test_latency import NOON, UUID_
from xomnet.contract.messages import HealthResult, decode_result, encode

ETH0 = {"operstate": "up\n", "speed": "1000\n", "statistics/rx_bytes": "123456789\n", "statistics/tx_bytes": "5\n"}
"""As a Raspberry Pi 4 has it."""
WLAN0 = {"operstate": "up\n", "statistics/rx_bytes": "1000\n", "statistics/tx_bytes": "2000\n", "wireless/beacon": ""}
WWAN0 = {"operstate": "unknown\n", "speed": "-1\n", "statistics/rx_bytes": "7\n", "statistics/tx_bytes": "8\n"}


def record(sys_: Path, name: str, files: dict[str, str]) -> Path:
    """Lays an interface into a tree like /sys/class/net."""
    for file, text in files.items():
        path = sys_ / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sys_


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precheck_module, "OBSERVE_S", 0.2)


def flags_of(sys_: Path, name: str, target_mbps: float = 150, throttled_file: Path = Path("/nowhere")) -> list[str]:
    return list(precheck(name, target_mbps, 100, 1e9, sys_, throttled_file).flags)


def test_an_interface_is_read_as_the_kernel_shows_it(tmp_path: Path) -> None:
    record(tmp_path, "eth0", ETH0)
    assert read_interface("eth0", tmp_path) == InterfaceState(True, False, 123_456_789, 5, 1000.0)
    record(tmp_path, "wlan0", WLAN0)
    assert read_interface("wlan0", tmp_path) == InterfaceState(True, True, 1000, 2000, None)
    record(tmp_path, "wwan0", WWAN0)
    assert read_interface("wwan0", tmp_path) == InterfaceState(True, False, 7, 8, None)


def test_a_port_that_is_down_or_not_there(tmp_path: Path) -> None:
    record(tmp_path, "eth0", {**ETH0, "operstate": "down\n", "speed": "-1\n"})
    state = read_interface("eth0", tmp_path)
    assert state is not None
    assert (state.up, state.link_mbps) == (False, None)
    assert read_interface("eth1", tmp_path) is None


def test_the_real_loopback_is_an_interface() -> None:
    state = read_interface("lo")
    assert state is not None
    assert (state.up, state.wireless, state.link_mbps) == (True, False, None)


@pytest.mark.parametrize(("speed", "flags"), [("100\n", ["link_below_target"]), ("1000\n", []), ("-1\n", [])])
def test_a_port_below_the_target_is_flagged(tmp_path: Path, speed: str, flags: list[str]) -> None:
    assert flags_of(record(tmp_path, "eth0", {**ETH0, "speed": speed}), "eth0") == flags


def test_a_port_of_100_is_enough_for_a_mobile_target(tmp_path: Path) -> None:
    assert flags_of(record(tmp_path, "eth0", {**ETH0, "speed": "100\n"}), "eth0", target_mbps=70) == []


def test_wireless_is_flagged(tmp_path: Path) -> None:
    assert flags_of(record(tmp_path, "wlan0", WLAN0), "wlan0") == ["wifi"]


def test_an_interface_that_is_not_there_is_the_units_fault(tmp_path: Path) -> None:
    found = precheck("eth9", 150, 100, 1e9, tmp_path)
    assert (found.flags, found.broken, found.busy) == (
        ("unit_fault",),
        ("interface_missing", "there is no interface eth9"),
        None,
    )


def test_an_interface_that_is_down_can_not_be_measured(tmp_path: Path) -> None:
    found = precheck("eth0", 150, 100, 1e9, record(tmp_path, "eth0", {**ETH0, "operstate": "down\n"}))
    assert (found.flags, found.broken) == (("link_down",), ("interface_down", "eth0 is down"))


def test_a_line_without_an_interface_is_not_judged_by_one() -> None:
    found = precheck(None, 150, 100, 1e9, Path("/nowhere"), Path("/nowhere"))
    assert (found.flags, found.broken, found.link_mbps) == ((), None, None)


def test_what_others_receive_is_cross_traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, "eth0", ETH0)

    class Time:
        """A second in which others receive 10 MB."""

        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            (tmp_path / "eth0/statistics/rx_bytes").write_text(str(123_456_789 + 1_000_000) + "\n")

    monkeypatch.setattr(precheck_module, "time", Time)
    found = precheck("eth0", 150, 100, 3.0, tmp_path)
    assert found.flags == ("cross_traffic",)
    assert found.busy is not None
    assert 30 < float(found.busy.split()[2]) < 41  # 8 Mb in 0.2 s and a bit
    (tmp_path / "eth0/statistics/rx_bytes").write_text("123456789\n")
    assert precheck("eth0", 150, 100, 50.0, tmp_path).flags == ()


@pytest.fixture
def busy_loop() -> Iterator[None]:
    """Another process that does nothing but use a core."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as p:
        assert p.stdout
        p.stdout.readline()
        yield
        p.kill()


@pytest.mark.usefixtures("busy_loop")
def test_a_busy_cpu_is_flagged_and_better_waited_for() -> None:
    found = precheck(None, 150, 40 / (psutil.cpu_count() or 1), 1e9)
    assert found.flags == ("cpu_bound",)
    assert found.busy is not None
    assert found.busy.startswith("CPU ")
    assert found.broken is None


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("0\n", []),
        ("0x50005\n", ["throttled"]),  # under-voltage and throttled now, and since boot
        ("50005\n", ["throttled"]),
        ("0x50000\n", []),  # since boot, not now
        ("0x8\n", ["throttled"]),
        ("", []),
    ],
)
def test_a_throttled_unit_is_flagged(tmp_path: Path, text: str, flags: list[str]) -> None:
    (tmp_path / "get_throttled").write_text(text)
    sys_ = record(tmp_path, "eth0", ETH0)
    assert flags_of(sys_, "eth0", throttled_file=tmp_path / "get_throttled") == flags


@pytest.mark.parametrize(
    ("text", "bits"),
    [("0x50005\n", 0x50005), ("50005\n", 0x50005), ("0\n", 0), ("throttled\n", None), ("", None), (None, None)],
)
def test_the_throttling_bits_are_read_in_hex(tmp_path: Path, text: str | None, bits: int | None) -> None:
    if text is not None:
        (tmp_path / "get_throttled").write_text(text)
    assert read_throttled(tmp_path / "get_throttled") == bits


@pytest.mark.parametrize(("text", "celsius"), [("48312\n", 48.312), ("-5000\n", -5), ("", None), (None, None)])
def test_the_temperature_is_read_in_thousandths(tmp_path: Path, text: str | None, celsius: float | None) -> None:
    if text is not None:
        (tmp_path / "temp").write_text(text)
    assert read_temperature(tmp_path / "temp") == celsius


def test_a_units_health_fits_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temp").write_text("48312\n")
    (tmp_path / "get_throttled").write_text("0x50005\n")
    monkeypatch.setattr(health_module, "THERMAL", tmp_path / "temp")
    monkeypatch.setattr(health_module, "THROTTLED", tmp_path / "get_throttled")
    clock = read_clock(assume_synced=True)
    found = read_health(tmp_path, clock, 3, 4096)
    assert (found.spool_depth, found.spool_bytes, found.temp_c, found.throttled) == (3, 4096, 48.312, 0x50005)
    assert found.clock_synced
    assert found.uptime_s == pytest.approx(clock.boot_ns / 1e9)
    assert found.disk_free_bytes > 0
    assert 5_000_000 < found.rss_bytes < 1_000_000_000
    assert "lo" not in {interface.name for interface in found.interfaces}
    message = HealthResult(v=1, agent="a", spool=UUID_, seq=1, boot=UUID_, at=NOON, clock="synced", data=found)
    assert decode_result(encode(message)) == message


def test_a_machine_without_those_files_leaves_them_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "THERMAL", tmp_path / "nowhere")
    monkeypatch.setattr(health_module, "THROTTLED", tmp_path / "nowhere")
    document = encode(read_health(tmp_path, read_clock(), 0, 0))
    assert b"temp_c" not in document
    assert b"throttled" not in document
