"""The verdict of a calendar month: what an officer signs. Pure functions over a line's download tests."""

import calendar
import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo

from collector.judge.assess import counted_mbps, quantile
from collector.judge.confidence_interval import monthly_interval
from collector.store.row_types import Sample
from xomnet.plan import PROVINCE_TIME, is_peak, tests_a_day
from xomnet.registry.registry import LineRow, Registry

VerdictName = Literal["not_met", "not_certain", "met", "unmeasured"]
"""Worst first: the order of every list."""
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

Reason = Literal["few_tests", "few_days", "few_peak", "few_valid", "undecided", "not_assessable"]
"""Why a month is not certain."""

MIN_TESTS = 30
MIN_DAYS = 10
MIN_PEAK = 12
MIN_VALID = 0.8
CONSISTENT_MBPS = 0.8
"""Of the target: what a test of the peak hours must reach; consistent where as large a share of them does."""


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
    """Those of the peak hours."""
    failed: int = 0
    """Tests that count as 0."""
    excluded: int = 0
    """Tests that were made and do not count."""
    excluded_for: tuple[tuple[str, int], ...] = ()
    """How many of them an exclusion took out, or came late, by reason (`Sample.excluded`), the most first."""
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


def line_verdict(
    samples: Sequence[Sample], row: LineRow, registry: Registry, month: Month, now: dt.datetime
) -> Verdict:
    """A line's month by its registry row, with the target in force at the end of the month, or now."""
    zone = registry.zone.key
    first, last = month.since(zone), min(now, month.until(zone) - dt.timedelta(microseconds=1))
    days = (first + dt.timedelta(days=n) for n in range(month.days))
    registered = next((day for day in days if registry.at(row.agent, row.line, day) is not None), first)
    return verdict_of(
        samples,
        registry.target_mbps(row, last),
        month,
        tests_a_day(row.access),
        now,
        plan_mbps=row.plan_mbps,
        registered=registered,
        zone=zone,
    )


def verdict_of(
    samples: Sequence[Sample],
    target_mbps: float,
    month: Month,
    tests_per_day: int,
    now: dt.datetime,
    plan_mbps: float | None = None,
    registered: dt.datetime | None = None,
    zone: str = PROVINCE_TIME,
) -> Verdict:
    """The verdict of a line's month, of the present one as it would be now. `samples` are in the order of time; those
    of other months are left out. Of the schedule counts what was due since the line was `registered`.

    The same samples give the same verdict for ever.
    """
    since, until = month.since(zone), min(now, month.until(zone))
    made = [s for s in samples if since <= s.at < until and s.asked is None]
    own = [(s, value) for s in made if (value := counted_mbps(s)) is not None]
    limited = [s for s, _ in own if "link_below_target" in s.flags]
    by_port = 2 * len(limited) > len(own)
    if not by_port:  # the few tests through too slow a port say nothing of the line
        own = [(s, value) for s, value in own if "link_below_target" not in s.flags]
    local = ZoneInfo(zone)
    moments = [s.at.astimezone(local) for s, _ in own]
    values = [value for _, value in own]
    days = [moment.day for moment in moments]
    peak = [v for at, v in zip(moments, values, strict=True) if is_peak(at.hour)]
    due = max(dt.timedelta(), until - max(since, registered or since))
    expected = int(due / dt.timedelta(days=1) * tests_per_day)
    interval = monthly_interval(values, days)
    reasons: list[Reason] = []
    if by_port or (plan_mbps is not None and plan_mbps < target_mbps):
        reasons.append("not_assessable")
    if len(values) < MIN_TESTS:
        reasons.append("few_tests")
    if len(set(days)) < MIN_DAYS:
        reasons.append("few_days")
    if len(peak) < MIN_PEAK:
        reasons.append("few_peak")
    if len(values) < MIN_VALID * expected:
        reasons.append("few_valid")
    if interval is not None and interval[0] < target_mbps <= interval[1]:
        reasons.append("undecided")
    if not values:
        verdict: VerdictName = "unmeasured"
    elif reasons or interval is None:
        verdict = "not_certain"
    else:
        verdict = "met" if interval[0] >= target_mbps else "not_met"
    low, high = interval or (None, None)
    ordered = sorted(values)
    return Verdict(
        verdict=verdict,
        target_mbps=target_mbps,
        reasons=tuple(reasons) if verdict == "not_certain" else (),
        samples=len(values),
        days=len(set(days)),
        peak_samples=len(peak),
        failed=sum(s.error is not None for s, _ in own),
        excluded=len(made) - len(own),
        excluded_for=tuple(Counter(s.excluded for s in made if s.excluded is not None).most_common()),
        expected=expected,
        median_mbps=median(ordered) if ordered else None,
        low_mbps=low,
        high_mbps=high,
        mean_mbps=fmean(ordered) if ordered else None,
        p5_mbps=quantile(ordered, 0.05) if ordered else None,
        p95_mbps=quantile(ordered, 0.95) if ordered else None,
        consistency=fmean(v >= CONSISTENT_MBPS * target_mbps for v in peak) if peak else None,
    )
