"""The officer's month as values: each line with its verdict and all else that the report says of it. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from collector.judge.verdict import Month, Verdict
from collector.store.closed_months import MonthClosing
from collector.store.exclusions import Exclusion
from collector.store.line_id import LineId
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow
from xomnet.targets import Target

Change = Literal["improved", "worsened", "open"]
"""Against the month before: the interval of the median lies wholly above it, wholly below it; or the verdict is another
one while the intervals overlap, or one is missing: whether the line changed is open."""


@dataclass(frozen=True, slots=True)
class LineMonth:
    """A registered line and its month."""

    row: LineRow
    """Place and provider as the month found the line, plan and target of its own as the month left it."""
    verdict: Verdict
    before: Verdict
    """Of the month before."""
    failed_at: tuple[dt.datetime, ...] = ()
    """When the tests were that count as 0."""
    outages: int = 0
    """That touch the month."""
    outage_s: float = 0.0
    """What of them lies in it."""
    longest_outage_s: float = 0.0
    silent_days: int = 0
    """Whole days since it was registered without a download test, not even a failed one."""
    unit_silent_days: int = 0
    """Those on which no line of its unit sent one."""
    last_test_at: dt.datetime | None = None
    """The last test of the month, of whatever outcome."""
    taken_out_at: dt.datetime | None = None
    """When within the month it was taken out of the registry: the month is judged until then."""

    @property
    def change(self) -> Change | None:
        """None where there is nothing to say: the line was not measured in one of the months, or is as it was."""
        now, then = self.verdict, self.before
        if "unmeasured" in (now.verdict, then.verdict):
            return None
        if now.low_mbps is not None and then.high_mbps is not None and now.low_mbps > then.high_mbps:
            return "improved"
        if now.high_mbps is not None and then.low_mbps is not None and now.high_mbps < then.low_mbps:
            return "worsened"
        return "open" if now.verdict != then.verdict else None


Cause = Literal["late", "exclusion", "registry", "target", "software", "unknown"]
"""Why a closed line's figures would be others today; `unknown`: none of the others holds, so the store has changed."""

RegistryEdit = Literal["line_added", "line_removed", "row_added", "row_removed", "changed"]


@dataclass(frozen=True, slots=True)
class RegistryChange:
    """What was edited in the registry since, as far as the month goes by it."""

    row: LineRow
    """As it is now; one that is gone, as it was."""
    edit: RegistryEdit
    column: str = ""
    """Of `changed`: which; and its cell then and now."""
    then: str | float | None = None
    now: str | float | None = None


@dataclass(frozen=True, slots=True)
class TargetChange:
    access: Access
    then: Target
    now: Target


@dataclass(frozen=True, slots=True)
class ExclusionSince:
    """An entry that came after the closing: it proposes, and changes nothing in the closed figures."""

    entry: Exclusion
    tests: int
    """Of the month, for which it would hold."""


@dataclass(frozen=True, slots=True)
class LineSince:
    """A line whose month would be another one today."""

    then: LineMonth | None
    """None where the line was not in the closed month."""
    now: LineMonth | None
    """None where it would no longer be in it."""
    causes: tuple[Cause, ...]

    @property
    def row(self) -> LineRow:
        line = self.then or self.now
        assert line is not None
        return line.row


@dataclass(frozen=True, slots=True)
class ChangesSince:
    """What came after a month was closed. The closed figures stand; these are what they would be."""

    late: Mapping[LineId, int]
    """Results of the month that were received after the closing: download tests and outages."""
    exclusions: Sequence[ExclusionSince]
    registry: Sequence[RegistryChange]
    targets: Sequence[TargetChange]
    lines: Sequence[LineSince]
    recomputed: bool = True
    """False where the results are no longer all kept: then nothing is known of late ones, nor of today's figures."""

    @property
    def some(self) -> bool:
        return bool(self.late or self.exclusions or self.registry or self.targets or self.lines)


@dataclass(frozen=True, slots=True)
class MonthlyReport:
    """All lines of a month, in the order of area and hamlet."""

    month: Month
    area: str | None
    """The area that was asked for; None for all."""
    made_at: dt.datetime
    targets: Mapping[Access, Target]
    """Those in force at the end of the month, or now."""
    lines: Sequence[LineMonth]
    before_kept: bool = True
    """False where the results of the month before are no longer all kept."""
    closing: MonthClosing | None = None
    """Where the month is closed: all of the above is as it was then."""
    since: ChangesSince | None = None
    """Where it is closed: what came after."""

    @property
    def compared(self) -> bool:
        """Whether there is anything of the month before."""
        return self.before_kept and any(line.before.verdict != "unmeasured" for line in self.lines)

    @property
    def figures_at(self) -> dt.datetime:
        """When the figures were computed."""
        return self.made_at if self.closing is None else self.closing.at

    @property
    def as_of(self) -> dt.datetime | None:
        """Until when the figures reach; None where the month is over."""
        return self.made_at if self.made_at < self.month.until() else None
