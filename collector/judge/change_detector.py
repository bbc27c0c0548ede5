"""Whether a line has fallen short, or is back: a sequential test over its download tests. Pure.

The statistic is the mean of log(figure / target) over four spans of time, against limits that leave room for the
line's own scatter. Of all tests with as many false alarms, a mean over a fixed time finds the most falls within that
time (Tartakovsky, Sequential Change Detection, 2020, on transient changes), and over whole days it leaves the daily
course out. The figures are those of `python -m bench verdicts`; why, says docs/method.md.
"""

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

Level = Literal["short", "meeting", "uncertain"]

HISTORY = 12
"""How many windows of a line's tests are read; the spans below are for a window of three days and scale with it."""
MIN_LOG_RATIO, MAX_LOG_RATIO = math.log(0.3), math.log(3)
"""A single test says no more than this: a line that is down for one test is not short."""
SOUND = math.log(1.1)
"""A line at this level shall not be called short by chance."""


class Span(NamedTuple):
    """A mean that can call a line short."""

    days: float
    tests: int
    """The least number of tests."""
    fall: float
    """What the mean must be below."""
    errors: float
    """By how many standard errors it must be below SOUND."""


DAY = Span(1, 8, math.log(0.82), 3.1)
"""A metered line has four tests a day: more count only where confirmation tests were asked for."""
WINDOW = Span(3, 5, math.log(0.83), 2.35)
WEEKS = (Span(7, 14, math.log(0.86), 3.1), Span(28, 56, math.log(0.93), 3.1))
"""Of lines that are a little short for long."""
MEETING_ERRORS = 1.3
"""By how many standard errors the mean of the window or the weeks must be above the target."""
DOUBT_ERRORS = 1.4
"""By how many below SOUND the window's mean makes a line that met its target uncertain."""
LEAN_LEVEL, LEAN_ERRORS = math.log(0.88), 0.1
"""A line is likely below target while the sum by which its tests miss the level exceeds a share of their scatter."""
RUN_BELOW, RUN_ABOVE = 12, 8
"""This many groups in a row on one side of the target decide too: a steady line is decided soon."""
BEFORE = 6
"""A change has at least this many groups of tests before it; with fewer the line counts as always so."""

GROUP_DAYS, NEAR_DAYS = 5 / 24, 1 / 24
"""Tests within the first are of a group; neighbours within the second tell how alike the tests of a group are."""
USUAL_VARIANCE = math.log(1 + 0.4**2)
"""At a coefficient of variation of 0.4."""
ALIKE_BY_CHANCE, MAX_ALIKE = 0.2, 0.9
MAX_UNLIKE = 6.0
"""Days that differ more than this are a change, not the line's way."""


@dataclass(frozen=True, slots=True)
class DetectorState:
    """A line's level after its last test."""

    level: Level = "uncertain"
    since: dt.datetime | None = None
    """The first test of this level; None where the tests hold no other level before it."""
    leaning: bool = False
    """The last tests are likely below target, and do not suffice."""
    before_mbps: float | None = None
    """Of a line that fell short: the median of what was before."""


class Step(NamedTuple):
    """After one test; the others are numbers of tests."""

    level: Level = "uncertain"
    entered: int | None = None
    """The first test of this level; None where no other level was before it."""
    before: int = 0
    """The first test of the level before."""
    leaning: bool = False


def detect(tests: Sequence[tuple[dt.datetime, float]], target_mbps: float, window: dt.timedelta) -> DetectorState:
    """A line's state after all its tests: time and figure (Mb/s; 0 where it was down), in the order of time.

    `window`, best whole days, is the time over which a fall is looked for.
    """
    last = Step()
    window_s = window.total_seconds()
    for last in steps(((at.timestamp(), log_ratio(value, target_mbps)) for at, value in tests), window_s):  # noqa: B007
        pass
    if last.entered is None:
        return DetectorState(last.level, None, last.leaning)
    earlier = [value for _, value in tests[last.before : last.entered]] if last.level == "short" else []
    return DetectorState(last.level, tests[last.entered][0], last.leaning, median(earlier) if earlier else None)


