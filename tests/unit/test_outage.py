"""Outages: what several probes without an answer make of the time between them."""

import datetime as dt

import pytest

from agent.clock.clock import ClockReading
from agent.measure.outage import EndedOutage, Watch, after_probe

START = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
ANCHORS = ("1.1.1.1", "8.8.8.8")


def at(seconds: float, wall_off_s: float = 0) -> ClockReading:
    wall = START + dt.timedelta(seconds=seconds + wall_off_s)
    return ClockReading(wall, round(seconds * 1e9), True)


def ended_of(probes: list[tuple[float, bool]]) -> list[EndedOutage]:
    watch, found = Watch(), []
    for seconds, answered in probes:
        watch, ended = after_probe(watch, answered, at(seconds), ANCHORS)
        found += [ended] if ended else []
    return found


@pytest.mark.parametrize(
    ("probes", "outages"),
    [
        ([(0, True), (300, True)], []),
        ([(0, True), (300, False), (315, True)], []),  # one probe without an answer is none
        ([(0, True), (300, False), (315, False), (330, True)], [(300, 30, 2)]),
        ([(0, False), (15, False), (30, False), (45, True)], [(0, 45, 3)]),
        (
            [(0, False), (15, False), (30, True), (45, False), (60, True), (75, False), (90, False), (105, True)],
            [(0, 30, 2), (75, 30, 2)],
        ),
        ([(0, False), (15, False)], []),  # not over yet
    ],
)
def test_an_outage_lasts_from_the_first_of_two_failed_probes_to_the_first_answer(
    probes: list[tuple[float, bool]], outages: list[tuple[float, float, int]]
) -> None:
    found = ended_of(probes)
    assert [(e.began.boot_ns / 1e9, e.outage.duration_s, e.outage.failed_probes) for e in found] == outages
    assert all(e.outage.anchors == ANCHORS for e in found)


def test_its_length_does_not_come_from_the_wall_clock() -> None:
    watch, _ = after_probe(Watch(), False, at(0), ANCHORS)
    watch, _ = after_probe(watch, False, at(15, wall_off_s=-86_400), ANCHORS)
    watch, ended = after_probe(watch, True, at(30, wall_off_s=10**6), ANCHORS)
    assert ended is not None
    assert (ended.outage.duration_s, ended.began.wall) == (30, START)
    assert watch == Watch()


def test_after_a_failed_probe_the_next_one_comes_soon() -> None:
    assert not Watch().suspicious
    watch, _ = after_probe(Watch(), False, at(0), ANCHORS)
    assert watch.suspicious
    watch, _ = after_probe(watch, True, at(15), ANCHORS)
    assert not watch.suspicious
