"""What a thief sent is left out of every figure, to the last digit, and counts again when it is released."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.judge.verdict import Month, Verdict, line_verdict
from collector.store import Store
from collector.store.exclusions import Exclusion
from collector.store.points import COUNTED, Point
from tests.support.stored import AGENT, LINE, SERVER, health, latency, registry, row, speed
from tests.support.theft import (
    ANOTHER_SPOOL,
    DAY,
    MINUTE,
    MOBILE,
    NOW,
    OTHER,
    STOLEN,
    Everybody,
    Province,
    forged,
    honest,
    sent,
)
from xomnet.registry.registry import LineRow

pytestmark = pytest.mark.date


@pytest.fixture
def province(store: Store, tmp_path: Path) -> Iterator[Province]:
    one = Province(store, tmp_path)
    yield one
    one.table.close()


def entry(action: Any = "exclude", since: dt.datetime = STOLEN, **more: Any) -> Exclusion:
    of: dict[str, Any] = {"scope": "unit", "agent": AGENT, "basis": "received", "reason": "quarantine"}
    return Exclusion(**{**of, "by": "Lan", "at": NOW, "action": action, "since": since, **more})


def differing(one: Everybody, other: Everybody) -> list[str]:
    return [name for name in Everybody._fields if getattr(one, name) != getattr(other, name)]


def excluded(province: Province) -> int:
    found = province.raw.figures.points("line_day", NOW - 91 * DAY, NOW + DAY)
    return sum(int(point.fields.get("excluded", 0)) for point in found)


@pytest.mark.parametrize(
    ("store", "spool"), [("sqlite", None), ("sqlite", ANOTHER_SPOOL), ("influx", ANOTHER_SPOOL)], indirect=["store"]
)
def test_after_quarantine_every_figure_is_as_before_the_theft_and_after_release_as_with_it(
    province: Province, spool: str | None
) -> None:
    province.receive(honest())
    province.night()
    before = province.figures()
    assert excluded(province) == 0
    theft = forged(spool)
    province.receive(theft)
    province.night()
    stolen = province.figures()
    assert differing(before, stolen) == list(Everybody._fields)
    province.table.add(entry())
    assert differing(before, province.figures()) == []
    counted = [point for point in theft if point.measurement in COUNTED]
    assert excluded(province) == len(counted)
    province.table.add(entry("count"))
    assert differing(stolen, province.figures()) == []
    assert excluded(province) == 0


@pytest.mark.parametrize("store", ["sqlite", "influx"], indirect=True)
def test_late_results_change_no_figure_until_somebody_lets_them_count(province: Province) -> None:
    province.receive(honest())
    province.night()
    before = province.figures()
    theft = forged(late=True)
    province.receive(theft)
    province.night()
    assert differing(before, province.figures()) == []
    assert excluded(province) == len([point for point in theft if point.measurement in COUNTED])
    province.table.add(entry("count"))
    assert differing(before, province.figures()) == list(Everybody._fields)
    assert excluded(province) == 0


on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


@on_sqlite
def test_an_entry_made_while_no_collector_runs_is_seen_by_the_next_one(province: Province, tmp_path: Path) -> None:
    province.receive(honest())
    province.night()
    before = province.figures()
    province.receive(forged())
    province.night()
    province.figures()
    province.lines.stop()
    province.lines._tracker.save_checkpoint(NOW)
    province.table.add(entry())
    after = Province(province.raw, tmp_path)
    assert differing(before, after.figures()) == []
    after.table.close()


@on_sqlite
def test_roll_ups_of_a_collector_that_died_at_it_are_computed_by_the_next_one(
    province: Province, tmp_path: Path
) -> None:
    province.receive(honest())
    province.night()
    before = province.figures()
    province.receive(forged())
    province.night()
    province.figures()
    province.table.add(entry())
    for _ in range(3):
        province.rollups.step(NOW + 10 * MINUTE)
    assert province.table.applied("rollups") == 0
    after = Province(province.raw, tmp_path)
    assert differing(before, after.figures()) == []
    assert after.table.applied("rollups") == 1
    after.table.close()


@on_sqlite
def test_one_line_can_be_left_out_alone_by_the_time_of_measurement(province: Province) -> None:
    province.receive(honest())
    since, until = NOW - 20 * DAY, NOW - 10 * DAY
    province.table.add(entry(since=since, until=until, scope="line", line="ftth", basis="measured"))
    found = province.store.samples(NOW - 91 * DAY, NOW, latest=1000)
    out = {line: [s.at for s in rows if s.excluded == "quarantine"] for line, rows in found.items()}
    assert out[LINE] == [s.at for s in found[LINE] if since <= s.at < until] != []
    assert (out[MOBILE], out[OTHER]) == ([], [])
    verdict = line_verdict(found[LINE], row(LINE), registry(), Month(2026, 9), NOW)
    september = [at for at in out[LINE] if at < Month(2026, 9).until()]
    assert verdict.excluded_for == (("quarantine", len(september)),)


@on_sqlite
def test_tests_at_a_server_are_left_out_of_every_line_that_used_it_and_the_lines_stay_heard(province: Province) -> None:
    province.receive(honest())
    heard = province.store.last_results(NOW - 91 * DAY)
    province.table.add(entry(since=NOW - DAY, scope="server", agent="", server=SERVER, basis="measured"))
    states = {line.id: line for line in province.lines.take(NOW).lines}
    assert [status.judgement.samples for status in states.values()] == [
        len([s for s in status.samples if s.at < NOW - DAY]) for status in states.values()
    ]
    assert province.store.last_results(NOW - 91 * DAY) == heard
    province.settle()
    assert excluded(province) == 3


class ClosedSeptember:
    def months(self) -> list[Month]:
        return [Month(2026, 9)]

    def verdicts(self, month: Month) -> list[tuple[LineRow, Verdict]]:
        raise AssertionError("it is written once, at night")


@on_sqlite
def test_months_that_are_closed_are_left_as_they_are(province: Province) -> None:
    province.receive(honest())
    province.night()
    province.settle()
    september = {p.tags["line"]: p.fields for p in months_of(province, Month(2026, 9))}
    province.rollups._closed = ClosedSeptember()
    province.table.add(entry(since=NOW - 60 * DAY, basis="measured"))
    province.settle()
    assert {p.tags["line"]: p.fields for p in months_of(province, Month(2026, 9))} == september
    (october,) = (p for p in months_of(province, Month(2026, 10)) if (p.tags["agent"], p.tags["line"]) == LINE)
    assert (october.fields["samples"], october.fields["excluded"]) == (0, 9)
    (august,) = (p for p in months_of(province, Month(2026, 8)) if (p.tags["agent"], p.tags["line"]) == LINE)
    assert int(august.fields["excluded"]) > 0, "older months that were written are written again"


@on_sqlite
def test_what_a_thief_sent_by_the_thousand_takes_no_place_of_what_counts(province: Province) -> None:
    province.receive(honest())
    until, since = NOW + DAY, NOW - 91 * DAY
    tests, probes = len(province.store.speed(LINE, since, until)), len(province.store.latency(LINE, since, until))
    flood = [sent(latency(NOW - n * MINUTE, 10**6 + n), STOLEN) for n in range(12_000)]
    flood += [sent(speed(NOW - n * MINUTE, 10**5 + n), STOLEN) for n in range(6_000)]
    flood += [sent(health(NOW - n * MINUTE, 10**4 + n, version="9.9"), STOLEN) for n in range(6_000)]
    province.receive(flood)
    province.table.add(entry())
    found = province.store.latency(LINE, since, until, latest=probes + 5)
    assert (len(found), sum(one.excluded is None for one in found)) == (probes + 5, probes)
    (samples,) = province.store.samples(since, until, [LINE], latest=tests + 7).values()
    assert (len(samples), sum(one.excluded is None for one in samples)) == (tests + 7, tests)
    assert province.store.health(since)[AGENT].version == "0.2.0"
    assert province.store.last_results(since)[LINE] == NOW - 64 * MINUTE
    raw = province.raw.figures.latency(since, until)[LINE]
    counted = province.store.figures.latency(since, until)[LINE]
    assert (raw.probes, counted.probes, counted.excluded) == (12_000 + probes, probes, 12_000)


def months_of(province: Province, month: Month) -> list[Point]:
    return province.raw.figures.points("line_month", month.since(), month.since() + MINUTE)
