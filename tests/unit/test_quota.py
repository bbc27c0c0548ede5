"""A unit's quota: by the day measured, at most 31 such days in a day of receipt; restarts, resends, invented dates."""

import datetime as dt
import sqlite3
import uuid
from collections import Counter
from pathlib import Path

import pytest

from collector.ingest.quota import DAYS, MAX_DATES, REJECTIONS, Quota, Verdict
from collector.ingest.rate_limit import FLOOD, RateLimiter
from collector.ingest.validate import Accepted, ResultId
from collector.settings import QuotaSettings
from collector.store.line_id import LineId
from collector.store.points import Point
from tests.support.stored import AGENT, LINE, event, health, latency, manifest, outage, speed

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
MOBILE = LineId(AGENT, "4g")
DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)
SIZE = 500


def accepted(point: Point) -> Accepted:
    agent, spool, seq = point.tags["agent"], point.fields["spool"], point.fields["seq"]
    assert isinstance(seq, int)
    return Accepted(ResultId(agent, uuid.UUID(str(spool)), seq), point)


class Sending:
    """Results with rising numbers, and what became of them."""

    def __init__(self, quota: Quota) -> None:
        self.quota, self.seq = quota, 0

    def send(self, count: int, at: dt.datetime, line: LineId = LINE, now: dt.datetime = NOW) -> Counter[Verdict]:
        verdicts: Counter[Verdict] = Counter()
        for _ in range(count):
            self.seq += 1
            verdicts[self.quota.admit(accepted(speed(at, self.seq, line)), SIZE, now)[0]] += 1
        self.quota.save()
        return verdicts


def test_a_line_may_have_twenty_times_its_schedule_in_a_day_and_another_line_is_not_concerned() -> None:
    unit = Sending(Quota(QuotaSettings()))
    assert unit.send(200, NOW) == {"admit": 160, "reject": 40}
    assert unit.send(200, NOW, MOBILE) == {"admit": 80, "reject": 120}
    assert unit.send(1, NOW - DAY) == {"admit": 1}


@pytest.mark.parametrize(
    ("point", "limit"),
    [
        (latency(NOW, 0), 5760),
        (health(NOW, 0), 5760),
        (outage(NOW, 0), 2000),
        (event(NOW, 0, "started"), 2000),
        (manifest(NOW, 0, [1], 1), 100),
    ],
)
def test_each_kind_has_its_limit(point: Point, limit: int) -> None:
    quota, verdicts = Quota(QuotaSettings()), Counter[Verdict]()
    for seq in range(limit + 10):
        point.fields["seq"] = seq  # type: ignore[index]
        verdicts[quota.admit(accepted(point), SIZE, NOW)[0]] += 1
    assert verdicts == {"admit": limit, "reject": 10}


def test_the_reason_says_what_was_too_much_and_the_operator_is_told_once() -> None:
    told: list[tuple[str, str]] = []
    quota = Quota(QuotaSettings(tests_per_day=1), None, lambda *what: told.append(what))
    unit = Sending(quota)
    unit.send(40, NOW)
    verdict, reason = quota.admit(accepted(speed(NOW, 99)), SIZE, NOW)
    assert verdict == "reject"
    assert reason.startswith("20 of speed/ftth measured on 2026-11-30 are stored")
    assert [agent for agent, _ in told] == [AGENT]
    assert quota.exceeded_units == 1
    unit.send(40, NOW, now=NOW + DAY)
    assert len(told) == 2, "once a day"
    assert quota.exceeded_units == 1


def test_a_backlog_of_three_months_comes_in_whole_at_once() -> None:
    quota, seq = Quota(QuotaSettings()), 0
    for day in range(90):
        for number in range(288):
            at = NOW - day * DAY + number * SECOND
            points = [latency(at, seq), latency(at, seq + 1, MOBILE), health(at, seq + 2)]
            points += [speed(at, seq + 3), speed(at, seq + 4, MOBILE)] if number < 8 else []
            for point in points:
                assert quota.admit(accepted(point), SIZE, NOW)[0] == "admit"
            seq += 5
    assert quota.exceeded_units == 0


def test_invented_dates_give_no_more_than_31_days_and_the_rest_waits_for_the_next_day(tmp_path: Path) -> None:
    unit = Sending(Quota(QuotaSettings(), tmp_path / "quota.db"))
    dates = [NOW - number * DAY for number in range(300)]
    verdicts: Counter[Verdict] = Counter()
    for at in dates * 40:
        verdicts += unit.send(1, at)
    assert verdicts == {"admit": DAYS * 160, "wait": 12_000 - DAYS * 160}
    assert unit.send(1, dates[-1], now=NOW + DAY) == {"admit": 1}
    with sqlite3.connect(tmp_path / "quota.db") as db:
        assert db.execute("SELECT count(*) FROM counts").fetchone()[0] < 80, "of old days nothing stays"


