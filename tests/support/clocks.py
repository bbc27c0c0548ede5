"""Clocks that a test sets."""

import datetime as dt

from agent.clock.clock import ClockReading, ReadClock, boot_ns


def clock_from(wall: dt.datetime, synced: bool = True) -> ReadClock:
    """A unit's clock that says `wall` now, and goes on."""
    began = boot_ns()

    def read(assume_synced: bool = False) -> ClockReading:
        now = boot_ns()
        since = dt.timedelta(microseconds=(now - began) // 1000)
        return ClockReading(wall + since, now, synced or assume_synced, 1.0 if synced else None)

    return read
