"""Whether the store has what the units' spools took in: every manifest of the last 30 days, looked at until it is
settled.

A manifest may come before some of its results. It waits until a grace time has passed and later results of its spool
are stored, and is a gap then; a gap closes where its results come after all. All of it is worked out anew from the
store at the start, so that nothing is forgotten by a restart.
"""

import datetime as dt
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from collector.completeness.reconcile import (
    NOTHING,
    Counts,
    Reconciliation,
    SeqRange,
    SpoolReceipt,
    joined,
    receipt_of,
    reconcile,
    without,
)
from collector.ingest.dead_letters import DeadLetters
from collector.metrics import Metrics
from collector.periodic import PeriodicWorker
from collector.store import Store
from collector.store.derived_points import write_own
from collector.store.line_id import LineId
from collector.store.points import Point, Value, tags_of, time_ns
from collector.store.row_types import EventRow
from collector.store.rows import columns_of, row_of
from xomnet.registry.registry import Registry
from xomnet.runtime.log import Log

log = Log("collector.completeness.completeness")

DAYS = 30
NEAR = dt.timedelta(hours=36)
"""Around its manifest a result is looked for first; most are there."""
EVER = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC))
MAX_ROUNDS = 500
"""Incomplete rounds looked at in one go; the others have their turn next time."""
MAX_SEEN = 100_000


@dataclass(slots=True)
class _Open:
    """A manifest that is not settled: it waits, or is a gap with its account."""

    manifest: SpoolReceipt
    since: dt.datetime
    looked_at: dt.datetime | None = None
    gap: Reconciliation | None = None