def test_each_result_of_another_date_gives_no_more_than_a_spool_has(tmp_path: Path) -> None:
    unit = Sending(Quota(QuotaSettings()))
    verdicts = sum((unit.send(1, NOW - number * DAY) for number in range(1000)), Counter[Verdict]())
    assert verdicts == {"admit": MAX_DATES, "wait": 1000 - MAX_DATES}


def test_one_number_for_many_results_does_not_make_them_resends() -> None:
    quota = Quota(QuotaSettings())
    points = [speed(NOW + number * SECOND, 1) for number in range(200)]
    assert Counter(quota.admit(accepted(one), SIZE, NOW)[0] for one in points) == {"admit": 160, "reject": 40}


def test_a_restart_gives_no_fresh_quota(tmp_path: Path) -> None:
    for round_ in range(4):
        quota = Quota(QuotaSettings(), tmp_path / "quota.db")
        unit = Sending(quota)
        unit.seq = round_ * 1000
        assert unit.send(60, NOW)["admit"] == (60, 60, 40, 0)[round_]
        assert quota.exceeded_units == (0, 0, 1, 1)[round_]
        # no close: it was killed


def test_a_resend_counts_nothing() -> None:
    quota = Quota(QuotaSettings())
    window = [accepted(speed(NOW, seq)) for seq in range(64)]
    for _ in range(100):
        assert {quota.admit(one, SIZE, NOW)[0] for one in window} == {"admit"}
    unit = Sending(quota)
    unit.seq = 64
    assert unit.send(96, NOW) == {"admit": 96}


def test_bytes_have_a_limit_a_day_of_receipt() -> None:
    quota = Quota(QuotaSettings(mb_per_day=1))
    verdicts = [quota.admit(accepted(latency(NOW, seq)), 16_000, NOW)[0] for seq in range(100)]
    assert Counter(verdicts) == {"admit": 62, "wait": 38}
    assert quota.admit(accepted(latency(NOW, 1000)), 16_000, NOW + DAY)[0] == "admit"


def test_rejections_have_a_limit_in_number_and_bytes() -> None:
    quota = Quota(QuotaSettings())
    assert sum(quota.admit_rejection("nd-a", 100, NOW) for _ in range(3000)) == REJECTIONS
    assert sum(quota.admit_rejection("nd-b", 16_000, NOW) for _ in range(3000)) == 250
    assert quota.admit_rejection("nd-a", 100, NOW + DAY)


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "quota.db").write_bytes(b"no database" * 1000)
    assert Sending(Quota(QuotaSettings(), tmp_path / "quota.db")).send(1, NOW) == {"admit": 1}
    assert len(list(tmp_path.glob("quota.db.damaged-*"))) == 1


def test_what_comes_too_fast_is_not_read_and_another_unit_is_not_concerned() -> None:
    rates = RateLimiter(50.0)
    assert sum(rates.admits("nd-a", "up", 500, 0.0) for _ in range(5000)) == 1000
    assert sum(rates.admits("nd-b", "up", 500, 0.0) for _ in range(500)) == 500
    assert sum(rates.admits("nd-a", "up", 500, 10.0) for _ in range(5000)) == 500
    assert rates.admits("nd-a", "state", 500, 0.0)


def test_a_flood_is_noted_and_a_backlog_is_none() -> None:
    rates = RateLimiter(50.0)
    for second in range(3600):  # of a backlog one of ten comes too fast
        for _ in range(55):
            rates.admits("nd-a", "up", 500, float(second))
    assert not rates.floods
    for _ in range(FLOOD + 60):
        rates.admits("nd-b", "state", 500, 0.0)
    assert list(rates.floods) == ["nd-b"]


def test_large_messages_cost_more() -> None:
    rates = RateLimiter(50.0)
    assert sum(rates.admits("nd-a", "up", 16_000, 0.0) for _ in range(5000)) == 250
    assert not rates.admits("nd-a", "state", 5_000, 0.0)
    assert rates.admits("nd-a", "reply", 60_000, 0.0)


def test_the_slowest_rate_lets_the_largest_message_through() -> None:
    rates = RateLimiter(0.1)
    assert rates.admits("nd-a", "up", 16_384, 0.0)
    assert not rates.admits("nd-a", "up", 16_384, 1.0)
    assert rates.admits("nd-a", "up", 16_384, 100.0)