def log_ratio(mbps: float, target_mbps: float) -> float:
    """The logarithm of a test's figure over the target, within bounds."""
    return min(MAX_LOG_RATIO, max(MIN_LOG_RATIO, math.log(max(mbps, 1e-9) / target_mbps)))


def steps(tests: Iterable[tuple[float, float]], window_s: float) -> Iterator[Step]:
    """The step after each test; a test is its time in seconds and its `log_ratio`."""
    follower = Follower(window_s)
    for at, log in tests:
        yield follower.step(at, log)


@dataclass(slots=True)
class _Learnt:
    """A mean that begins with what is usual, as if `weight` times seen, and forgets what is long ago."""

    value: float
    weight: float
    most: float

    def see(self, value: float) -> None:
        self.weight = min(self.weight + 1, self.most)
        self.value += (value - self.value) / self.weight


@dataclass(slots=True)
class _Scatter:
    """How a line scatters, learnt from differences: a change of level is in few of them."""

    groups: _Learnt = field(default_factory=lambda: _Learnt(USUAL_VARIANCE, 40, 160))
    """Variance of a test, from those of neighbouring groups."""
    near: _Learnt = field(default_factory=lambda: _Learnt(0.6 * USUAL_VARIANCE, 30, 160))
    """Variance of a test beside its group, from neighbours."""
    days: _Learnt = field(default_factory=lambda: _Learnt(1.0, 20, 60))
    """Variance of a day's mean over what it would be if its groups were independent."""

    @property
    def alike(self) -> float:
        """The correlation of tests of a group; what may be by chance is left out."""
        found = (1 - self.near.value / self.groups.value - ALIKE_BY_CHANCE) / (1 - ALIKE_BY_CHANCE)
        return min(MAX_ALIKE, max(0.0, found))

    @property
    def of_one(self) -> float:
        """The standard deviation of a mean, times the square root of what it counts for."""
        return math.sqrt(self.groups.value * max(1.0, self.days.value))


@dataclass(slots=True)
class _Groups:
    """A line's tests in groups. The mean over a span is that of least variance: a group of m tests counts for
    m / (1 + (m - 1) alike) of them.
    """

    day_s: float
    scatter: _Scatter = field(default_factory=_Scatter)
    starts: list[float] = field(default_factory=list)
    first_tests: list[int] = field(default_factory=list)
    counts: list[float] = field(default_factory=lambda: [0.0])
    """What all groups before one count for."""
    sums: list[float] = field(default_factory=lambda: [0.0])
    """Their logs, each as often as it counts."""
    tests: int = 0
    end: tuple[float, float] = (0.0, 0.0)
    """Count and sum with the group that is not closed."""
    _members: int = 0
    _total: float = 0.0
    _opening: float = 0.0
    _run: int = 0
    _last: tuple[float, float] = (0.0, 0.0)
    _day: int = 0
    _day_before: tuple[float, float] | None = None

    def add(self, at: float, log: float) -> None:
        if self.tests and at - self._last[0] < NEAR_DAYS * self.day_s:
            self.scatter.near.see((log - self._last[1]) ** 2 / 2)
        if not self.starts or at - self.starts[-1] >= GROUP_DAYS * self.day_s:
            self._open(at, log)
        self._members, self._total = self._members + 1, self._total + log
        counted = self._members / (1 + (self._members - 1) * self.scatter.alike)
        self.end = self.counts[-1] + counted, self.sums[-1] + counted * self._total / self._members
        self._last = at, log
        self.tests += 1

    def since(self, group: int) -> tuple[float, float]:
        """What the groups from one on count for, and their mean."""
        count = self.end[0] - self.counts[group]
        return count, (self.end[1] - self.sums[group]) / count

    def turn(self, first: int, *, down: bool) -> int:
        """From which group after `first` the logs are lower (or higher) than before: where their sum is farthest off
        the straight way.
        """
        _, mean = self.since(first)
        groups = range(first, len(self.starts))
        side = 1 if down else -1
        return max(groups, key=lambda group: side * (self.sums[group] - mean * self.counts[group]))

    @property
    def run(self) -> int:
        """How many groups in a row, to the last, are not below the target; negative, are below it."""
        side = 1 if self._total >= 0 else -1
        return self._run + side if self._run * side >= 0 else side

    def _open(self, at: float, log: float) -> None:
        if self.starts:
            self._run = self.run
            self.counts.append(self.end[0])
            self.sums.append(self.end[1])
            self.scatter.groups.see((log - self._opening) ** 2 / 2)
            if at - self.starts[self._day] >= self.day_s - NEAR_DAYS * 3 * self.day_s:
                self._end_day()
        self.starts.append(at)
        self.first_tests.append(self.tests)
        self._members, self._total, self._opening = 0, 0.0, log

    def _end_day(self) -> None:
        count, mean = self.since(self._day)
        if count >= 2:
            if self._day_before is not None:
                off = (mean - self._day_before[1]) ** 2 / (1 / count + 1 / self._day_before[0])
                self.scatter.days.see(min(MAX_UNLIKE, off / self.scatter.groups.value))
            self._day_before = count, mean
        self._day = len(self.starts)


