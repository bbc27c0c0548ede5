"""What an alert is, and what there is to tell of it: values that `book` keeps and `texts` puts into words."""

import datetime as dt
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from collector.store import LineId
from xomnet.area import areas_of
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow

Trouble = Literal["short", "silent"]
Kind = Literal["line", "unit", "area", "isp"]
End = Literal["not_assessable", "unregistered"]
"""How a line's trouble may end otherwise than by being over."""


class AlertRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When something is told."""

    hold: dt.timedelta = dt.timedelta(minutes=2)
    """So long a trouble waits for others like it."""
    suspect: dt.timedelta = dt.timedelta(hours=1)
    """So long it waits at most where most of its neighbours lean the same way."""
    silent_after: dt.timedelta = dt.timedelta(minutes=30)
    no_data_after: dt.timedelta = dt.timedelta(days=1)
    """So long a line may be without data after it was registered."""
    lines: int = 5
    share: float = 0.5
    """Of a provider's or an area's lines, how many and which share make a common cause."""
    together: dt.timedelta = dt.timedelta(hours=1)
    """Within so long of each other lines fall silent of a common cause."""
    together_short: dt.timedelta = dt.timedelta(hours=12)
    """The same of short: a line is tested some times a day, so a fall of all is seen one by one."""
    calm: dt.timedelta = dt.timedelta(minutes=10)
    """So long a line must be well before its alert ends; doubled with each alert of a day."""

    def within(self, trouble: Trouble) -> dt.timedelta:
        return self.together if trouble == "silent" else self.together_short


class AlertedLine(Struct, frozen=True, omit_defaults=True):
    """A line of an alert."""

    agent: str
    line: str
    since: dt.datetime
    """Since when it has had the trouble."""
    seen_at: dt.datetime
    """When the trouble was first seen."""
    good_since: dt.datetime | None = None
    """Since when it has been well again."""
    end: End | None = None

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)


class Alert(Struct, frozen=True, omit_defaults=True):
    """One thing that people were told: of a line, of a unit whose lines all fell silent, of an area, of a provider."""

    id: int
    trouble: Trouble
    kind: Kind
    place: str
    """The unit, the area's path or the provider; of a line `agent/line`."""
    opened_at: dt.datetime
    lines: tuple[AlertedLine, ...]
    access: Access | None = None
    """Of a provider's lines, which."""
    told: int = 0
    """How many of the lines had an alert of their own before this one took them in."""

    @property
    def since(self) -> dt.datetime:
        return min(one.since for one in self.lines)

    def holds(self, row: LineRow) -> bool:
        """True where a line belongs to what the alert is about."""
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
    """A trouble that was seen and is not told yet."""

    agent: str
    line: str
    trouble: Trouble
    since: dt.datetime
    seen_at: dt.datetime

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)

    @property
    def covered(self) -> AlertedLine:
        return AlertedLine(self.agent, self.line, self.since, self.seen_at)


class AlertState(Struct, frozen=True):
    """All that is to be remembered between two decisions."""

    next_id: int = 1
    alerts: tuple[Alert, ...] = ()
    waiting: tuple[PendingLine, ...] = ()
    opened: dict[str, tuple[dt.datetime, ...]] = {}
    """`agent/line/trouble` -> when it was told of in the last day."""


class AlertChange(Struct, frozen=True):
    """Something to tell."""

    what: Literal["opened", "ended"]
    alert: Alert
    at: dt.datetime
    still: tuple[AlertedLine, ...] = ()
    """Of an end: the few lines that are not well yet. They are alerts of their own from now on."""
