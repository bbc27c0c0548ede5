"""systemd's watchdog hears of this process while every part of it is alive, and of nothing else."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xomnet.runtime.watchdog import Watchdog, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def fed(manager: socket.socket) -> bool:
    try:
        return manager.recv(100) == b"WATCHDOG=1"
    except BlockingIOError:
        return False


def test_it_is_fed_while_every_part_is_alive(manager: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(5.0)
    for alive in (True, False, False, True):
        watchdog.feed({"loop": True, "spool": alive})
        assert fed(manager) is alive
    assert [getattr(record, "fields", {})["parts"] for record in caplog.records] == ["spool"]


@pytest.mark.parametrize(
    ("microseconds", "interval_s"), [("60000000", 5.0), ("4000000", 2.0), ("", 5.0), ("never", 5.0)]
)
def test_it_is_fed_twice_in_the_time_that_systemd_allows(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, interval_s: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Watchdog(5.0).interval_s == interval_s
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert watchdog_interval_s() is None
