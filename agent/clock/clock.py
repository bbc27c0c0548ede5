"""The wall clock, the boot clock, and whether the kernel trusts the wall clock: a Pi has no battery clock."""

import ctypes
import datetime as dt
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_libc = ctypes.CDLL(None, use_errno=True)


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, of which only the head is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One instant on both clocks: `boot_ns` never steps, `wall` may."""

    wall: dt.datetime
    boot_ns: int
    synced: bool
    error_ms: float | None = None
    """The kernel's bound on its error; None if the kernel gives none."""


ReadClock = Callable[[bool], ClockReading]
"""`read_clock`, or what a test puts in its place to set the time; the argument is `assume_synced`."""


def boot_id() -> UUID:
    """The kernel's id of this boot."""
    return UUID(BOOT_ID.read_text().strip())


def boot_ns() -> int:
    """CLOCK_BOOTTIME: nanoseconds since boot, asleep or awake."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_clock(assume_synced: bool = False) -> ClockReading:
    """Reads both clocks now. `assume_synced` is for machines whose host keeps the clock (virtual machine,
    container).
    """
    timex = _Timex()
    result = _libc.adjtimex(ctypes.byref(timex))
    if result == -1 and ctypes.get_errno() in {errno.EPERM, errno.ENOSYS}:
        synced, error_ms = assume_synced, None  # a sandbox hides the kernel's answer
    else:
        synced = result != _TIME_ERROR and not timex.status & _STA_UNSYNC
        error_ms = timex.maxerror / 1000 if synced else None
    return ClockReading(dt.datetime.now(dt.UTC), boot_ns(), synced or assume_synced, error_ms)


def rebase(then_boot_ns: int, now: ClockReading) -> dt.datetime:
    """The time, by the wall clock of `now`, of an instant of the same boot."""
    return now.wall - dt.timedelta(microseconds=(now.boot_ns - then_boot_ns) // 1000)


def clock_step_s(before: ClockReading, after: ClockReading) -> float:
    """Seconds by which the wall clock was set between two readings of one boot; negative if it was set back."""
    return (after.wall - rebase(after.boot_ns, before)).total_seconds()
