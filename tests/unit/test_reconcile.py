"""What a manifest's results became: every promised one is stored, rejected, evicted or missing, and none is hidden."""

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.receipt import spool_receipts
from collector.completeness.reconcile import (
    NOTHING,
    Counts,
    Reconciliation,
    SeqRange,
    SpoolReceipt,
    add_range,
    covers,
    gaps_between,
    receipt_of,
    reconcile,
    subtract_ranges,
)
from collector.store.line_id import LineId
from collector.store.row_types import EventRow
from xomnet.contract.messages import Event
from xomnet.contract.receipt_digest import digest

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
FTTH, UNIT = LineId("nd-a-1", "ftth"), LineId("nd-a-1", "")


def receipt(line: LineId, numbers: list[int], last: int = 10) -> SpoolReceipt:
    return SpoolReceipt(line, "s", 11, AT, SeqRange(1, last), len(numbers), digest(sorted(numbers)))


def only(numbers: list[int], stored: list[int], rejected: list[int], *evicted: SeqRange) -> Reconciliation:
    """The account of one line that took in `numbers`, where no other line had any."""
    line = FTTH.line
    (found,) = reconcile([receipt(FTTH, numbers)], dict.fromkeys(stored, line), dict.fromkeys(rejected, line), evicted)
    return found


EVERY = list(range(1, 11))


@pytest.mark.parametrize(
    ("stored", "rejected", "evicted", "tally", "unaccounted"),
    [
        (EVERY, [], [], Counts(10, 10), ()),
        (EVERY[:8], [9, 10], [], Counts(10, 8, 2), ()),
        (EVERY, [3], [], Counts(10, 10), ()),  # sent again after it was rejected
        (EVERY[4:], [], [SeqRange(1, 4)], Counts(10, 6, 0, 4), ()),
        (EVERY[2:], [], [SeqRange(1, 8)], Counts(10, 8, 0, 2), ()),  # some had been stored before the spool was full
        ([1, 2, 5, 6, 7, 9, 10], [], [], Counts(10, 7, 0, 0, 3), (SeqRange(3, 4), SeqRange(8, 8))),
        ([1, 2, 5, 6, 7, 9, 10], [4], [SeqRange(1, 3)], Counts(10, 7, 1, 1, 1), (SeqRange(8, 8),)),
        ([], [], [], Counts(10, 0, 0, 0, 10), (SeqRange(1, 10),)),
    ],
)
def test_each_result_is_accounted_for(
    stored: list[int], rejected: list[int], evicted: list[SeqRange], tally: Counts, unaccounted: tuple[SeqRange, ...]
) -> None:
    found = only(EVERY, stored, rejected, *evicted)
    assert (found.tally, found.unaccounted, found.digest_differs) == (tally, unaccounted, False)


def test_as_many_but_not_the_same_is_not_complete() -> None:
    found = only([1, 2, 3], [1, 2, 4], [])
    assert found.digest_differs
    assert found.tally == Counts(3, 2, 0, 0, 1)
    more = only([1, 2, 3], [1, 2, 3, 4], [])
    assert (more.digest_differs, more.tally) == (True, Counts(3, 2, 0, 0, 1))


def test_a_line_that_had_none_misses_none() -> None:
    assert only([], [], []).tally == NOTHING
    assert NOTHING.ratio is None


def test_a_number_out_of_its_place_can_cost_neither_memory_nor_time() -> None:
    found = reconcile([SpoolReceipt(FTTH, "s", 1, AT, SeqRange(1, 2**53), 5, "x")], {7: "ftth"}, {}, ())
    assert found[0].tally == Counts(5, 1, 0, 0, 4)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"first_seq": 1, "last_seq": 3},
        {"first_seq": 0, "last_seq": 3, "count": 3, "digest": "x"},
        {"first_seq": 4, "last_seq": 3, "count": 0, "digest": "x"},
        {"first_seq": 1, "last_seq": 3, "count": 4, "digest": "x"},
    ],
)
def test_a_manifest_that_contradicts_itself_is_none(row: dict[str, object]) -> None:
    assert receipt_of(FTTH, EventRow(at=AT, spool="s", seq=9, name="manifest", **row)) is None  # type: ignore[arg-type]


