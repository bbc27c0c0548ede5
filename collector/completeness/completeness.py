"""Compares the store with the spools' receipts of the last 30 days: are all results stored, rejected or evicted?

A receipt (the event `manifest`) may come before some of its results. It waits until a grace time has passed and later
results of its spool are stored; then it is a gap. A gap closes when its results come after all. At the start everything
is computed again from the store, so a restart loses nothing. A receipt that an exclusion leaves out promises nothing.
"""

import datetime as dt
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from collector.completeness.reconcile import (
    NOTHING,
    Counts,
    Reconciliation,
    SeqRange,
    SpoolReceipt,
    add_range,
    covers,
    receipt_of,
    reconcile,
)
from collector.ingest.dead_letters import DeadLetters
from collector.metrics import Metrics
from collector.periodic import PeriodicWorker
from collector.store import Store
from collector.store.derived_points import write_own
from collector.store.exclusions import NO_EXCLUSIONS, Exclusions
from collector.store.line_id import LineId
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.row_types import EventRow
from collector.store.rows import columns_of, row_of
from xomnet.registry.registry import Registry
from xomnet.runtime.log import Log

log = Log("collector.completeness.completeness")

DAYS = 30
NEAR = dt.timedelta(hours=36)
"""Results are first searched this near to the receipt: most are there."""
EVER = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC))
MAX_ROUNDS = 500
"""Incomplete rounds checked in one step; the others are checked in the next."""
MAX_UNIT_ROUNDS = 20
"""Rounds of one unit checked in one step. A unit makes one a day; if one sends more, only its own wait for a turn."""
MAX_OPEN_OF_UNIT = 1_000
"""Receipts of a unit that are not settled; more, which a unit makes in no month, are left out."""
MAX_NEW = 100_000


@dataclass(slots=True)
class _Open:
    """A receipt that is not settled: it waits, or it is a gap with its reconciliation."""

    receipt: SpoolReceipt
    since: dt.datetime
    checked_at: dt.datetime | None = None
    gap: Reconciliation | None = None


