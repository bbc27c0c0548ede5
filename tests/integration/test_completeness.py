"""Completeness over both stores: what was promised beside what is stored, as time passes and results come late."""

import datetime as dt
import math
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from collector.completeness.completeness import MAX_OPEN_OF_UNIT, MAX_UNIT_ROUNDS, Completeness
from collector.completeness.reconcile import Counts, SeqRange
from collector.ingest.dead_letters import DeadLetters, dead_letter
from collector.metrics import Metrics
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import Point
from collector.web import create_app
from tests.support.province_fixture import Seed, fill, services
from tests.support.stored import AGENT, LINE, SPOOL, event, health, latency, manifest, registry
from xomnet.contract.values import MAX_RECEIPT

NOW = dt.datetime(2026, 11, 30, 16, 50, tzinfo=dt.UTC)
"""Ten minutes before a month ends in Viet Nam."""
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
MOBILE, UNIT, THIEF = LineId(AGENT, "4g"), LineId(AGENT, ""), LineId("nd-thief", "ftth")
BEGIN = NOW - 10 * HOUR


@pytest.fixture
def dead(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path / "dead-letters.jsonl")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def completeness(store: Store, dead: DeadLetters, metrics: Metrics) -> Completeness:
    return Completeness(store, registry, dead, metrics)


def results(*seqs: int, line: LineId = LINE, begin: dt.datetime = BEGIN) -> list[Point]:
    """One a minute, by number."""
    return [latency(begin + seq * MINUTE, seq, line) for seq in seqs]


def promised(*seqs: int, line: LineId = LINE, seq: int = 11, begin: dt.datetime = BEGIN) -> Point:
    """The manifest of the first ten numbers, half an hour after `begin`."""
    return manifest(begin + 30 * MINUTE, seq, seqs, 10, line=line)


TEN = tuple(range(1, 11))
LATER = latency(BEGIN + 2 * HOUR, 100)
"""A result of a time when everything of the first round should have come."""


def look(completeness: Completeness, now: dt.datetime = NOW) -> dict[LineId, Counts]:
    """The tallies after as many rounds as it takes."""
    for _ in range(100):
        if not completeness.step(now):
            assert completeness.latest is not None
            return {line: one.tally for line, one in completeness.latest.lines.items()}
    raise AssertionError("it never ends")


