"""The clock: the kernel's word on its state, and times set right afterwards."""

import ctypes
import datetime as dt
import errno
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import clock
from agent.clock.clock import ClockReading, boot_id, boot_ns, read_clock, rebase

NOON = dt.datetime(2026, 11, 20, 5, tzinfo=dt.UTC)


class Libc:
    """Answers adjtimex(2) with what it was told; EPERM with -1."""

    def __init__(self, result: int, status: int, maxerror: int) -> None:
        self.result, self.status, self.maxerror = result, status, maxerror

    def adjtimex(self, reference: Any) -> int:
        timex = reference._obj
        timex.status, timex.maxerror = self.status, self.maxerror
        if self.result == -1:
            ctypes.set_errno(errno.EPERM)
        return self.result


def test_a_reading_is_one_instant_on_both_clocks() -> None:
    first = read_clock()
    time.sleep(0.05)
    second = read_clock()
    assert first.wall.tzinfo == dt.UTC
    passed_s = (second.boot_ns - first.boot_ns) / 1e9
    assert passed_s >= 0.05
    assert (second.wall - first.wall).total_seconds() == pytest.approx(passed_s, abs=0.02)
    assert abs(boot_ns() - second.boot_ns) < 5e9


def test_the_kernel_is_asked_and_its_bound_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """TIME_ERROR as its answer or STA_UNSYNC in its status, either means unsynchronised."""
    found = []
    for result, status, maxerror in [(0, 0x2001, 1500), (0, 0x40, 16_000_000), (5, 0x40, 16_000_000), (5, 0x2001, 9)]:
        monkeypatch.setattr(clock, "_libc", Libc(result, status, maxerror))
        reading = read_clock()
        found.append((reading.synced, reading.error_ms))
    assert found == [(True, 1.5), (False, None), (False, None), (False, None)]


def test_the_real_kernel_gives_a_state_that_fits_together() -> None:
    timex = clock._Timex()
    assert clock._libc.adjtimex(ctypes.byref(timex)) in range(6)
    assert 0 <= timex.maxerror <= 16_000_000  # NTP_PHASE_LIMIT
    assert 0 <= timex.status <= 0xFFFF
    tolerance = ctypes.c_long.from_buffer(timex, 8 * ctypes.sizeof(ctypes.c_long)).value
    assert tolerance == 500 << 16  # MAXFREQ in parts per million, two fields on: the layout is the kernel's
    reading = read_clock()
    assert (reading.error_ms is None) == (not reading.synced)


def test_a_sandbox_that_hides_the_kernels_answer_counts_as_unsynchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_libc", Libc(-1, 0, 0))
    assert (read_clock().synced, read_clock().error_ms) == (False, None)
    assert (read_clock(assume_synced=True).synced, read_clock(assume_synced=True).error_ms) == (True, None)


def test_the_boot_has_one_id() -> None:
    assert isinstance(boot_id(), UUID)
    assert boot_id() == boot_id()


@pytest.mark.parametrize(
    ("taken_s", "now_s", "expected"),
    [
        (100, 100, NOON),
        (100, 160, NOON - dt.timedelta(minutes=1)),
        (0, 86_400, NOON - dt.timedelta(days=1)),
        (200, 100, NOON + dt.timedelta(seconds=100)),
    ],
)
def test_a_time_is_set_right_by_what_has_passed_since_boot(taken_s: int, now_s: int, expected: dt.datetime) -> None:
    assert rebase(taken_s * 10**9, ClockReading(NOON, now_s * 10**9, True)) == expected


@given(st.lists(st.integers(0, 10**18), min_size=2, max_size=10), st.integers(0, 10**18))
def test_rebased_times_keep_their_order(taken: list[int], now: int) -> None:
    reading = ClockReading(NOON, now, True)
    assert [rebase(t, reading) for t in sorted(taken)] == sorted(rebase(t, reading) for t in taken)