class Follower:
    """The level of a line, test by test."""

    def __init__(self, window_s: float) -> None:
        day_s = window_s / WINDOW.days
        self._groups = _Groups(day_s)
        self._spans = [(span, span.days * day_s) for span in (DAY, WINDOW, *WEEKS)]
        self._first = [0] * len(self._spans)  # the first group of each span
        self._lean = 0.0
        self._level: Level = "uncertain"
        self._entered: int | None = None
        self._begun = self._before = 0  # the first group of this level that was decided on, and of the one before
        self._decided = False

    def step(self, at: float, log: float) -> Step:
        groups = self._groups
        groups.add(at, log)
        scatter = groups.scatter.of_one
        self._lean = max(0.0, self._lean + LEAN_LEVEL - log)
        fell: int | None = None
        back = sound = doubtful = False
        for number, (span, span_s) in enumerate(self._spans):
            first = self._within(number, at - span_s)
            count, mean = groups.since(first)
            if count < span.tests:
                continue
            error = scatter / math.sqrt(count)
            if fell is None and mean < min(span.fall, SOUND - span.errors * error):
                fell = first
            if span is WINDOW:
                back, doubtful = mean > MEETING_ERRORS * error, mean < SOUND - DOUBT_ERRORS * error
            elif span is not DAY:
                sound = sound or mean > MEETING_ERRORS * error
        run, last = groups.run, len(groups.starts) - 1
        if fell is not None:
            self._enter("short", fell)
        elif run <= -RUN_BELOW:
            self._enter("short", last + 1 + run)
        elif run >= RUN_ABOVE:
            self._enter("meeting", last + 1 - run)
        elif back or (sound and self._level == "uncertain" and not doubtful):
            self._enter("meeting", self._first[1])
        elif self._level == "meeting" and doubtful and not sound:
            self._level, self._entered = "uncertain", last
        entered = None if self._entered is None else groups.first_tests[self._entered]
        leaning = self._level != "short" and self._lean > LEAN_ERRORS * scatter
        return Step(self._level, entered, groups.first_tests[self._before], leaning)

    def _within(self, number: int, oldest: float) -> int:
        """The first group of a span; what was before the last change tells nothing of weeks."""
        first = self._first[number]
        while self._groups.starts[first] < oldest:
            first += 1
        if self._spans[number][0] in WEEKS:
            first = max(first, self._begun)
        self._first[number] = first
        return first

    def _enter(self, level: Level, scope: int) -> None:
        """The turn is looked for in the span that tells of it and as long before."""
        if level == self._level:
            return
        last = len(self._groups.starts) - 1
        turn = self._groups.turn(max(self._begun, 2 * scope - last), down=level == "short")
        self._entered = turn if self._decided or turn - self._begun >= BEFORE else None
        self._before, self._begun, self._decided = self._begun, turn, True
        self._level = level