@dataclass(frozen=True, slots=True)
class LineCompleteness:
    """The last 30 days of a line; `waiting` receipts are not in the tally yet."""

    tally: Counts = NOTHING
    waiting: int = 0
    gaps: tuple[Reconciliation, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletenessSnapshot:
    """Every line that had a receipt, at an instant. A unit's own results are under line ''."""

    at: dt.datetime
    lines: dict[LineId, LineCompleteness]

    def line(self, line: LineId) -> LineCompleteness:
        return self.lines.get(line, LineCompleteness())

    @property
    def ratio(self) -> float | None:
        """The mean over the lines that promised something: a line weighs the same whatever number it claims."""
        ratios = [one.tally.ratio for one in self.lines.values() if one.tally.ratio is not None]
        return math.fsum(ratios) / len(ratios) if ratios else None

    @property
    def missing(self) -> int:
        return sum(one.tally.missing for one in self.lines.values())


class Completeness(PeriodicWorker):
    """Checks every `interval_s`. `latest` is None until the receipts of the last 30 days are read and checked."""

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        dead_letters: DeadLetters,
        metrics: Metrics,
        interval_s: float = 600.0,
        grace: dt.timedelta = dt.timedelta(hours=1),
        exclusions: Callable[[], Exclusions] = lambda: NO_EXCLUSIONS,
    ) -> None:
        super().__init__("completeness", interval_s, self.step, log, "completeness not known")
        self._store, self._registry, self._dead, self._metrics = store, registry, dead_letters, metrics
        self._grace, self._exclusions = grace, exclusions
        self._lock = threading.Lock()
        self._new_receipts: list[SpoolReceipt] = []
        self._edition = dead_letters.edition, 0
        self.latest: CompletenessSnapshot | None = None
        metrics.completeness.set(math.nan)
        self._reset()

    def _reset(self) -> None:
        self._to_read: list[int] | None = None
        self._open: dict[tuple[LineId, str, int], _Open] = {}
        self._open_of_units: Counter[str] = Counter()
        self._settled: dict[tuple[LineId, str], list[SeqRange]] = {}
        self._days: dict[LineId, dict[dt.date, Counts]] = {}
        self._floods: set[str] = set()
        """Units with more open rounds than one step checks of them."""

    def recompute(self) -> None:
        """Computes everything again: what was rejected may be stored now, what counted may be left out. From any
        thread.
        """
        with self._lock:
            self._to_read = None

    def on_stored(self, points: Iterable[Point]) -> None:
        """New results were stored: their receipts are checked next. From any thread."""
        manifests = [point for point in points if point.fields.get("name") == "manifest"]
        counted = [point for point in manifests if self._exclusions().of_point(point) is None]
        found = [receipt for point in counted if (receipt := _receipt_in(point)) is not None]
        with self._lock:
            self._new_receipts += found
            if len(self._new_receipts) > MAX_NEW:
                self._new_receipts.clear()
                self._to_read = None  # they are in the store

    def step(self, now: dt.datetime) -> bool:
        """Reads a day's receipts and checks once; True while a receipt is unchecked. Raises StoreUnavailable."""
        if self._edition != (edition := (self._dead.edition, self._exclusions().version)):
            self._edition = edition
            self.recompute()
        self._admit_new(now)
        self._expire(now)
        rounds: dict[tuple[str, str, SeqRange], list[_Open]] = {}
        for one in sorted(self._open.values(), key=lambda one: one.checked_at or EVER[0]):
            rounds.setdefault((one.receipt.line.agent, one.receipt.spool, one.receipt.span), []).append(one)
        self._check(self._in_turn(list(rounds.values())), now)
        if self._to_read or self._has_unchecked():
            return True
        self.latest = found = self._snapshot(now)
        self._metrics.completeness.set(math.nan if found.ratio is None else found.ratio)
        self._metrics.gap_results.set(found.missing)
        write_own(self._store, _points(self.latest, self._registry()))
        return False

    def _admit_new(self, now: dt.datetime) -> None:
        with self._lock:
            if self._to_read is None:
                self._reset()
                self._to_read = list(range(-1, DAYS))
            seen, self._new_receipts = self._new_receipts, []
            to_read = self._to_read
        for receipt in seen:
            self._admit(receipt, now)
        if not to_read or self._has_unchecked():
            return
        until = now - dt.timedelta(days=to_read[0])
        for line, rows in self._store.events("manifest", until - dt.timedelta(days=1), until).items():
            for row in rows:
                if row.excluded is None and (found := receipt_of(line, row)) is not None:
                    self._admit(found, min(now, row.at))
        to_read.pop(0)

    def _in_turn(self, rounds: Sequence[list[_Open]]) -> list[list[_Open]]:
        """The rounds to check now; notes which units have more than their turn, so that nothing waits for them."""
        taken: Counter[str] = Counter()
        turns: list[tuple[bool, int, list[_Open]]] = []
        for round_ in rounds:
            agent = round_[0].receipt.line.agent
            turns.append((round_[0].checked_at is not None, taken[agent], round_))
            taken[agent] += 1
        self._floods = {agent for agent, count in taken.items() if count > MAX_UNIT_ROUNDS}
        turns.sort(key=lambda one: one[:2])
        return [round_ for _, turn, round_ in turns if turn < MAX_UNIT_ROUNDS][:MAX_ROUNDS]

    def _has_unchecked(self) -> bool:
        open_ = (one for one in self._open.values() if one.checked_at is None)
        return any(one.receipt.line.agent not in self._floods for one in open_)

    def _admit(self, receipt: SpoolReceipt, since: dt.datetime) -> None:
        """Adds a receipt once: a resend, or a receipt that was read before, changes nothing."""
        settled = self._settled.get((receipt.line, receipt.spool), [])
        key = (receipt.line, receipt.spool, receipt.seq)
        if key in self._open or covers(settled, receipt.span):
            return
        if self._open_of_units[receipt.line.agent] >= MAX_OPEN_OF_UNIT:
            log.warning("receipt left out, too many of the unit are open", agent=receipt.line.agent, seq=receipt.seq)
            return
        self._open[key] = _Open(receipt, since)
        self._open_of_units[receipt.line.agent] += 1

    def _expire(self, now: dt.datetime) -> None:
        oldest = now - dt.timedelta(days=DAYS)
        self._open = {key: one for key, one in self._open.items() if one.receipt.at >= oldest}
        self._open_of_units = Counter(one.receipt.line.agent for one in self._open.values())
        for days in self._days.values():
            for day in [day for day in days if day < oldest.date()]:
                del days[day]

    def _check(self, rounds: Sequence[list[_Open]], now: dt.datetime) -> None:
        short: list[list[_Open]] = []
        for round_ in rounds:
            if self._ending.is_set():
                return
            ats = [one.receipt.at for one in round_]
            result = reconcile(
                [o.receipt for o in round_], self._numbers(round_, min(ats) - NEAR, max(ats) + NEAR), {}, ()
            )
            rest = [one for one, account in zip(round_, result, strict=True) if not self._settle(one, account)]
            if rest:
                short.append(rest)
        if not short:
            return
        rejected = self._dead.numbers({(r[0].receipt.line.agent, r[0].receipt.spool) for r in short})
        evicted = cache(self._evicted)
        for round_ in short:
            self._check_everywhere(round_, rejected, evicted, now)

    def _evicted(self, agent: str, spool: str) -> list[SeqRange]:
        ranges: list[SeqRange] = []
        for rows in self._store.events("evicted", *EVER, agent=agent).values():
            for row in (row for row in rows if row.excluded is None):
                if row.spool == spool and row.first_seq and row.last_seq and row.first_seq <= row.last_seq:
                    add_range(ranges, SeqRange(row.first_seq, row.last_seq))
        return ranges

    def _check_everywhere(
        self,
        round_: list[_Open],
        rejected: dict[tuple[str, str], dict[int, str]],
        evicted: Callable[[str, str], list[SeqRange]],
        now: dt.datetime,
    ) -> None:
        """Searches at any time, since a clock may have been wrong, and among rejected and evicted results."""
        first = round_[0].receipt
        agent, spool = first.line.agent, first.spool
        stored = self._numbers(round_, *EVER)
        result = reconcile([o.receipt for o in round_], stored, rejected.get((agent, spool), {}), evicted(agent, spool))
        for one, account in zip(round_, result, strict=True):
            one.checked_at = now
            if self._settle(one, account):
                continue
            if one.gap is not None:
                one.gap = account
            elif now >= one.since + self._grace and self._is_past(one.receipt):
                one.gap = account
                log.error(
                    "results missing",
                    agent=agent,
                    line=one.receipt.line.line,
                    spool=spool,
                    first_seq=one.receipt.span.first,
                    last_seq=one.receipt.span.last,
                    missing=account.tally.missing,
                )

    def _is_past(self, receipt: SpoolReceipt) -> bool:
        """True if results are stored that the unit made a grace time later."""
        later = receipt.at + self._grace
        return bool(self._store.numbers(receipt.line.agent, receipt.spool, receipt.seq + 1, 2**53, later, EVER[1]))

    def _numbers(self, round_: list[_Open], since: dt.datetime, until: dt.datetime) -> dict[int, str]:
        one = round_[0].receipt
        return self._store.numbers(one.line.agent, one.spool, *one.span, since, until)

    def _settle(self, one: _Open, account: Reconciliation) -> bool:
        """Counts a receipt without a missing result and removes it; False if a result is missing."""
        if account.tally.missing:
            return False
        receipt = account.receipt
        key = (receipt.line, receipt.spool)
        add_range(self._settled.setdefault(key, []), receipt.span)
        days = self._days.setdefault(receipt.line, {})
        days[receipt.at.date()] = days.get(receipt.at.date(), NOTHING) + account.tally
        del self._open[self._key(one)]
        if one.gap is not None:
            log.info("gap closed", agent=receipt.line.agent, line=receipt.line.line, spool=receipt.spool)
        return True

    @staticmethod
    def _key(one: _Open) -> tuple[LineId, str, int]:
        return one.receipt.line, one.receipt.spool, one.receipt.seq

    def _snapshot(self, now: dt.datetime) -> CompletenessSnapshot:
        lines = {line: LineCompleteness(sum(days.values(), NOTHING)) for line, days in self._days.items()}
        for one in self._open.values():
            line = lines.get(one.receipt.line, LineCompleteness())
            if one.gap is None:
                line = replace(line, waiting=line.waiting + 1)
            else:
                line = replace(line, tally=line.tally + one.gap.tally, gaps=(*line.gaps, one.gap))
            lines[one.receipt.line] = line
        return CompletenessSnapshot(now, lines)


def _receipt_in(point: Point) -> SpoolReceipt | None:
    row = row_of(EventRow, point.time_ns, {name: point.fields.get(name) for name in columns_of(EventRow)})
    return None if row is None else receipt_of(LineId(point.tags["agent"], point.tags.get("line", "")), row)


def _points(found: CompletenessSnapshot, registry: Registry) -> list[Point]:
    """A point for every registered line that had a receipt; tags as `line_state`."""
    points = []
    for (agent, line), one in found.lines.items():
        row = registry.at(agent, line, found.at) if line else registry.row_of_agent(agent, found.at)
        if row is None:
            continue
        tally = one.tally
        fields: dict[str, Value] = {
            "expected": tally.expected,
            "stored": tally.stored,
            "rejected": tally.rejected,
            "evicted": tally.evicted,
            "missing": tally.missing,
        }
        if tally.ratio is not None:
            fields["ratio"] = tally.ratio
        points.append(Point("completeness", tags_of(row, line or None), fields, time_ns(found.at)))
    return points
