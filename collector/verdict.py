"""The verdict of a calendar month: what an officer signs. Pure functions over a line's download tests."""

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo

from xomnet.targets import PROVINCE_TIME

VerdictName = Literal["not_met", "not_certain", "met", "unmeasured"]
"""Worst first: the order of every list."""
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

Reason = Literal["few_tests", "few_days", "few_peak", "few_valid", "undecided", "not_assessable"]
"""Why a month is not certain."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month of the province's time."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2026-11`. Raises ValueError."""
        found = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", text)
        if found is None:
            raise ValueError(f"{text!r} is no month; write it like 2026-11")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, when: dt.datetime, zone: str = PROVINCE_TIME) -> Self:
        local = when.astimezone(ZoneInfo(zone))
        return cls(local.year, local.month)

    @property
    def days(self) -> int:
        return calendar.monthrange(self.year, self.month)[1]

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> "Month":
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def since(self, zone: str = PROVINCE_TIME) -> dt.datetime:
        """Its first instant."""
        return dt.datetime(self.year, self.month, 1, tzinfo=ZoneInfo(zone))

    def until(self, zone: str = PROVINCE_TIME) -> dt.datetime:
        """The first instant that is no longer in it."""
        return self.next.since(zone)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line's month. Mb/s; None where there is no test that counts, or too few for an interval. Shares are 0 to 1."""

    verdict: VerdictName
    target_mbps: float
    reasons: tuple[Reason, ...] = ()
    """Of a verdict that is not certain, all that apply."""
    samples: int = 0
    """Tests that count, failures of the line among them as 0."""
    days: int = 0
    """Calendar days with a test that counts."""
    peak_samples: int = 0
    """Those of 19 to 23 h."""
    failed: int = 0
    """Tests that count as 0."""
    excluded: int = 0
    """Tests that were made and do not count."""
    expected: int = 0
    """Tests that the schedule had in the month, as far as it is over."""
    median_mbps: float | None = None
    low_mbps: float | None = None
    high_mbps: float | None = None
    """Ends of the 95 % interval of the median: the wider of order statistics and day-block bootstrap."""
    mean_mbps: float | None = None
    p5_mbps: float | None = None
    p95_mbps: float | None = None
    consistency: float | None = None
    """Share of the tests of the peak hours that reach 0.8 of the target; consistent from 0.8 on."""

    @property
    def ratio(self) -> float | None:
        """Median over target."""
        return None if self.median_mbps is None else self.median_mbps / self.target_mbps

    @property
    def valid_share(self) -> float | None:
        """Of the schedule, what gave a test that counts."""
        return min(1.0, self.samples / self.expected) if self.expected else None

    @property
    def failure_ratio(self) -> float | None:
        return self.failed / self.samples if self.samples else None
