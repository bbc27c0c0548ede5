"""The sequential test: falls are found, sound lines left alone, and a line's history says since when."""

import datetime as dt
import math
import random

import pytest

from collector.judge.change_detector import MAX_LOG_RATIO, MIN_LOG_RATIO, DetectorState, detect, log_ratio

DAY_ONE = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
WINDOW = dt.timedelta(hours=72)
HOUR = dt.timedelta(hours=1)
TARGET = 100.0
Tests = list[tuple[dt.datetime, float]]


def series(figures: list[float], apart: dt.timedelta = 6 * HOUR) -> Tests:
    return [(DAY_ONE + n * apart, figure) for n, figure in enumerate(figures)]


def noisy(level: float, number: int, seed: int, cv: float = 0.4) -> list[float]:
    draw = random.Random(seed)
    return [level * draw.lognormvariate(0, math.log(1 + cv * cv) ** 0.5) for _ in range(number)]


def followed(figures: Tests) -> DetectorState:
    return detect(figures, TARGET, WINDOW)


def test_no_test_tells_nothing() -> None:
    assert followed([]) == DetectorState()


@pytest.mark.parametrize(
    ("mbps", "log"), [(0.0, MIN_LOG_RATIO), (1e-12, MIN_LOG_RATIO), (100.0, 0.0), (1e6, MAX_LOG_RATIO)]
)
def test_a_single_test_says_no_more_than_a_limit(mbps: float, log: float) -> None:
    assert log_ratio(mbps, TARGET) == log


def test_a_steady_line_that_falls_is_short_since_that_test_and_back_since_another() -> None:
    fallen = series([130.0] * 40 + [95.0] * 12)
    found = followed(fallen)
    assert (found.level, found.since, found.before_mbps) == ("short", fallen[40][0], 130.0)
    back = series([130.0] * 40 + [95.0] * 12 + [130.0] * 12)
    assert (followed(back).level, followed(back).since) == ("meeting", back[52][0])


def test_since_stands_while_tests_go_on_and_old_ones_are_forgotten() -> None:
    figures = series(noisy(130, 60, 1) + noisy(60, 60, 2))
    entered = {followed(figures[start:end]).since for start in (0, 5, 20) for end in (80, 100, 120)}
    assert len(entered) == 1
    assert followed(figures[70:]).since is None  # nothing else is known


def test_a_late_test_in_the_middle_corrects_the_course() -> None:
    figures = series([130.0] * 30 + [60.0] * 8)
    late = [(at + 5 * HOUR, 130.0) for at, _ in figures[30:]]
    assert followed(figures).level == "short"
    assert followed(sorted(figures + late)).level != "short"


def test_one_bad_hour_with_its_confirmations_is_not_a_fall() -> None:
    figures = series(noisy(130, 40, 3, 0.2))
    last = figures[-1][0]
    bad = [(last + 6 * HOUR + n * dt.timedelta(minutes=20), 45.0) for n in range(4)]
    assert followed(figures + bad).leaning
    assert followed(figures + bad).level != "short"


def test_a_fall_leans_at_once_and_is_confirmed_within_a_day() -> None:
    figures = series(noisy(130, 60, 4, 0.2))
    last = figures[-1][0]
    first = [*figures, (last + 6 * HOUR, 60.0)]
    assert (followed(first).level, followed(first).leaning) == ("meeting", True)
    draw = random.Random(5)
    asked = [(last + 6 * HOUR * n + dt.timedelta(minutes=20 * m), 60 * draw.lognormvariate(0, 0.2))
             for n in range(1, 4) for m in range(5)]  # fmt: skip
    found = followed(figures + asked)
    assert (found.level, found.leaning) == ("short", False)
    assert found.since is not None
    assert abs(found.since - (last + 6 * HOUR)) <= 6 * HOUR


def test_a_line_that_is_a_little_short_for_long_is_found() -> None:
    noisier = sum(followed(series(noisy(88, 150, seed))).level == "short" for seed in range(20))
    quieter = sum(followed(series(noisy(92, 150, seed, 0.2))).level == "short" for seed in range(20))
    assert (noisier >= 19, quieter >= 16) == (True, True), (noisier, quieter)


def test_the_times_follow_the_window() -> None:
    hours = series([130.0] * 40 + [60.0] * 12)
    seconds = [(DAY_ONE + (at - DAY_ONE) / 3600, value) for at, value in hours]
    assert detect(seconds, TARGET, WINDOW / 3600).level == followed(hours).level == "short"
