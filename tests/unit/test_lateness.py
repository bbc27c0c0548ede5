"""What comes late: nothing that an honest unit sends, whatever happens to it; all that a thief writes into the past."""

import dataclasses
import datetime as dt
import random
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest

from collector.ingest import lateness
from collector.ingest.lateness import Lateness, UnitReports
from collector.ingest.validate import Accepted, ResultId
from collector.store.line_id import LineId
from collector.store.points import Point, when
from tests.support.stored import NOW, SPOOL, health, latency, outage, speed

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
THIEFS = str(uuid.UUID(int=66))


def accepted(point: Point, spool: str = SPOOL, **fields: Any) -> Accepted:
    agent, seq = point.tags["agent"], point.fields["seq"]
    known = {**point.fields, "spool": spool, **fields}
    return Accepted(ResultId(agent, uuid.UUID(spool), int(seq)), dataclasses.replace(point, fields=known))


class Server:
    """Takes results in and keeps the reports, as the store does."""

    def __init__(self) -> None:
        self.lateness = Lateness(self)
        self.reports: list[tuple[str, dt.datetime, dt.datetime, int, bool]] = []
        self.stored: dict[tuple[object, ...], bool] = {}
        self.questions = 0

    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        self.questions += 1
        return {agent: self._depths(agent, since, received_before) for agent in agents}

    def _depths(self, agent: str, since: dt.datetime, received_before: dt.datetime) -> list[tuple[dt.datetime, int]]:
        hours: dict[dt.datetime, int] = {}
        for unit, at, received, waiting, estimated in self.reports:
            if unit == agent and since <= at < received_before and received < received_before and not estimated:
                hour = at.replace(minute=0, second=0, microsecond=0)
                hours[hour] = min(waiting, hours.get(hour, waiting))
        return sorted(hours.items())

    def take(self, results: Iterable[Accepted], now: dt.datetime) -> list[int]:
        """The numbers of those that are new and late."""
        late = []
        for one in self.lateness.mark(list(results), now):
            point = one.point
            identity = one.id.agent, one.id.spool, one.id.seq, point.time_ns
            if identity in self.stored:
                continue
            self.stored[identity] = bool(point.fields.get("late"))
            if self.stored[identity]:
                late.append(one.id.seq)
            if point.measurement == "health":
                estimated = point.fields["clock"] == "estimated"
                report = when(point.time_ns), now, point.fields["spool_depth"], estimated
                self.reports.append((one.id.agent, *report))  # type: ignore[arg-type]
        return late

    def restart(self) -> None:
        self.lateness = Lateness(self)


@pytest.fixture
def server() -> Server:
    """Of a unit that has reported each hour for three months that nothing waits."""
    found = Server()
    for hour in range(90 * 24, 0, -1):
        at = NOW - hour * HOUR
        assert found.take([accepted(health(at, 10_000 - hour, spool_depth=0))], at + MINUTE) == []
    return found


# --- a thief


def forged(days: int = 90, first: int = 50_000, spool: str = SPOOL) -> list[Accepted]:
    return [accepted(speed(NOW - day * DAY, first + day), spool) for day in range(days, 0, -1)]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("spool", [SPOOL, THIEFS])
def test_results_of_three_months_that_come_today_are_all_late(server: Server, spool: str, restarted: bool) -> None:
    if restarted:
        server.restart()
    assert server.take(forged(spool=spool), NOW) == list(range(50_090, 50_000, -1))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("reports", [1, 200])
def test_forged_reports_explain_nothing(server: Server, reports: int, restarted: bool) -> None:
    for n in range(reports):
        at = NOW + n * MINUTE
        assert server.take([accepted(health(at, 70_000 + n, spool_depth=100_000), THIEFS)], at) == []
    if restarted:
        server.restart()
    assert len(server.take(forged(spool=THIEFS), NOW + 4 * HOUR)) == 90
    assert len(server.take(reversed(forged(first=60_000)), NOW + 4 * HOUR)) == 90


@pytest.mark.parametrize("waiting", [0, 9_000])
def test_reports_of_the_past_open_it_to_nobody(server: Server, waiting: int) -> None:
    past = [accepted(health(NOW - day * DAY, 80_000 + day, spool_depth=waiting)) for day in range(1, 91)]
    assert len(server.take([*past, *forged()], NOW)) == 180


def test_a_report_that_is_older_than_the_newest_changes_nothing() -> None:
    unit = UnitReports()
    unit.report(NOW, 5)
    unit.report(NOW - HOUR, 0)
    assert [one.left for one in unit.reports] == [5]


