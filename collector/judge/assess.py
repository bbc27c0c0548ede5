"""Judging: pure functions over a line's download tests. The one definition behind page, REST, `line_state` and alerts.

Whether a line is short is decided by `collector.judge.change_detector`; the median and its interval are for the eye.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from collector.judge.change_detector import HISTORY, DetectorState, detect
from collector.judge.confidence_interval import median_interval
from collector.store.row_types import Sample, SpeedRow
from xomnet.states import State

EXCLUDED_FLAGS = frozenset(
    {"cross_traffic", "cpu_bound", "throttled", "portal", "payload_mismatch", "unit_fault", "wifi"}
)
"""A test so flagged says something of the unit or its surroundings, not of the line."""


MIN_TESTS = 6
"""A window with fewer decides nothing."""

MAX_TESTS = 30_000
"""A line is judged by no more than its latest: a test every nine seconds of three days. More make no figure better, and
one line must not hold up the others.
"""


@dataclass(frozen=True, slots=True)
class JudgingRules:
    """`window` back from now is judged; a line that was heard is silent after `silent_after` without any result."""

    window: dt.timedelta = dt.timedelta(hours=72)
    silent_after: dt.timedelta = dt.timedelta(minutes=15)
    confidence: float = 0.95

    @property
    def history(self) -> dt.timedelta:
        """How far back the detector reads a line's tests."""
        return HISTORY * self.window


@dataclass(frozen=True, slots=True)
class Judgement:
    """A line's state and the figures behind it, in Mb/s; figures are None where there is no valid test."""

    state: State
    samples: int
    target_mbps: float
    median_mbps: float | None = None
    low_mbps: float | None = None
    """Ends of the confidence interval of the median; None where there are too few samples for one."""
    high_mbps: float | None = None
    now_mbps: float | None = None
    """The last test's figure; None where it failed or does not count."""
    last_result_at: dt.datetime | None = None
    since: dt.datetime | None = None
    """When it came into this state; None where the look-back holds nothing before it. A line without data has been so
    since it was registered.
    """
    leaning: bool = False
    """The line is likely below target, without enough evidence yet: a confirmation test would decide sooner. Only of a
    line that is meeting or uncertain.
    """
    before_mbps: float | None = None
    """Of a short line: the median of what was before."""

    @property
    def ratio(self) -> float | None:
        """Median over target."""
        return None if self.median_mbps is None else self.median_mbps / self.target_mbps


def counted_mbps(sample: Sample) -> float | None:
    """What a test counts for: its figure; 0 where a healthy unit found its line down; None where it is excluded."""
    if sample.excluded is not None:
        return None
    if sample.error is not None:
        return 0.0 if "link_down" in sample.flags and "unit_fault" not in sample.flags else None
    return None if EXCLUDED_FLAGS.intersection(sample.flags) else sample.down_mbps


def early_bias(tests: Sequence[SpeedRow]) -> tuple[int, float] | None:
    """How many audits there are among some tests, and by which share of the full figure stopping early would have been
    off in the mean. None without an audit.
    """
    off = [test.early_mbps / test.down_mbps - 1 for test in tests if test.early_mbps is not None and test.down_mbps]
    return (len(off), fmean(off)) if off else None


def detect_state(samples: Sequence[Sample], target_mbps: float, rules: JudgingRules) -> DetectorState:
    """The detector's state after the last test that counts. `samples` are in the order of time."""
    tests = [(s.at, value) for s in samples if (value := counted_mbps(s)) is not None]
    return detect(tests, target_mbps, rules.window)


def judge(
    samples: Sequence[Sample],
    target_mbps: float,
    now: dt.datetime,
    last_result_at: dt.datetime | None,
    plan_mbps: float | None = None,
    rules: JudgingRules = JudgingRules(),  # frozen
    detector_state: DetectorState | None = None,
    registered_since: dt.datetime | None = None,
) -> Judgement:
    """The state of one line now. `samples` are in the order of time: those of the rules' `history`, or of the window
    alone if the `detector_state` is given. `last_result_at` is None if no result of the line was ever stored. Those
    that an exclusion leaves out (`excluded`) are as if they had never been.
    """
    window = [s for s in samples if s.excluded is None and now - rules.window <= s.at <= now]
    counted = [value for s in window if (value := counted_mbps(s)) is not None]
    low, high = median_interval(counted, rules.confidence) or (None, None)
    detector = detector_state
    if detector is None:
        detector = detect_state([s for s in samples if now - rules.history <= s.at <= now], target_mbps, rules)
    too_slow_unit = bool(window) and "link_below_target" in window[-1].flags
    since, before = detector.since, detector.before_mbps
    if last_result_at is None:
        state: State = "no_data"
        since = registered_since
    elif now - last_result_at > rules.silent_after:
        state, since = "silent", last_result_at
    elif too_slow_unit or (plan_mbps is not None and plan_mbps < target_mbps):
        state, since = "not_assessable", None
    elif len(counted) < MIN_TESTS:
        state, since = "uncertain", None
    elif detector.level == "uncertain" and detector.since is None and low is not None and low >= target_mbps:
        state = "meeting"  # of a line that has no past the interval says so sooner, and nobody is woken by it
    else:
        state = detector.level
    return Judgement(
        state=state,
        samples=len(counted),
        target_mbps=target_mbps,
        median_mbps=median(counted) if counted else None,
        low_mbps=low,
        high_mbps=high,
        now_mbps=counted_mbps(window[-1]) if window else None,
        last_result_at=last_result_at,
        since=since,
        leaning=detector.leaning and state in ("meeting", "uncertain") and bool(counted),
        before_mbps=before if state == "short" else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of some values lies, interpolated; `ordered` is sorted and not empty."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
