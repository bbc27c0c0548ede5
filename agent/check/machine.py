"""The unit itself: its power, its clock, its disk."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil

from agent.clock.clock import ClockReading
from agent.settings import AgentSettings
from xomnet.check.finding import Finding, Said, fail, ok, say, skip, warn
from xomnet.check.host import try_to_write

UNDER_VOLTAGE, SLOWED = 0b0001, 0b1110
"""Of `get_throttled`: now; 16 bits higher: since boot."""
HOT_C = 80.0
"""From here on a Raspberry Pi slows itself down."""
LEAST_FREE_MB = 200.0
OLDEST_YEAR = 2025
CERTAIN_MS = 1_000.0
SUPPLY = say("a supply of 5.1 V and 3 A (Pi 5: 5 A) with a short cable of its own; no other devices on the USB ports")
COOLING = say("ventilation, out of the sun; then the supply")


def power(throttled: int | None, temperature_c: float | None) -> Finding:
    """From the bits of `get_throttled`, None on another machine, and the processor's temperature."""
    heat = () if temperature_c is None else (say("{n} °C", n=temperature_c),)
    if throttled is None:
        return skip("power", say("no Raspberry Pi, or its power can't be asked"), *heat)
    ever = throttled >> 16
    if throttled & UNDER_VOLTAGE:
        return fail("power", (say("under-voltage now"), *heat), SUPPLY)
    if throttled & SLOWED:
        return warn("power", (say("slowed down by heat or power now"), *heat), COOLING)
    if ever & UNDER_VOLTAGE:
        return warn("power", (say("under-voltage since boot"), *heat), SUPPLY)
    if ever & SLOWED:
        return warn("power", (say("was slowed down since boot"), *heat), COOLING)
    if temperature_c is not None and temperature_c >= HOT_C:
        return warn("power", heat, COOLING)
    return ok("power", say("no under-voltage since boot"), *heat)


def clock(now: ClockReading, hold_s: float) -> Finding:
    """Whether the kernel trusts it. Certificates of a clock that is years off are never good."""
    remedy = say("NTP on port 123 reachable? timedatectl; systemctl status systemd-timesyncd")
    if now.synced and now.error_ms is None:
        return ok("clock", say("set by the host"))
    if now.synced and now.error_ms is not None:
        within = (say("within {n} ms", n=now.error_ms),) if now.error_ms < CERTAIN_MS else ()
        return ok("clock", say("synchronised"), *within)
    if now.wall.year < OLDEST_YEAR:
        return fail("clock", say("not set: it says {day}", day=f"{now.wall:%Y-%m-%d}"), remedy)
    wait = say("results wait up to {n} min for it", n=hold_s / 60)
    return warn("clock", (say("not synchronised"), wait), remedy)


def disk(settings: AgentSettings) -> Finding:
    """Space, a write that reaches the disk, and a spool that opens."""
    folder = settings.state_dir
    if not os.path.isdir(folder):  # Path's own raises where a folder above is closed
        return fail("disk", say("{path} is not there", path=str(folder)), say("start the service once; it makes it"))
    try:
        try_to_write(folder)
    except OSError as error:
        words = say("{path}: {reason}", path=str(folder), reason=error.strerror or str(error))
        return fail("disk", words, _not_written(error))
    usage = psutil.disk_usage(str(folder))
    free = say("{n} MB free", n=round(usage.free / 1e6))
    try:
        found = spool(folder / "spool.db")
    except sqlite3.Error as error:
        damaged = say("the spool does not open: {reason}", reason=str(error))
        return fail("disk", (free, damaged), say("the service sets it aside at its start; then change the card"))
    if usage.free < LEAST_FREE_MB * 1e6:
        return fail("disk", (free, found), say("make room: journalctl --vacuum-size=50M; what fills {path}?", path="/"))
    return ok("disk", free, found)


def spool(path: Path) -> Said:
    """Opened only to read, beside the service. Raises sqlite3.Error."""
    if not path.exists():
        return say("no spool yet")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
        database.execute("SELECT count(*) FROM results").fetchone()
    return say("the spool opens")


def _not_written(error: OSError) -> Said:
    if error.errno == errno.EACCES:
        return say("run it with sudo; the folder belongs to the service's user")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return say("make room: journalctl --vacuum-size=50M; what fills {path}?", path="/")
    return say("the card may be dying: copy what is there, change it")
