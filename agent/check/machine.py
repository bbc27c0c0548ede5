"""Checks of the unit itself: power, clock, disk."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil

from agent.clock.clock import ClockReading
from agent.delivery.spool import FILE
from agent.settings import AgentSettings
from xomnet.check.finding import Finding, Sentence, fail, ok, say, skip, warn
from xomnet.check.host import try_to_write

UNDER_VOLTAGE, SLOWED = 0b0001, 0b1110
"""Bits of `get_throttled`: now; 16 bits higher: since boot."""
HOT_C = 80.0
"""From this temperature on a Raspberry Pi slows down."""
LEAST_FREE_MB = 200.0
OLDEST_YEAR = 2025
CERTAIN_MS = 1_000.0
SUPPLY = say("use a power supply of 5.1 V and 3 A (Pi 5: 5 A) with a short fixed cable; unplug other USB devices")
COOLING = say("improve ventilation and shade; then check the power supply")


def judge_power(throttled: int | None, temperature_c: float | None) -> Finding:
    """The finding from the bits of `get_throttled` (None: no Raspberry Pi) and the temperature in degrees Celsius."""
    heat = () if temperature_c is None else (say("{n} °C", n=temperature_c),)
    if throttled is None:
        return skip("power", say("not a Raspberry Pi, or its power cannot be read"), *heat)
    ever = throttled >> 16
    if throttled & UNDER_VOLTAGE:
        return fail("power", (say("under-voltage now"), *heat), SUPPLY)
    if throttled & SLOWED:
        return warn("power", (say("slowed down by heat or low voltage now"), *heat), COOLING)
    if ever & UNDER_VOLTAGE:
        return warn("power", (say("under-voltage since boot"), *heat), SUPPLY)
    if ever & SLOWED:
        return warn("power", (say("slowed down since boot"), *heat), COOLING)
    if temperature_c is not None and temperature_c >= HOT_C:
        return warn("power", heat, COOLING)
    return ok("power", say("no under-voltage since boot"), *heat)


def judge_clock(now: ClockReading, hold_s: float) -> Finding:
    """The finding on the clock. With a clock that is years off no certificate is valid."""
    remedy = say("check that NTP (port 123) is not blocked: timedatectl; systemctl status systemd-timesyncd")
    if now.synced and now.error_ms is None:
        return ok("clock", say("set by the host machine"))
    if now.synced and now.error_ms is not None:
        within = (say("within {n} ms", n=now.error_ms),) if now.error_ms < CERTAIN_MS else ()
        return ok("clock", say("synchronised"), *within)
    if now.wall.year < OLDEST_YEAR:
        return fail("clock", say("not set: it shows {day}", day=f"{now.wall:%Y-%m-%d}"), remedy)
    wait = say("results wait up to {n} min for the clock", n=hold_s / 60)
    return warn("clock", (say("not synchronised"), wait), remedy)


def check_disk(settings: AgentSettings) -> Finding:
    """Checks free space, a write that reaches the disk, and that the spool opens."""
    folder = settings.state_dir
    if not os.path.isdir(folder):  # Path's own raises where a folder above is closed
        return fail(
            "disk", say("{path} does not exist", path=str(folder)), say("start the service once: it creates the folder")
        )
    try:
        try_to_write(folder)
    except OSError as error:
        words = say("{path}: {reason}", path=str(folder), reason=error.strerror or str(error))
        return fail("disk", words, _write_remedy(error))
    usage = psutil.disk_usage(str(folder))
    free = say("{n} MB free", n=round(usage.free / 1e6))
    try:
        found = check_spool(folder / FILE)
    except sqlite3.Error as error:
        damaged = say("the spool does not open: {reason}", reason=str(error))
        return fail(
            "disk", (free, damaged), say("restart the service: it sets the damaged file aside; then replace the card")
        )
    if usage.free < LEAST_FREE_MB * 1e6:
        return fail(
            "disk", (free, found), say("free space: journalctl --vacuum-size=50M; find what fills {path}", path="/")
        )
    return ok("disk", free, found)


def check_spool(path: Path) -> Sentence:
    """Opens the spool read-only, beside the service. Raises sqlite3.Error."""
    if not path.exists():
        return say("no spool yet")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
        database.execute("SELECT count(*) FROM results").fetchone()
    return say("the spool opens")


def _write_remedy(error: OSError) -> Sentence:
    if error.errno == errno.EACCES:
        return say("run this with sudo: the folder belongs to the service's user")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return say("free space: journalctl --vacuum-size=50M; find what fills {path}", path="/")
    return say("the card may be failing: copy its data and replace it")
