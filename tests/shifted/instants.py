"""When dates go wrong: for whoever takes one day for another, one zone for another, or the clock twice."""

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

from xomnet.plan import PROVINCE_TIME

VIET_NAM, UTC = ZoneInfo(PROVINCE_TIME), dt.UTC


def _month_ends(day: dt.date) -> bool:
    return (day + dt.timedelta(days=1)).day == 1 and day.month != 12


def _year_ends(day: dt.date) -> bool:
    return (day.month, day.day) == (12, 31)


INSTANTS: dict[str, tuple[dt.tzinfo, Callable[[dt.date], bool], dt.time]] = {
    "month-vn": (VIET_NAM, _month_ends, dt.time(23, 30)),
    "month-utc": (UTC, _month_ends, dt.time(23, 30)),
    "year-vn": (VIET_NAM, _year_ends, dt.time(23, 30)),
    "year-utc": (UTC, _year_ends, dt.time(23, 30)),
    "29-feb": (UTC, lambda day: (day.month, day.day) == (2, 29), dt.time(0, 1)),
    "monday": (VIET_NAM, lambda day: day.weekday() == 0, dt.time(23, 59)),
    "midnight-vn": (VIET_NAM, lambda day: day.day == 15, dt.time(0, 1)),
    "midnight-utc": (UTC, lambda day: day.day == 15, dt.time(23, 59)),
}
"""In which zone, on which days, at what time. What begins a minute before midnight is soon after it."""


def next_of(name: str, now: dt.datetime) -> dt.datetime:
    """The next such instant. Never one of the past: a database may refuse what is so old."""
    zone, is_such, at = INSTANTS[name]
    day = now.astimezone(zone).date()
    while not is_such(day) or dt.datetime.combine(day, at, zone) <= now:
        day += dt.timedelta(days=1)
    return dt.datetime.combine(day, at, zone)
