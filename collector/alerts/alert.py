"""Alerts, and what happens to them: values that `store` keeps and `texts` puts into words."""

import datetime as dt
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from collector.store.line_id import LineId
from xomnet.area import areas_of
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow
from xomnet.states import State

Kind = Literal["line", "unit", "area", "isp"]
End = Literal["not_assessable", "unregistered"]
"""How an alert of a line may end although the line is not well."""


class AlertRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When alerts open and end."""

    group_wait: dt.timedelta = dt.timedelta(minutes=2)
    """How long a line waits for others with the same condition."""
    max_group_wait: dt.timedelta = dt.timedelta(hours=1)
    """How long it waits at most if most of its neighbours lean to the condition."""
    silent_after: dt.timedelta = dt.timedelta(minutes=30)
    no_data_after: dt.timedelta = dt.timedelta(days=1)
    """How long a line may be without data after it was registered."""
    group_lines: int = 5
    group_share: float = 0.5
    """Of a provider's or an area's lines, how many and which share make a common cause."""
    group_window: dt.timedelta = dt.timedelta(hours=1)
    """Lines that fall silent within this time of each other may have a common cause."""
    group_window_short: dt.timedelta = dt.timedelta(hours=12)
    """The same of lines below their target: a line is tested some times a day, so a fall of all is seen one by one."""
    keep_firing_for: dt.timedelta = dt.timedelta(minutes=10)
    """How long a line must be well before its alert ends; doubled with each alert of a day."""


class AlertedLine(Struct, frozen=True, omit_defaults=True):
    """A line of an alert."""

    agent: str
    line: str
    since: dt.datetime
    """Since when it has the condition."""
    seen_at: dt.datetime
    """When that was first seen."""
    good_since: dt.datetime | None = None
    """Since when it is well again."""
    end: End | None = None

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)


class Alert(Struct, frozen=True, omit_defaults=True, rename={"alerted_before": "told"}):
    """What people were alerted of: a line, a unit all of whose lines have the condition, an area, a provider."""

    id: int
    trouble: State
    """Which condition: see collector.alerts.conditions."""
    kind: Kind
    place: str
    """The unit, the area's path or the provider; of a line `agent/line`."""
    opened_at: dt.datetime
    lines: tuple[AlertedLine, ...]
    access: Access | None = None
    """Of a provider's lines, which."""
    alerted_before: int = 0
    """How many of the lines had an alert of their own before this one took them in."""

    @property
    def since(self) -> dt.datetime:
        return min(one.since for one in self.lines)

    def covers(self, row: LineRow) -> bool:
        """True if a line belongs to what the alert is about."""
        match self.kind:
            case "line":
                return self.place == f"{row.agent}/{row.line}"
            case "unit":
                return self.place == row.agent
            case "isp":
                return (self.place, self.access) == (row.isp, row.access)
            case "area":
                return self.place in areas_of(row.area)

    def with_lines(self, lines: tuple[AlertedLine, ...]) -> "Alert":
        return replace(self, lines=lines)


class PendingLine(Struct, frozen=True):
    """A line with a condition that is not reported yet."""

    agent: str
    line: str
    trouble: State
    since: dt.datetime
    seen_at: dt.datetime

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)

    def to_alerted_line(self) -> AlertedLine:
        return AlertedLine(self.agent, self.line, self.since, self.seen_at)


class AlertState(Struct, frozen=True, rename={"pending": "waiting", "opening_times": "opened"}):
    """What is remembered from one minute to the next."""

    next_id: int = 1
    alerts: tuple[Alert, ...] = ()
    pending: tuple[PendingLine, ...] = ()
    opening_times: dict[str, tuple[dt.datetime, ...]] = {}
    """`agent/line/trouble` -> when alerts of it opened in the last day."""


class AlertChange(Struct, frozen=True):
    """An alert has opened or ended."""

    event: Literal["opened", "ended"]
    alert: Alert
    at: dt.datetime
    remaining: tuple[AlertedLine, ...] = ()
    """Of an end: the few lines that are not well yet. Each has an alert of its own from now on."""
