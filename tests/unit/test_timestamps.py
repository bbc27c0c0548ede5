"""Dating: the time of what was taken under a clock that was not set, and a bound on its error that holds."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock.clock import ClockReading
from agent.clock.timestamps import (
    DRIFT,
    EARLIER_BOOT_ERROR_S,
    NEVER_SYNCED_ERROR_S,
    Reference,
    Times,
    Undated,
    best_estimate,
    clamp_time,
    date_result,
    parse_times,
    server_reference,
    to_micros,
)
from agent.delivery.spool import Spool
from tests.unit.test_spool import BOOT, HOLD_S, NEXT_BOOT, START, at, everything, messages, speed

HERE, THERE = "this", "earlier"
S = 10**9


def reading(boot_s: float, wall_us: int = 0, synced: bool = False) -> ClockReading:
    return ClockReading(
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=wall_us), int(boot_s * S), synced
    )


@given(
    true_us=st.integers(10**15, 10**16),
    there_s=st.floats(0, 600),
    back_s=st.floats(0, 600),
    server_off_s=st.floats(-0.99, 0.99),
    passed_s=st.floats(-1e6, 1e6),
    drift=st.floats(-DRIFT, DRIFT),
)
def test_a_servers_time_bounds_every_other_of_that_boot(
    true_us: int, there_s: float, back_s: float, server_off_s: float, passed_s: float, drift: float
) -> None:
    """Whatever part of the round trip was the way there, and whatever our quartz does."""
    asked_ns = 5_000_000 * S
    answered_ns = asked_ns + int((there_s + back_s) * S)
    said_us = true_us + int((there_s + server_off_s) * 1e6)
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=said_us)
    known = server_reference(time, asked_ns, answered_ns)
    instant_ns = answered_ns + int(passed_s * S)
    wall_us, error_s = known.time_at(instant_ns)
    truth_us = true_us + (there_s + back_s) * 1e6 + passed_s * (1 + drift) * 1e6
    assert abs(wall_us - truth_us) / 1e6 <= error_s + 1e-4


def test_the_bound_is_half_of_the_round_trip_and_a_second() -> None:
    known = server_reference(START, 100 * S, 104 * S)
    assert known == Reference(104 * S, to_micros(START) + 2_000_000, 3.0)


KNOWN = Times({THERE: Reference(50 * S, 1_000_000_000, 2.0)})


@pytest.mark.parametrize(
    ("taken", "now", "times", "expected"),
    [
        # this boot: by the clock that is set now
        (Undated(HERE, 10 * S, 5), reading(40, 10**15, True), Times(), (10**15 - 30_000_000, "rebased", None)),
        # it waits, then goes by the clock's own word
        (Undated(HERE, 10 * S, 5), reading(10 + HOLD_S - 1), Times(), None),
        (Undated(HERE, 10 * S, 5), reading(10 + HOLD_S), Times(), (5, "estimated", NEVER_SYNCED_ERROR_S)),
        # which can't be before what is known
        (Undated(HERE, 10 * S, 5, 77), reading(10 + HOLD_S), Times(), (77, "estimated", NEVER_SYNCED_ERROR_S)),
        # an earlier boot of which a time is known: at once
        (Undated(THERE, 60 * S, 5), reading(1), KNOWN, (1_010_000_000, "estimated", 2.0 + 10 * DRIFT)),
        # one of which none is known waits for the time of this boot, by which it was over
        (Undated("x", 60 * S, 5), reading(1), Times(), None),
        (Undated("x", 60 * S, 5), reading(HOLD_S), Times(), (5, "estimated", EARLIER_BOOT_ERROR_S)),
        (
            Undated("x", 60 * S, 9 * 10**15),
            reading(0, 10**15, True),
            Times(),
            (10**15 + 10**6, "estimated", EARLIER_BOOT_ERROR_S),
        ),
        # between what is known before and after
        (
            Undated("x", 60 * S, 0, 10**15 - 9 * 10**6),
            reading(0, 10**15, True),
            Times(),
            (10**15 - 9 * 10**6, "estimated", 10.0),
        ),
        (
            Undated("x", 60 * S, 10**15, 10**15 - 9 * 10**6),
            reading(0, 10**15, True),
            Times(),
            (10**15, "estimated", 9.0),
        ),
    ],
)
def test_the_time_of_a_result(
    taken: Undated, now: ClockReading, times: Times, expected: tuple[int, str, float | None] | None
) -> None:
    assert date_result(taken, HERE, now, times, HOLD_S) == expected


@given(st.integers(0, 10**16), st.integers(0, 10**16), st.integers(0, 10**16), st.floats(0, 1))
def test_what_lies_between_two_known_times_is_off_by_no_more_than_it_says(
    wall_us: int, one: int, other: int, share: float
) -> None:
    before, after = min(one, other), max(one, other)
    truth = before + share * (after - before)
    found, error_s = clamp_time(wall_us, before, after)
    assert before <= found <= after
    assert abs(found - truth) / 1e6 <= error_s + 1e-3


def test_a_server_that_speaks_of_a_time_that_has_passed_is_not_believed() -> None:
    times = Times({THERE: Reference(0, 10**15, 1.0)})
    assert not times.is_improved_by(HERE, Reference(0, 10**15 - 10**8, 1.0))
    assert times.is_improved_by(HERE, Reference(0, 10**15, 1.0))


def test_what_is_known_is_written_only_where_it_got_much_better() -> None:
    times = Times().with_reference(HERE, Reference(0, 10**15, 1.5))
    assert not times.is_improved_by(HERE, Reference(60 * S, 10**15, 1.0))
    assert times.is_improved_by(HERE, Reference(86_400 * S, 10**15, 1.0))  # the quartz has run a day


def test_a_text_that_is_damaged_is_nothing_known() -> None:
    times = Times().with_reference(HERE, Reference(5, 6, 7.0))
    assert parse_times(times.to_text()) == times
    assert parse_times(times.to_text()[:-3]) == parse_times("\ufffd") == parse_times(None) == Times()


def test_few_boots_are_remembered() -> None:
    times = Times()
    for n in range(30):
        times = times.with_reference(str(n), Reference(0, n, 1.0))
    assert next(iter(times.of_boots)) == "22"
    assert len(times.of_boots) == 8


@pytest.mark.parametrize(("error_s", "good"), [(10.0, True), (3_700.0, False)])
def test_a_month_may_be_told_by_the_server_where_it_is_off_by_less_than_an_hour(error_s: float, good: bool) -> None:
    times = Times({HERE: Reference(0, 10**15, error_s)})
    found = best_estimate(reading(10, 5), HERE, times)
    assert (to_micros(found.wall), found.synced) == (10**15 + 10**7, good)
    synced = reading(10, 5, True)
    assert best_estimate(synced, HERE, times) is synced
    assert best_estimate(reading(10, 5), "other", times) == reading(10, 5)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.db", "nd-a-1", BOOT)
    yield spool
    spool.close()


def test_the_servers_time_dates_what_was_taken_before_and_after_it_in_this_boot(spool: Spool) -> None:
    off = -86_400.0 * 300
    spool.commit(speed(1), "ftth", at(10, synced=False, wall_off_s=off))
    assert everything(spool, at(100, synced=False, wall_off_s=off)) == []
    spool.learn_time(server_reference(at(99).wall, at(98).boot_ns, at(100).boot_ns))
    spool.commit(speed(2), "ftth", at(200, synced=False, wall_off_s=off))
    for message, taken in zip(
        messages(everything(spool, at(300, synced=False, wall_off_s=off))), (at(10), at(200)), strict=True
    ):
        assert (message.clock, message.at) == ("estimated", taken.wall)
        assert message.at_error_s is not None
        assert 2.0 <= message.at_error_s < 2.1


def test_it_is_kept_over_a_restart_and_dates_an_earlier_boot(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, "nd-a-1", BOOT)
    spool.commit(speed(1), "ftth", at(10, synced=False, wall_off_s=-500))
    spool.learn_time(server_reference(at(99).wall, at(98).boot_ns, at(100).boot_ns))
    spool.close()
    spool = Spool(path, "nd-a-1", NEXT_BOOT)
    (message,) = messages(everything(spool, at(1, synced=False)))
    assert (message.at, message.clock) == (at(10).wall, "estimated")
    assert (message.at_error_s or 99) < 2.1
    spool.close()


def test_a_boot_that_never_knew_the_time_lies_between_its_neighbours(tmp_path: Path) -> None:
    """Monday synchronised, Tuesday without a network, Wednesday synchronised again."""
    path, day = tmp_path / "spool.db", 86_400.0
    boots = [(UUID(int=1), True), (UUID(int=2), False), (UUID(int=3), True)]
    for number, (boot, synced) in enumerate(boots):
        spool = Spool(path, "nd-a-1", boot)
        wall = START + dt.timedelta(days=number, seconds=100)
        taken = ClockReading(wall if synced else START + dt.timedelta(seconds=400), 100 * S, synced)
        spool.commit(speed(number), "ftth", taken)
        if number < 2:
            spool.close()
    found = messages(everything(spool, ClockReading(START + dt.timedelta(days=2, seconds=200), 200 * S, True)))
    tuesday = found[1]
    truth = START + dt.timedelta(days=1, seconds=100)
    assert tuesday.clock == "estimated"
    assert tuesday.at_error_s is not None
    assert abs((tuesday.at - truth).total_seconds()) <= tuesday.at_error_s <= 2 * day
    spool.close()