@dataclass(frozen=True, slots=True)
class LineCompleteness:
    """Of one line in the last 30 days; `waiting` manifests are not in the tally yet."""

    tally: Counts = NOTHING
    waiting: int = 0
    gaps: tuple[Reconciliation, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of every line that had a manifest, at an instant. A unit's own results are under line ''."""

    at: dt.datetime
    lines: dict[LineId, LineCompleteness]

    def line(self, line: LineId) -> LineCompleteness:
        return self.lines.get(line, LineCompleteness())

    def total(self) -> Counts:
        return sum((one.tally for one in self.lines.values()), NOTHING)


class Completeness(PeriodicWorker):
    """Looks every `interval_s`. `latest` is None until the manifests of the last 30 days were read and looked at."""

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        dead_letters: DeadLetters,
        metrics: Metrics,
        interval_s: float = 600.0,
        grace: dt.timedelta = dt.timedelta(hours=1),
    ) -> None:
        super().__init__("completeness", interval_s, self.take, log, "completeness not known")
        self._store, self._registry, self._dead, self._metrics = store, registry, dead_letters, metrics
        self._grace = grace
        self._lock = threading.Lock()
        self._seen: list[SpoolReceipt] = []
        self._edition = dead_letters.edition
        self.latest: Found | None = None
        metrics.completeness.set(math.nan)
        self._forget()

    def _forget(self) -> None:
        self._to_read: list[int] | None = None
        self._open: dict[tuple[LineId, str, int], _Open] = {}
        self._settled: dict[tuple[LineId, str], list[SeqRange]] = {}
        self._days: dict[LineId, dict[dt.date, Counts]] = {}

    def again(self) -> None:
        """Works everything out anew: what was rejected may be stored now. From any thread."""
        with self._lock:
            self._to_read = None

    def on_stored(self, points: Iterable[Point]) -> None:
        """New results were stored: their manifests are looked at next. From any thread."""
        found = [m for p in points if p.fields.get("name") == "manifest" and (m := _manifest_in(p)) is not None]
        with self._lock:
            self._seen += found
            if len(self._seen) > MAX_SEEN:
                self._seen.clear()
                self._to_read = None  # they are in the store

    def take(self, now: dt.datetime) -> bool:
        """Reads a day and looks once; True while some manifest was not looked at yet. Raises StoreUnavailable."""
        if self._edition != (edition := self._dead.edition):
            self._edition = edition
            self.again()
        self._admit_new(now)
        self._expire(now)
        rounds: dict[tuple[str, str, SeqRange], list[_Open]] = {}
        for one in sorted(self._open.values(), key=lambda one: one.looked_at or EVER[0]):
            rounds.setdefault((one.manifest.line.agent, one.manifest.spool, one.manifest.span), []).append(one)
        self._look(list(rounds.values())[:MAX_ROUNDS], now)
        if self._to_read or self._unlooked():
            return True
        self.latest = self._found(now)
        total = self.latest.total()
        self._metrics.completeness.set(math.nan if total.ratio is None else total.ratio)
        self._metrics.gap_results.set(total.missing)
        write_own(self._store, _points(self.latest, self._registry()))
        return False

    def _admit_new(self, now: dt.datetime) -> None:
        with self._lock:
            if self._to_read is None:
                self._forget()
                self._to_read = list(range(-1, DAYS))
            seen, self._seen = self._seen, []
            to_read = self._to_read
        for manifest in seen:
            self._admit(manifest, now)
        if not to_read or self._unlooked():
            return
        until = now - dt.timedelta(days=to_read[0])
        for line, rows in self._store.events("manifest", until - dt.timedelta(days=1), until).items():
            for row in rows:
                if (found := receipt_of(line, row)) is not None:
                    self._admit(found, min(now, row.at))
        to_read.pop(0)

    def _unlooked(self) -> bool:
        return any(one.looked_at is None for one in self._open.values())

    def _admit(self, manifest: SpoolReceipt, since: dt.datetime) -> None:
        """Takes a manifest up, once: a resend or one that was read already is in there."""
        settled = self._settled.get((manifest.line, manifest.spool), ())
        if without([manifest.span], settled):
            self._open.setdefault((manifest.line, manifest.spool, manifest.seq), _Open(manifest, since))

    def _expire(self, now: dt.datetime) -> None:
        oldest = now - dt.timedelta(days=DAYS)
        self._open = {key: one for key, one in self._open.items() if one.manifest.at >= oldest}
        for days in self._days.values():
            for day in [day for day in days if day < oldest.date()]:
                del days[day]

    def _look(self, rounds: Sequence[list[_Open]], now: dt.datetime) -> None:
        short: list[list[_Open]] = []
        for round_ in rounds:
            if self._ending.is_set():
                return
            ats = [one.manifest.at for one in round_]
            result = reconcile(
                [o.manifest for o in round_], self._numbers(round_, min(ats) - NEAR, max(ats) + NEAR), {}, ()
            )
            rest = [one for one, account in zip(round_, result, strict=True) if not self._settle(one, account)]
            if rest:
                short.append(rest)
        if not short:
            return
        rejected = self._dead.numbers({(r[0].manifest.line.agent, r[0].manifest.spool) for r in short})
        for round_ in short:
            self._look_everywhere(round_, rejected, now)

    def _look_everywhere(
        self, round_: list[_Open], rejected: dict[tuple[str, str], dict[int, str]], now: dt.datetime
    ) -> None:
        """At any time, since a clock may have been wrong, and among what was rejected and evicted."""
        first = round_[0].manifest
        agent, spool = first.line.agent, first.spool
        gone = [
            SeqRange(row.first_seq, row.last_seq)
            for rows in self._store.events("evicted", *EVER, agent=agent).values()
            for row in rows
            if row.spool == spool and row.first_seq is not None and row.last_seq is not None
        ]
        stored = self._numbers(round_, *EVER)
        result = reconcile([o.manifest for o in round_], stored, rejected.get((agent, spool), {}), gone)
        for one, account in zip(round_, result, strict=True):
            one.looked_at = now
            if self._settle(one, account):
                continue
            if one.gap is not None:
                one.gap = account
            elif now >= one.since + self._grace and self._is_past(one.manifest):
                one.gap = account
                log.error(
                    "results missing",
                    agent=agent,
                    line=one.manifest.line.line,
                    spool=spool,
                    first_seq=one.manifest.span.first,
                    last_seq=one.manifest.span.last,
                    missing=account.tally.missing,
                )

    def _is_past(self, manifest: SpoolReceipt) -> bool:
        """True where the unit has gone on: results of a grace time later are stored."""
        later = manifest.at + self._grace
        return bool(self._store.numbers(manifest.line.agent, manifest.spool, manifest.seq + 1, 2**53, later, EVER[1]))

    def _numbers(self, round_: list[_Open], since: dt.datetime, until: dt.datetime) -> dict[int, str]:
        one = round_[0].manifest
        return self._store.numbers(one.line.agent, one.spool, *one.span, since, until)

    def _settle(self, one: _Open, account: Reconciliation) -> bool:
        """Counts a manifest of which nothing is missing, and lets go of it."""
        if account.tally.missing:
            return False
        manifest = account.manifest
        key = (manifest.line, manifest.spool)
        self._settled[key] = joined([*self._settled.get(key, ()), manifest.span])
        days = self._days.setdefault(manifest.line, {})
        days[manifest.at.date()] = days.get(manifest.at.date(), NOTHING) + account.tally
        del self._open[self._key(one)]
        if one.gap is not None:
            log.info("gap closed", agent=manifest.line.agent, line=manifest.line.line, spool=manifest.spool)
        return True

    @staticmethod
    def _key(one: _Open) -> tuple[LineId, str, int]:
        return one.manifest.line, one.manifest.spool, one.manifest.seq

    def _found(self, now: dt.datetime) -> Found:
        lines = {line: LineCompleteness(sum(days.values(), NOTHING)) for line, days in self._days.items()}
        for one in self._open.values():
            line = lines.get(one.manifest.line, LineCompleteness())
            if one.gap is None:
                line = replace(line, waiting=line.waiting + 1)
            else:
                line = replace(line, tally=line.tally + one.gap.tally, gaps=(*line.gaps, one.gap))
            lines[one.manifest.line] = line
        return Found(now, lines)


def _manifest_in(point: Point) -> SpoolReceipt | None:
    row = row_of(EventRow, point.time_ns, {name: point.fields.get(name) for name in columns_of(EventRow)})
    return None if row is None else receipt_of(LineId(point.tags["agent"], point.tags.get("line", "")), row)


def _points(found: Found, registry: Registry) -> list[Point]:
    """A point for every line that is registered and had a manifest; tags as `line_state`."""
    points = []
    for (agent, line), one in found.lines.items():
        row = registry.at(agent, line, found.at) if line else registry.of_agent(agent, found.at)
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
