"""The time axis that the charts of a line share: its range, its ticks, its peak hours. Pure; times are aware."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from collector.texts.texts import LOCAL
from xomnet.plan import PEAK_HOURS

Hours = Literal[1, 24, 168, 720]
HOURS: tuple[Hours, ...] = get_args(Hours)
"""The ranges that a reader may choose."""

MAX_TICKS = 7
SHORTEST = dt.timedelta(minutes=2)
_STEPS_S = (
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600),
    *(86_400, 2 * 86_400, 5 * 86_400, 7 * 86_400),
)


@dataclass(frozen=True, slots=True)
class Axis:
    since: dt.datetime
    until: dt.datetime

    @property
    def span_s(self) -> float:
        return (self.until - self.since).total_seconds()

    def share(self, at: dt.datetime) -> float:
        """Where an instant stands: 0 is the left end, 1 the right one; not clipped."""
        return (at - self.since).total_seconds() / self.span_s

    def step_s(self) -> int:
        """Seconds between two ticks."""
        return next((step for step in _STEPS_S if self.span_s / step <= MAX_TICKS), _STEPS_S[-1])

    def ticks(self) -> list[dt.datetime]:
        """Round local times inside the axis; days begin at local midnight."""
        step = self.step_s()
        offset = (self.since.astimezone(LOCAL).utcoffset() or dt.timedelta()).total_seconds()
        first = -(-(self.since.timestamp() + offset) // step) * step - offset
        count = int((self.until.timestamp() - first) // step) + 1
        return [dt.datetime.fromtimestamp(first + i * step, dt.UTC) for i in range(max(0, count))]

    def peaks(self) -> list[tuple[dt.datetime, dt.datetime]]:
        """The peak hours inside the axis, clipped to it."""
        day = self.since.astimezone(LOCAL).replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        while day < self.until:
            start, end = (max(self.since, min(self.until, day.replace(hour=hour))) for hour in PEAK_HOURS)
            if start < end:
                found.append((start, end))
            day += dt.timedelta(days=1)
        return found


def default_hours(first: dt.datetime | None, now: dt.datetime) -> int:
    """The shortest range that holds all the data; the shortest one where there is none."""
    if first is None:
        return HOURS[0]
    return next((hours for hours in HOURS if now - first <= dt.timedelta(hours=hours)), HOURS[-1])


def fit_axis(instants: Sequence[dt.datetime], hours: int, now: dt.datetime) -> Axis:
    """An axis no longer than `hours` that begins shortly before the first of the data: minutes show as minutes."""
    whole = now - dt.timedelta(hours=hours)
    inside = [at for at in instants if whole <= at <= now]
    if not inside:
        return Axis(whole, now)
    span = max(SHORTEST, (now - min(inside)) * 1.04)
    return Axis(max(whole, now - span), now)
