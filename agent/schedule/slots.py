"""When a line is tested: at random within the slots of a day, the same for a unit each time it is asked. Pure."""

import datetime as dt
import random
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from xomnet.plan import day_plan, is_peak

AUDIT_ONE_IN = 10
LONGEST_MONTH_DAYS = 31
LATEST = dt.timedelta(minutes=1)
"""Before a slot's end: a test that starts later would run into the next slot."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One test belongs in [start, end)."""

    start: dt.datetime
    end: dt.datetime
    peak: bool


@lru_cache(maxsize=64)
def slots_of_day(day: dt.date, metered: bool, zone: ZoneInfo) -> tuple[Slot, ...]:
    """The slots of a day by the clock on the wall there, in the order of time."""

    def at(hour: int) -> dt.datetime:
        return dt.datetime.combine(day, dt.time(hour), zone).astimezone(dt.UTC)

    return tuple(Slot(at(start), at(end), is_peak(start)) for start, end in day_plan(metered).slots)


def scheduled_time(slot: Slot, seed: str, not_before: dt.datetime | None = None) -> dt.datetime:
    """The test's time in its slot; at random in the rest of the slot if the unit came up after that time."""
    chosen = _between(slot.start, slot.end - LATEST, f"{seed}/{slot.start.isoformat()}")
    if not_before is None or chosen >= not_before:
        return chosen
    return _between(not_before, max(not_before, slot.end - LATEST), f"{seed}/{not_before.isoformat()}")


def _between(first: dt.datetime, last: dt.datetime, seed: str) -> dt.datetime:
    return first + (last - first) * random.Random(seed).random()  # noqa: S311  # spread, not secrecy


@dataclass(frozen=True, slots=True)
class PlannedTest:
    slot: Slot
    at: dt.datetime
    audit: bool


def next_test(
    now: dt.datetime,
    up_since: dt.datetime,
    done_until: dt.datetime | None,
    metered: bool,
    seed: str,
    zone: ZoneInfo,
) -> PlannedTest:
    """The next test of a line that the unit can run.

    `done_until` is the start of the last slot that had its test, `up_since` the start of the unit. A `done_until` in
    the future comes from a clock that has been corrected since, and does not count.
    """
    if done_until is not None and done_until > now:
        done_until = None
    today = now.astimezone(zone).date()
    for days in range(3):
        for slot in slots_of_day(today + dt.timedelta(days=days), metered, zone):
            if slot.end - LATEST <= now or (done_until is not None and slot.start <= done_until):
                continue
            resumed = up_since if slot.start <= up_since < slot.end else None
            audit = random.Random(f"audit/{seed}/{slot.start.isoformat()}").randrange(AUDIT_ONE_IN) == 0  # noqa: S311
            return PlannedTest(slot, scheduled_time(slot, seed, resumed), audit)
    raise AssertionError("three days without a slot")


def peak_tests_left(now: dt.datetime | None, metered: bool, zone: ZoneInfo) -> int:
    """Peak tests between now and the end of the calendar month; None, a clock not to be trusted: of a whole one."""
    if now is None:
        return LONGEST_MONTH_DAYS * sum(slot.peak for slot in slots_of_day(dt.date(2000, 1, 1), metered, zone))
    local = now.astimezone(zone)
    day, count = local.date(), 0
    while day.month == local.month:
        count += sum(1 for slot in slots_of_day(day, metered, zone) if slot.peak and slot.start > now)
        day += dt.timedelta(days=1)
    return count


def days_left(now: dt.datetime | None, zone: ZoneInfo) -> float:
    """Days until the end of the calendar month; None, a clock not to be trusted: a whole one."""
    if now is None:
        return float(LONGEST_MONTH_DAYS)
    local = now.astimezone(zone)
    first = (local.replace(day=1) + dt.timedelta(days=LONGEST_MONTH_DAYS + 1)).replace(day=1)
    end = dt.datetime.combine(first.date(), dt.time(), zone)
    return (end.astimezone(dt.UTC) - now).total_seconds() / 86_400