def test_an_invented_error_of_the_clock_is_worth_a_day(server: Server) -> None:
    results = [accepted(one.point, clock="estimated", at_error_s=1e10) for one in forged()]
    assert len(server.take(results, NOW)) >= 88


def test_only_as_many_as_waited_are_explained(server: Server) -> None:
    assert server.take([accepted(health(NOW, 20_000, spool_depth=30))], NOW) == []
    recent = [accepted(latency(NOW - 50 * MINUTE, 21_000 + n)) for n in range(40)]
    assert server.take(recent, NOW + HOUR) == []
    assert server.take([accepted(health(NOW + HOUR, 20_001, spool_depth=30))], NOW + HOUR) == []
    waited = [accepted(latency(NOW - 30 * MINUTE, 22_000 + n)) for n in range(40)]
    assert server.take(waited, NOW + 2 * HOUR) == list(range(22_030, 22_040))


def test_extreme_values_are_no_fault(server: Server) -> None:
    extremes = [
        accepted(outage(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 1, duration_s=1e10), at_error_s=1e10),
        accepted(health(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 2, spool_depth=2**53), at_error_s=1e10),
        accepted(health(dt.datetime(2262, 1, 1, tzinfo=dt.UTC), 3, spool_depth=0), at_error_s=1e10),
    ]
    assert server.take(extremes, NOW) == [2]


# --- what is no thief's


def test_of_an_unknown_unit_nothing_is_late() -> None:
    assert Server().take(forged(), NOW) == []


def test_a_backlog_of_days_explains_itself(server: Server) -> None:
    backlog: list[Accepted] = []
    for step in range(5 * 24 * 12):
        at = NOW + step * 5 * MINUTE
        backlog.append(accepted(health(at, 2 * step, spool_depth=2 * step)))
        backlog.append(accepted(latency(at, 2 * step + 1)))
    assert server.take(backlog, NOW + 5 * DAY) == []
    assert server.questions <= 1


def test_an_outage_counts_when_it_ends(server: Server) -> None:
    long = accepted(outage(NOW - 2 * DAY, 30_000, duration_s=2 * 86_400.0))
    assert server.take([accepted(health(NOW, 29_999, spool_depth=0)), long], NOW + MINUTE) == []


def test_results_that_wait_for_the_quota_stay_explained(server: Server) -> None:
    waiting = [accepted(latency(NOW + n * MINUTE, n)) for n in range(500)]
    for step in range(12 * 24):  # new results pass, the old ones wait
        at = NOW + DAY + step * 5 * MINUTE
        new = [accepted(latency(at, 2_000 + step)), accepted(health(at, 4_000 + step, spool_depth=500))]
        assert server.take(new, at) == []
    server.restart()
    assert server.take(waiting, NOW + 3 * DAY) == []


@pytest.mark.parametrize("times", [1, 5])
def test_resends_after_lost_answers_cost_the_others_nothing(server: Server, times: int) -> None:
    waiting = [accepted(latency(NOW + n * MINUTE, n)) for n in range(64)]
    assert server.take([accepted(health(NOW + 4 * HOUR, 1_000, spool_depth=64))], NOW + 4 * HOUR) == []
    for _ in range(times):
        assert server.take(waiting[:40], NOW + 5 * HOUR) == []
    assert server.take(waiting, NOW + 6 * HOUR) == []


def test_a_clock_that_was_ahead_and_is_set_right_makes_nothing_late(server: Server) -> None:
    ahead = [accepted(health(NOW + 50 * HOUR, 1, spool_depth=0)), accepted(speed(NOW + 50 * HOUR, 2))]
    assert server.take(ahead, NOW + MINUTE) == []
    assert server.take([accepted(health(NOW + 5 * MINUTE, 3, spool_depth=0))], NOW + 6 * MINUTE) == []
    assert server.take([accepted(speed(NOW + 2 * HOUR, 4))], NOW + 4 * HOUR) == []


def test_what_an_unset_clock_dated_is_not_late(server: Server) -> None:
    """A boot without time, then one that knows it and was offline for days."""
    estimated: dict[str, Any] = {"clock": "estimated", "at_error_s": 9.5 * 86_400}
    first = [accepted(health(NOW + n * HOUR, 1 + n, spool_depth=n), **estimated) for n in range(5)]
    later = [accepted(speed(NOW + DAY + n * HOUR, 100 + n)) for n in range(150)]
    assert server.take([*first, *later], NOW + 10 * DAY) == []


