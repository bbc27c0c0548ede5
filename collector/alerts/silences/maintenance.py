"""Maintenance windows: no alerts for lines that are being worked on."""

import datetime as dt
from collections.abc import Callable, Iterable

from msgspec import Struct

from collector.alerts.silences.words import Words
from xomnet.area import areas_of, same_name
from xomnet.contract.values import Instant, Name
from xomnet.registry.registry import LineRow

LONGEST = dt.timedelta(days=366)


class MaintenanceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True,
                       rename={"from_": "from"}):  # fmt: skip
    """A time without alerts for lines that are being worked on: those of a unit, an area or a provider, or one line."""

    until: Instant
    by: Words
    why: Words
    from_: Instant | None = None
    """Absent: from now on."""
    agent: Name | None = None
    line: Name | None = None
    area: Words | None = None
    isp: Words | None = None

    def fault(self, now: dt.datetime) -> str | None:
        """What is wrong with the request, in a sentence; None if nothing is."""
        begins = self.from_ or now
        if sum(one is not None for one in (self.agent, self.area, self.isp)) != 1:
            return "give exactly one of agent, area, isp; line only with agent"
        if self.line is not None and self.agent is None:
            return "give the agent of the line, too"
        if self.until <= max(begins, now):
            return "until must be after from, and not be over"
        return "at most a year" if self.until - begins > LONGEST else None

    def covers(self, row: LineRow) -> bool:
        """True if it is about a line."""
        if self.agent is not None:
            return self.agent == row.agent and self.line in (None, row.line)
        if self.isp is not None:
            return same_name(self.isp, row.isp)
        return self.area is not None and any(same_name(self.area, area) for area in areas_of(row.area))


class MaintenanceWindow(MaintenanceRequest, frozen=True, kw_only=True, rename={"from_": "from"}):
    """As it is stored."""

    id: int

    def active(self, now: dt.datetime) -> bool:
        return self.from_ is not None and self.from_ <= now < self.until


def in_maintenance(windows: Iterable[MaintenanceWindow], now: dt.datetime) -> Callable[[LineRow], bool]:
    """Whether a line is in one of some windows at a time."""
    active = [window for window in windows if window.active(now)]
    return lambda row: any(window.covers(row) for window in active)
