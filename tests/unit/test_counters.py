"""The counters of the ports: read as the kernel shows them, and what moved between two readings."""

from pathlib import Path

import pytest

from agent.net.counters import WRAP, Counters, bytes_between, line_counters, read_counters


def port(sys: Path, name: str, index: int, rx: int, tx: int) -> None:
    (sys / name / "statistics").mkdir(parents=True)
    (sys / name / "ifindex").write_text(f"{index}\n")
    (sys / name / "statistics/rx_bytes").write_text(f"{rx}\n")
    (sys / name / "statistics/tx_bytes").write_text(f"{tx}\n")


def test_the_ports_are_read_with_their_index(tmp_path: Path) -> None:
    port(tmp_path, "eth0", 2, 100, 7)
    port(tmp_path, "wwan0", 5, 30, 1)
    (tmp_path / "bonding_masters").write_text("")
    assert read_counters(tmp_path) == {"eth0#2": (100, 7), "wwan0#5": (30, 1)}


def test_a_system_that_shows_no_ports_has_no_counters(tmp_path: Path) -> None:
    assert read_counters(tmp_path / "none") == {}


def test_this_machine_has_a_loopback_that_counts_what_is_sent_over_it() -> None:
    (loopback,) = [name for name in read_counters() if name.startswith("lo#")]
    assert read_counters()[loopback][0] >= 0


def test_a_line_has_its_port_and_one_without_a_name_all_that_lead_out() -> None:
    ports = ("lo#1", "eth0#2", "eth0.7#3", "wlan0#4", "veth1a#9", "docker0#10", "br-3#11")
    counters: Counters = {name: (1, 1) for name in ports}
    assert list(line_counters(counters, "eth0")) == ["eth0#2"]
    assert list(line_counters(counters, "wwan0")) == []
    assert list(line_counters(counters, "lo")) == ["lo#1"]
    assert list(line_counters(counters, None)) == ["eth0#2", "eth0.7#3", "wlan0#4"]


@pytest.mark.parametrize(
    ("before", "now", "bytes_"),
    [
        ({}, {}, 0),
        ({}, {"a#1": (5, 6)}, 11),
        ({"a#1": (5, 6)}, {"a#1": (5, 6)}, 0),
        ({"a#1": (5, 6)}, {"a#1": (15, 7)}, 11),
        ({"a#1": (5, 6)}, {"a#2": (7, 8)}, 15),  # plugged anew, and beyond what it was
        ({"a#1": (5, 6)}, {}, 0),
        ({"a#1": (500, 6)}, {"a#1": (20, 6)}, 20),  # begun anew
        ({"a#1": (WRAP - 100, 0)}, {"a#1": (20, 0)}, 120),  # wrapped at 32 bits
        ({"a#1": (WRAP + 100, 0)}, {"a#1": (20, 0)}, 20),
        ({"a#1": (1, 1), "b#2": (1, 1)}, {"a#1": (2, 1), "b#2": (1, 3)}, 3),
    ],
)
def test_what_moved_between_two_readings(before: Counters, now: Counters, bytes_: int) -> None:
    assert bytes_between(before, now) == bytes_