Fate = st.sampled_from(["stored", "rejected", "evicted", "lost"])


@given(st.lists(st.tuples(st.sampled_from(["", "ftth", "4g"]), Fate), min_size=1, max_size=40))
def test_no_loss_is_hidden_and_none_is_invented(history: list[tuple[str, str]]) -> None:
    numbered = dict(enumerate(history, 1))

    def of(fate: str, line: str | None = None) -> dict[int, str]:
        return {n: own for n, (own, what) in numbered.items() if what == fate and line in (None, own)}

    lines = sorted({line for line, _ in history})
    promised = [[n for n, (own, _) in numbered.items() if own == line] for line in lines]
    round_ = [receipt(LineId("nd-a-1", line), ns, len(history)) for line, ns in zip(lines, promised, strict=True)]
    found = reconcile(round_, of("stored"), of("rejected"), [SeqRange(n, n) for n in of("evicted")])
    for line, account, numbers in zip(lines, found, promised, strict=True):
        tally = account.tally
        assert tally.expected == len(numbers) == tally.stored + tally.rejected + tally.evicted + tally.missing
        assert (tally.stored, tally.rejected) == (len(of("stored", line)), len(of("rejected", line)))
        assert tally.missing >= len(of("lost", line))
        assert (tally.ratio == 1) == (len(of("stored", line)) == len(numbers))
        assert not account.digest_differs
    missing = sum(account.tally.missing for account in found)
    assert (missing == 0) == (not of("lost"))
    if not of("evicted") or len(lines) == 1:
        assert missing == len(of("lost"))


Spans = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda p: SeqRange(p[0], p[0] + p[1])), max_size=6
)


def numbers_of(spans: list[SeqRange]) -> set[int]:
    return {n for span in spans for n in range(span.first, span.last + 1)}


@given(Spans, Spans)
def test_spans_are_sets_of_numbers(left: list[SeqRange], right: list[SeqRange]) -> None:
    assert numbers_of(subtract_ranges(left, right)) == numbers_of(left) - numbers_of(right)
    together: list[SeqRange] = []
    for span in left:
        add_range(together, span)
    assert numbers_of(together) == numbers_of(left)
    assert all(a.last + 1 < b.first for a, b in pairwise(together))
    for span in right:
        assert covers(together, span) == (numbers_of([span]) <= numbers_of(left))


@given(st.sets(st.integers(1, 30)))
def test_the_gaps_between_numbers_are_what_is_not_there(numbers: set[int]) -> None:
    assert numbers_of(gaps_between(sorted(numbers), 1, 30)) == set(range(1, 31)) - numbers


def test_a_units_receipt_is_read_as_the_contract_says() -> None:
    rows = [(n, ("ftth", "4g", None)[n % 3]) for n in range(1, 20)]
    said = [(line or "", event) for line, event in spool_receipts(rows, 1, 19)]
    read = [
        receipt_of(LineId("nd-a-1", line), EventRow(at=AT, spool="s", seq=20 + n, name="manifest", **_numbers(event)))
        for n, (line, event) in enumerate(said)
    ]
    found = reconcile([one for one in read if one is not None], {n: line or "" for n, line in rows}, {}, ())
    assert {account.receipt.line.line: account.tally.stored for account in found} == {"": 6, "ftth": 6, "4g": 7}
    assert all(account.tally.ratio == 1 and not account.digest_differs for account in found)


def _numbers(event: Event) -> dict[str, Any]:
    return {"first_seq": event.first_seq, "last_seq": event.last_seq, "count": event.count, "digest": event.digest}