def test_a_changed_card_is_no_thief(server: Server) -> None:
    assert server.take([accepted(health(NOW, 40_000, spool_depth=9))], NOW) == []
    for step in range(300):
        at = NOW + HOUR + 5 * step * MINUTE
        found = [accepted(health(at, 2 * step + 1, spool_depth=1), THIEFS), accepted(latency(at, 2 * step + 2), THIEFS)]
        assert server.take(found, at + MINUTE) == []


class Unit:
    """A spool, a window, and a link that loses what it likes: what is sent, and what comes back."""

    def __init__(self, dice: random.Random, server: Server) -> None:
        self._dice, self._server = dice, server
        self._spool: dict[int, Accepted] = {}
        self._seq = 1_000_000
        self._outage_since: dt.datetime | None = None
        self._error_s = 0.0
        self._name = SPOOL
        self.late: list[int] = []

    def commit(self, make: Callable[..., Point], at: dt.datetime, **data: Any) -> None:
        self._seq += 1
        clock = {"clock": "estimated", "at_error_s": self._error_s} if self._error_s else {}
        self._spool[self._seq] = accepted(make(at, self._seq, **data), self._name, **clock)

    def measure(self, at: dt.datetime, online: bool) -> None:
        self.commit(health, at, spool_depth=len(self._spool))
        self.commit(latency, at)
        if self._dice.random() < 0.1:
            self.commit(speed, at)
        if not online and self._outage_since is None:
            self._outage_since = at
        elif online and self._outage_since is not None:
            self.commit(outage, self._outage_since, duration_s=(at - self._outage_since).total_seconds())
            self._outage_since = None

    def reboot(self) -> None:
        self._seq += self._dice.randrange(2**16, 2**20)
        self._error_s = self._dice.choice([0.0, 0.0, 30.0, 86_400.0, 30 * 86_400.0])

    def change_card(self) -> None:
        self._spool.clear()
        self._name = str(uuid.UUID(int=self._dice.getrandbits(120)))

    def send(self, now: dt.datetime, over_quota: set[str]) -> None:
        """A few rounds: of the window some are lost, and some answers too; what is over the quota waits."""
        for _ in range(self._dice.randrange(1, 30)):
            window = [one for seq, one in sorted(self._spool.items())[:64] if self._dice.random() < 0.9]
            if self._dice.random() < 0.2:
                self._dice.shuffle(window)
            taken = [one for one in window if one.point.measurement not in over_quota]
            self.late += self._server.take(taken, now)
            for one in taken:
                if self._dice.random() < 0.7:
                    self._spool.pop(one.id.seq, None)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_of_an_honest_unit_is_ever_late(server: Server, seed: int) -> None:
    dice = random.Random(seed)
    unit, online, quota_until = Unit(dice, server), True, NOW
    for step in range(6 * 288):
        at = NOW + step * 5 * MINUTE
        if dice.random() < (0.01 if online else 0.004):
            online = not online
        if dice.random() < 0.002:
            unit.reboot()
        if dice.random() < 0.001:
            unit.change_card()
        if dice.random() < 0.003:
            server.restart()
        if dice.random() < 0.001:
            quota_until = at + DAY
        unit.measure(at, online)
        if online:
            unit.send(at + MINUTE, {"latency"} if at < quota_until else set())
    assert unit.late == []
    assert len(server.stored) > 90 * 24 + 1_000


def test_the_memory_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "MAX_UNITS", 10)
    for n in range(100):
        server.take([accepted(health(NOW, 1, agent=f"nd-{n}", spool_depth=0))], NOW)
    assert len(server.lateness._units) == 10
    for n in range(100):
        server.take([accepted(health(NOW + n * MINUTE, n, agent="nd-x", spool_depth=n))], NOW + n * MINUTE)
    assert len(server.lateness._units["nd-x"].reports) == lateness.MAX_REPORTS
    assert [one.left for one in server.lateness._units["nd-x"].reports][-2:] == [14, 99]


def test_a_province_that_comes_back_costs_a_question_for_fifty_units() -> None:
    server = Server()
    for n in range(5):
        old = [accepted(latency(NOW + n * MINUTE, n, LineId(f"nd-{unit}", "ftth"))) for unit in range(200)]
        assert server.take(old, NOW + 3 * DAY) == []
    assert server.questions == 4


def test_questions_to_the_store_are_few(server: Server) -> None:
    """One for a unit whose results come in order; a thief's end with the first that is refused."""
    server.take(forged(), NOW)
    server.take(reversed(forged(first=90_000)), NOW)
    assert server.questions <= 2