def figure(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def test_all_that_was_promised_is_stored(store: Store, completeness: Completeness, metrics: Metrics) -> None:
    points = [*results(*TEN[:6]), *results(*TEN[6:9], line=MOBILE), health(BEGIN, 10)]
    promises = [promised(*TEN[:6]), promised(7, 8, 9, line=MOBILE, seq=12), promised(10, line=UNIT, seq=13)]
    store.write([*points, *promises])
    assert math.isnan(figure(metrics, "xomnet_completeness_ratio") or 0)
    assert look(completeness) == {LINE: Counts(6, 6), MOBILE: Counts(3, 3), UNIT: Counts(1, 1)}
    assert figure(metrics, "xomnet_completeness_ratio") == 1
    assert figure(metrics, "xomnet_gap_results") == 0


def test_a_manifest_waits_for_its_results_and_a_gap_names_the_numbers(
    store: Store, completeness: Completeness, metrics: Metrics
) -> None:
    look(completeness)
    store.write([*results(1, 2, 3, 5, 6, 9, 10), promised(*TEN), LATER])
    completeness.on_stored([promised(*TEN)])
    assert look(completeness) == {LINE: Counts()}
    assert completeness.latest is not None
    assert completeness.latest.line(LINE).waiting == 1
    assert look(completeness, NOW + 59 * MINUTE) == {LINE: Counts()}
    assert look(completeness, NOW + 61 * MINUTE) == {LINE: Counts(10, 7, 0, 0, 3)}
    (gap,) = completeness.latest.line(LINE).gaps
    assert gap.unaccounted == (SeqRange(4, 4), SeqRange(7, 8))
    assert gap.receipt.spool == SPOOL
    assert figure(metrics, "xomnet_gap_results") == 3
    assert figure(metrics, "xomnet_completeness_ratio") == 0.7


def test_a_unit_that_fell_silent_with_the_rest_in_its_spool_is_waited_for(
    store: Store, completeness: Completeness
) -> None:
    store.write([*results(*TEN[:4]), promised(*TEN)])
    assert look(completeness, NOW + 5 * DAY) == {LINE: Counts()}
    store.write([LATER])
    assert look(completeness, NOW + 5 * DAY) == {LINE: Counts(10, 4, 0, 0, 6)}


def test_an_open_gap_is_known_after_a_restart_and_closes_where_the_results_come(
    store: Store, completeness: Completeness, dead: DeadLetters
) -> None:
    store.write([*results(*TEN[1:]), promised(*TEN), LATER])
    assert look(completeness) == {LINE: Counts(10, 9, 0, 0, 1)}
    again = Completeness(store, registry, dead, Metrics())
    assert look(again) == {LINE: Counts(10, 9, 0, 0, 1)}
    store.write(results(1))
    assert look(again) == {LINE: Counts(10, 10)}
    assert again.latest is not None
    assert again.latest.line(LINE).gaps == ()


def test_a_result_with_a_wrong_clock_is_found_where_it_is(store: Store, completeness: Completeness) -> None:
    store.write([*results(*TEN[2:]), promised(*TEN), LATER])
    store.write([latency(NOW - 200 * DAY, 1), latency(NOW + 20 * HOUR, 2)])
    assert look(completeness) == {LINE: Counts(10, 10)}


def test_what_was_rejected_or_evicted_is_no_gap(store: Store, completeness: Completeness, dead: DeadLetters) -> None:
    gone = event(NOW - 9 * HOUR, 12, "evicted", UNIT, first_seq=1, last_seq=3)
    store.write([*results(3, 4, 5, 6, 7, 8), promised(*TEN), LATER, gone])
    body = msgspec.json.encode({"line": LINE.line})
    dead.append([dead_letter("t", body, "future", "", NOW, agent=AGENT, spool=SPOOL, seq=seq) for seq in (9, 10)])
    dead.append([dead_letter("t", body, "future", "", NOW, agent="nd-b-2", spool=SPOOL, seq=1)])
    assert look(completeness) == {LINE: Counts(10, 6, 2, 2)}


def test_what_was_rejected_and_is_stored_now_is_counted_again(
    store: Store, completeness: Completeness, dead: DeadLetters
) -> None:
    store.write([*results(*TEN[1:]), promised(*TEN), LATER])
    dead.append([dead_letter("t", b'{"line":"ftth"}', "future", "", NOW, agent=AGENT, spool=SPOOL, seq=1)])
    assert look(completeness) == {LINE: Counts(10, 9, 1)}
    store.write(results(1))
    completeness.recompute()
    assert look(completeness) == {LINE: Counts(10, 10)}


def test_a_manifest_that_comes_again_counts_once(store: Store, completeness: Completeness) -> None:
    second = manifest(BEGIN + HOUR, 30, range(11, 21), 20, first=11)  # the first manifest is a result too
    store.write([*results(*TEN, *range(12, 21)), promised(*TEN), second])
    for _ in range(3):
        completeness.on_stored([promised(*TEN), second])
        assert look(completeness) == {LINE: Counts(20, 20)}


def test_only_the_last_thirty_days_count(store: Store, completeness: Completeness) -> None:
    old = NOW - 29 * DAY
    store.write([*results(*TEN[:8], begin=old), promised(*TEN[:8], begin=old), latency(old + 3 * HOUR, 50)])
    assert look(completeness) == {LINE: Counts(8, 8)}
    assert look(completeness, NOW + 3 * DAY) == {LINE: Counts()}


def test_more_manifests_than_one_look_takes_are_all_looked_at(
    store: Store, completeness: Completeness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.completeness.completeness.MAX_ROUNDS", 3)
    for n in range(8):
        at = BEGIN + n * MINUTE
        seqs = range(1 + 10 * n, 11 + 10 * n)
        store.write([*results(*seqs), manifest(at, 1000 + n, seqs, seqs[-1], first=seqs[0])])
    assert look(completeness) == {LINE: Counts(80, 80)}


def test_a_flood_of_manifests_is_read_from_the_store_instead(
    store: Store, completeness: Completeness, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(completeness)
    monkeypatch.setattr("collector.completeness.completeness.MAX_NEW", 2)
    store.write([*results(*TEN), promised(*TEN)])
    completeness.on_stored([promised(*TEN)] * 9)
    assert look(completeness) == {LINE: Counts(10, 10)}


def test_it_is_stored_for_every_line_with_the_tags_of_the_registry(store: Store, completeness: Completeness) -> None:
    written: list[Point] = []
    write = store.write

    def watch(points: list[Point]) -> object:
        written.extend(point for point in points if point.measurement == "completeness")
        return write(points)

    store.write([*results(*TEN[1:]), promised(*TEN), LATER, health(BEGIN, 30), promised(line=UNIT, seq=12)])
    store.write = watch  # type: ignore[method-assign, assignment]
    look(completeness)
    of_line, of_unit = sorted(written, key=lambda point: "line" not in point.tags)
    expected = {"expected": 10, "stored": 9, "rejected": 0, "evicted": 0, "missing": 1, "ratio": 0.9}
    assert of_line.fields == expected
    assert of_line.tags == {**of_unit.tags, "line": "ftth", "access": "fixed", "isp": "VNPT"}
    assert of_unit.fields["expected"] == 0
    assert write(written) == []


# --- as people and programs read it


SEED = Seed(AGENT, "ftth", "fixed", "Xóm 5", "Nam Định/Hải Hậu/Hải Minh", "VNPT", 160)


def page_of(folder: Path, stored: int) -> TestClient:
    """Page and REST of a line of whose 20,000 results all but some are stored."""
    made = services(folder, [SEED])
    fill(made.store, [SEED], NOW)
    made.lines.take(NOW)
    all_of_it = range(1, 20_001)
    made.store.write([latency(BEGIN + seq * dt.timedelta(seconds=1), seq) for seq in all_of_it[:stored]])
    made.store.write([manifest(BEGIN + 6 * HOUR, 30_000, all_of_it, 20_000), latency(BEGIN + 9 * HOUR, 30_001)])
    look(made.completeness)
    return TestClient(create_app(made))


def test_one_missing_of_twenty_thousand_is_not_a_hundred_percent(tmp_path: Path) -> None:
    web = page_of(tmp_path, 19_999)
    answer = web.get("/api/v1/completeness").json()
    (line,) = answer["lines"]
    assert (line["expected"], line["stored"], line["missing"], line["waiting"]) == (20_000, 19_999, 1, 0)
    assert line["ratio"] == answer["ratio"] == 19_999 / 20_000
    (gap,) = line["gaps"]
    assert (gap["spool"], gap["first_seq"], gap["last_seq"], gap["seqs"]) == (SPOOL, 1, 20_000, [[20_000, 20_000]])
    assert web.get(f"/api/v1/lines/{AGENT}/ftth").json()["completeness"] == 19_999 / 20_000
    assert "99,99% (30 ngày)" in web.get(f"/lines/{AGENT}/ftth").text
    assert "99.99% (30 days)" in web.get(f"/lines/{AGENT}/ftth?lang=en").text


def test_a_complete_line_says_so(tmp_path: Path) -> None:
    web = page_of(tmp_path, 20_000)
    assert "100% (30 ngày)" in web.get(f"/lines/{AGENT}/ftth").text
    assert web.get("/api/v1/completeness").json()["ratio"] == 1


def test_before_the_first_look_it_is_not_known(tmp_path: Path) -> None:
    made = services(tmp_path, [SEED])
    fill(made.store, [SEED], NOW)
    made.lines.take(NOW)
    web = TestClient(create_app(made))
    assert web.get("/api/v1/completeness").status_code == 503
    assert "completeness" not in web.get(f"/api/v1/lines/{AGENT}/ftth").json()
    assert "Độ đầy đủ" not in web.get(f"/lines/{AGENT}/ftth").text


def test_a_line_that_claims_without_end_weighs_as_one_line(store: Store, completeness: Completeness) -> None:
    store.write([*results(*TEN), promised(*TEN), LATER])
    span = MAX_RECEIPT
    forged = [
        manifest(
            BEGIN + (30 + n) * MINUTE,
            n * span + 1,
            range((n - 1) * span + 1, n * span + 1),
            n * span,
            (n - 1) * span + 1,
            MOBILE,
        )
        for n in range(1, 4)
    ]
    store.write([*forged, latency(BEGIN + 3 * HOUR, 10 * span, MOBILE)])
    look(completeness)
    found = completeness.latest
    assert found is not None
    assert (found.line(LINE).tally.ratio, found.line(MOBILE).tally.expected) == (1, 3 * span)
    assert found.ratio == pytest.approx(0.5, abs=1e-4)
    assert found.missing > 2 * span


def test_a_receipt_that_counts_more_than_a_unit_can_make_is_none(store: Store, completeness: Completeness) -> None:
    absurd = event(BEGIN + 30 * MINUTE, 11, "manifest", first_seq=1, last_seq=2**53, count=2**53, digest="0" * 32)
    store.write([*results(*TEN), promised(*TEN, seq=12), absurd, LATER])
    assert look(completeness) == {LINE: Counts(10, 10)}


def test_a_flood_of_receipts_keeps_nobody_waiting(store: Store, completeness: Completeness) -> None:
    tick = dt.timedelta(microseconds=1)
    claims = [(n, 10**6 + 2 * n) for n in range(3000)]
    flood = [manifest(BEGIN + 30 * MINUTE + n * tick, n + 1, [claim], claim, claim, THIEF) for n, claim in claims]
    store.write([*flood, *results(*TEN), promised(*TEN), LATER])
    asked = 0
    numbers = store.numbers

    def counted(*arguments: Any) -> dict[int, str]:
        nonlocal asked
        asked += 1
        return numbers(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "numbers", counted)
        found = look(completeness)
    assert found[LINE] == Counts(10, 10)
    assert asked < 40 * 3 * MAX_UNIT_ROUNDS, "a step for each day that is read, and a turn in each"
    assert completeness.latest is not None
    assert completeness.latest.line(THIEF).waiting == MAX_OPEN_OF_UNIT


def test_twenty_thousand_manifests_of_one_unit_hold_up_nobody(
    completeness: Completeness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(completeness)
    others = LineId("nd-b-2", "ftth")
    invented = [manifest(BEGIN, n, [3 * n], last=3 * n + 1, first=3 * n, line=LINE) for n in range(1, 20_001)]
    honest = [*results(*TEN, line=others), promised(*TEN, line=others)]
    store.write(honest)
    questions = Counter[str]()
    numbers = store.numbers

    def counted(agent: str, *asked: Any) -> dict[int, str]:
        questions[agent] += 1
        return numbers(agent, *asked)

    monkeypatch.setattr(store, "numbers", counted)
    completeness.on_stored([*invented, *honest])
    assert look(completeness)[others] == Counts(10, 10)
    assert questions.total() < 5_000
