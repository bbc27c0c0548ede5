"""What became of the results that a unit's spool took in: stored, rejected, evicted, or missing. Pure.

A receipt (the event `manifest`) says how many results of one line, or of the unit itself, the spool took in between two
numbers, and their digest. It does not list them: the missing numbers are known only for all lines of a round together.
"""

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import NamedTuple

from collector.store.line_id import LineId
from collector.store.row_types import EventRow
from xomnet.contract.receipt_digest import digest
from xomnet.contract.values import MAX_RECEIPT


class SeqRange(NamedTuple):
    """Numbers of a spool, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SpoolReceipt:
    """`line.line` is '' for results of the unit itself."""

    line: LineId
    spool: str
    seq: int
    at: dt.datetime
    span: SeqRange
    count: int
    digest: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Results: `expected` is always the sum of the other four."""

    expected: int = 0
    stored: int = 0
    rejected: int = 0
    evicted: int = 0
    missing: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def ratio(self) -> float | None:
        """Stored over expected: 1 only where everything is stored; None where nothing was promised."""
        return self.stored / self.expected if self.expected else None


NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A receipt's tally. `unaccounted` are the numbers of the round that no line's results have; if several lines miss
    some, nothing says which number is whose. `digest_differs`: as many as in the receipt, but not the same.
    """

    receipt: SpoolReceipt
    tally: Counts
    unaccounted: tuple[SeqRange, ...] = ()
    digest_differs: bool = False


def receipt_of(line: LineId, row: EventRow) -> SpoolReceipt | None:
    """The receipt in an event `manifest`; None if it contradicts itself, or counts more than a unit can have made."""
    if row.first_seq is None or row.last_seq is None or row.count is None or row.digest is None:
        return None
    if not 1 <= row.first_seq <= row.last_seq or row.count > min(MAX_RECEIPT, row.last_seq - row.first_seq + 1):
        return None
    return SpoolReceipt(line, row.spool, row.seq, row.at, SeqRange(row.first_seq, row.last_seq), row.count, row.digest)


def reconcile(
    receipts: Sequence[SpoolReceipt],
    stored: Mapping[int, str],
    rejected: Mapping[int, str],
    evicted: Iterable[SeqRange],
) -> list[Reconciliation]:
    """Reconciles one round: the receipts of one unit, one spool and one span, with its numbers (number -> line).

    A stored number counts as stored, even if it is also among the rejected or evicted. Results that several lines miss
    of an evicted and a lost range count as missing rather than evicted.
    """
    first, last = receipts[0].span
    there = {number: line for number, line in stored.items() if first <= number <= last}
    refused = {n: line for n, line in rejected.items() if first <= n <= last and n not in there}
    unknown = gaps_between(sorted({*there, *refused}), first, last)
    lost = subtract_ranges(unknown, evicted)
    open_, lost_count = total_length(unknown), total_length(lost)
    found = []
    for one in receipts:
        own = sorted(number for number, line in there.items() if line == one.line.line)
        own_refused = sorted(number for number, line in refused.items() if line == one.line.line)
        here, no = len(own), len(own_refused)
        if here + no >= one.count:
            same = here + no == one.count and digest(sorted([*own, *own_refused])) == one.digest
            wrong = 0 if same else min(1, one.count)
            here = min(here, one.count - wrong)
            tally = Counts(one.count, here, one.count - wrong - here, 0, wrong)
            found.append(Reconciliation(one, tally, tuple(lost) if wrong else (), digest_differs=not same))
            continue
        short = one.count - here - no
        missing = min(short, max(lost_count, short - (open_ - lost_count)))
        tally = Counts(one.count, here, no, short - missing, missing)
        found.append(Reconciliation(one, tally, tuple(lost) if missing else ()))
    return found


def gaps_between(numbers: Sequence[int], first: int, last: int) -> list[SeqRange]:
    """The ranges of `first` to `last` that `numbers` (rising, within them) leave out."""
    edges = [first - 1, *numbers, last + 1]
    return [SeqRange(a + 1, b - 1) for a, b in pairwise(edges) if b - a > 1]


def subtract_ranges(spans: Iterable[SeqRange], others: Iterable[SeqRange]) -> list[SeqRange]:
    """The parts of `spans` that no other covers."""
    left = list(spans)
    for other in others:
        cut: list[SeqRange] = []
        for span in left:
            if other.last < span.first or span.last < other.first:
                cut.append(span)
                continue
            if span.first < other.first:
                cut.append(SeqRange(span.first, other.first - 1))
            if other.last < span.last:
                cut.append(SeqRange(other.last + 1, span.last))
        left = cut
    return left


def add_range(ranges: list[SeqRange], span: SeqRange) -> None:
    """Adds the numbers of a span to ranges that are rising and apart from each other, and stay so."""
    start = bisect_left(ranges, span.first - 1, key=lambda one: one.last)
    end = bisect_right(ranges, span.last + 1, key=lambda one: one.first)
    touched = [span, *ranges[start:end]]
    ranges[start:end] = [SeqRange(min(one.first for one in touched), max(one.last for one in touched))]


def covers(ranges: Sequence[SeqRange], span: SeqRange) -> bool:
    """True if all numbers of a span are in ranges as `add_range` keeps them."""
    after = bisect_right(ranges, span.first, key=lambda one: one.first)
    return after > 0 and ranges[after - 1].last >= span.last


def total_length(spans: Iterable[SeqRange]) -> int:
    return sum(span.last - span.first + 1 for span in spans)
