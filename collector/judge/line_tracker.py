"""Keeps every line's detector state and the tests of its window between two snapshots.

A line's history is read again if a result of it was stored or an exclusion names it, and otherwise within the hour,
since another process may have written (`xomnet collector resend`, a second collector). So a minute reads only the lines
that changed. The first update of a process reads only the window if the checkpoint is less than an hour old.
"""

import datetime as dt
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from pathlib import Path

from collector.judge import checkpoint
from collector.judge.assess import MAX_TESTS, Judgement, JudgingRules, detect_state, judge
from collector.judge.change_detector import DetectorState
from collector.judge.checkpoint import Checkpoint
from collector.store import Store
from collector.store.exclusions import NO_EXCLUSIONS, Exclusion, Exclusions
from collector.store.line_id import LineId
from collector.store.points import EPOCH, Point, when
from collector.store.row_types import Sample
from xomnet.registry.registry import LineRow

READ_AGAIN_AFTER = dt.timedelta(hours=1)
MIN_LINES = 100
"""Lines read again in one update at least, so that a small province is always read whole."""
LINES_A_QUERY = 50
"""Lines named in one query: with the longest names some 6 kB, where a proxy before the database takes 8."""
SAVE_EVERY = dt.timedelta(minutes=10)
SLICE = dt.timedelta(hours=6)
"""The part of the window that one query reads of all lines: some 20,000 tests of 10,000 lines."""
LOOK_BACK = dt.timedelta(days=35)
"""How far back the last result is looked for of all lines at once; of the few that have none since, at any time."""


@dataclass(frozen=True, slots=True)
class _LineHistory:
    """A line as it was read; an equal `key` means that another reading found the same tests and target."""

    at: dt.datetime
    key: tuple[int, float]
    state: DetectorState
    recent: tuple[Sample, ...]


class LineTracker:
    """The lines of a store. `on_stored` is for any thread, the rest for one. `file` is the checkpoint, if given.

    The time of a line's last result is never forgotten, even if the line leaves the registry: if it comes back, it is
    silent and not without data. Only an exclusion makes it be looked for again.
    """

    def __init__(
        self,
        store: Store,
        rules: JudgingRules,
        file: Path | None = None,
        exclusions: Callable[[], Exclusions] = lambda: NO_EXCLUSIONS,
    ) -> None:
        self._store, self._rules, self._file = store, rules, file
        self._exclusions = exclusions
        self._entries_seen = 0
        self._saved_at: dt.datetime | None = None
        self._lock = threading.Lock()
        self._changed: set[LineId] = set()
        self._last: dict[LineId, dt.datetime] = {}
        self._lines: dict[LineId, _LineHistory] = {}
        self._judged: dict[LineId, tuple[object, Judgement]] = {}  # with all that it follows from
        self._is_loaded = False

    def on_stored(self, points: Iterable[Point]) -> None:
        """New results were stored: their lines are read at the next update."""
        with self._lock:
            exclusions = self._exclusions()
            for point in points:
                if point.measurement in ("speed", "latency"):
                    line, at = LineId(point.tags["agent"], point.tags["line"]), when(point.time_ns)
                    if exclusions.of_point(point) is None:
                        self._last[line] = max(at, self._last.get(line, at))
                    if point.measurement == "speed":
                        self._changed.add(line)

    def update(self, targets: Mapping[LineId, float], now: dt.datetime) -> None:
        """Reads what is new of the lines with these targets (Mb/s); forgets the states of all others. Raises
        StoreUnavailable.
        """
        if not self._is_loaded:
            self._load_checkpoint(now)
        self._forget_excluded()
        last = self._store.last_results(now - (READ_AGAIN_AFTER if self._is_loaded else LOOK_BACK))
        self._update_last(last)
        with self._lock:
            changed, self._changed = self._changed & targets.keys(), set()
        self._lines = {line: read for line, read in self._lines.items() if line in targets}
        self._judged = {line: judged for line, judged in self._judged.items() if line in targets}
        due = iter(self._due(targets, changed, now))
        try:
            while lines := list(islice(due, LINES_A_QUERY)):
                self._read_lines(lines, targets, now)
                changed.difference_update(lines)
        finally:
            with self._lock:
                self._changed |= changed
        self._is_loaded = True
        if self._saved_at is None or now - self._saved_at >= SAVE_EVERY:
            self.save_checkpoint(now)

    def save_checkpoint(self, now: dt.datetime) -> None:
        """Writes the states to the file, without those of lines that have a stored result not read yet."""
        if self._file is None or not self._is_loaded:
            return
        with self._lock:
            changed, last = set(self._changed), dict(self._last)
        known = ((line, read) for line, read in self._lines.items() if line not in changed)
        checkpoints = (Checkpoint(*line, read.at, read.key[1], read.state) for line, read in known)
        checkpoint.save(self._file, checkpoints, last, self._rules, self._entries_seen)
        self._saved_at = now

    def _load_checkpoint(self, now: dt.datetime) -> None:
        """Takes the times of last results from the file, and the states of lines that were not tested since. Raises
        StoreUnavailable.
        """
        if self._file is None or self._lines:
            return
        content = checkpoint.load(self._file, self._rules)
        self._entries_seen = content.exclusions
        self._update_last(content.last_results)
        good = [one for one in content.checkpoints if now - READ_AGAIN_AFTER < one.at <= now]
        if not good:
            return
        recent = self._read_window(now)
        for one in good:
            samples = tuple(recent.get(one.id, ()))
            if not samples or samples[-1].at <= one.at:
                self._lines[one.id] = _LineHistory(one.at, (0, one.target_mbps), one.state, samples)

    def _forget_excluded(self) -> None:
        """Forgets the lines that new entries name: they are read again. Raises StoreUnavailable."""
        exclusions = self._exclusions()
        if new := exclusions.after(self._entries_seen):
            self._lines = {line: read for line, read in self._lines.items() if not _is_named(line, read.recent, new)}
            with self._lock:
                named = iter([line for line in self._last if any(one.is_of(line) for one in new)])
            while lines := list(islice(named, LINES_A_QUERY)):
                last = self._store.last_results(EPOCH, lines)
                with self._lock:
                    self._last = {line: at for line, at in self._last.items() if line not in lines} | last
        self._entries_seen = exclusions.version

    def _read_window(self, now: dt.datetime) -> Mapping[LineId, Collection[Sample]]:
        """The tests of the window, of all lines."""
        found: dict[LineId, deque[Sample]] = {}
        since = now - self._rules.window
        while since < now:
            until = min(since + SLICE, now)
            for line, samples in self._store.samples(since, until, latest=MAX_TESTS).items():
                found.setdefault(line, deque(maxlen=MAX_TESTS)).extend(samples)
            since = until
        return found

    def _update_last(self, last: Mapping[LineId, dt.datetime]) -> None:
        """Updates the times of last results; earlier ones change nothing."""
        with self._lock:
            for line, at in last.items():
                self._last[line] = max(at, self._last.get(line, at))

    def judgement(
        self, row: LineRow, target_mbps: float, now: dt.datetime, registered_since: dt.datetime | None = None
    ) -> tuple[Judgement, tuple[Sample, ...]]:
        """The judgement of a line that was updated, and the tests of its window. `registered_since`: from when on a
        result was to be expected.
        """
        line = LineId.of(row)
        read = self._lines[line]
        oldest = now - self._rules.window
        window = tuple(s for s in read.recent if oldest <= s.at <= now)
        last = self._last.get(line)
        silent = last is None or now - last > self._rules.silent_after
        same = (read.state, window, last, silent, row.plan_mbps, target_mbps, registered_since)
        before = self._judged.get(line)
        if before is None or before[0] != same:
            judged = judge(window, target_mbps, now, last, row.plan_mbps, self._rules, read.state, registered_since)
            before = same, judged
            self._judged[line] = before
        return before[1], window

    def _due(self, targets: Mapping[LineId, float], changed: set[LineId], now: dt.datetime) -> list[LineId]:
        """The lines to read: those that are new, changed or have another target, and those read longest ago."""
        must = {
            line
            for line, target in targets.items()
            if line in changed or (read := self._lines.get(line)) is None or read.key[1] != target
        }
        others = [line for line in targets if line not in must]
        oldest = nsmallest(self._reread_count(len(targets), now), others, key=lambda line: self._lines[line].at)
        return [*must, *oldest]

    def _reread_count(self, lines: int, now: dt.datetime) -> int:
        """How many unchanged lines to read again, so that all are read within the hour."""
        if not self._lines:
            return 0
        since = now - max(read.at for read in self._lines.values())
        return max(MIN_LINES, math.ceil(lines * (since / READ_AGAIN_AFTER)))

    def _read_lines(self, lines: Sequence[LineId], targets: Mapping[LineId, float], now: dt.datetime) -> None:
        """Reads the history of some lines. Raises StoreUnavailable."""
        found = self._store.samples(now - self._rules.history, now, lines, MAX_TESTS)
        counted = {line: [s.at for s in samples if s.excluded is None] for line, samples in found.items()}
        self._update_last({line: ats[-1] for line, ats in counted.items() if ats})
        self._update_last(self._store.last_results(EPOCH, [line for line in lines if line not in self._last]))
        for line in lines:
            samples, target = found.get(line, []), targets[line]
            key = hash(tuple(samples)), target
            before = self._lines.get(line)
            same = before is not None and before.key == key
            state = before.state if before is not None and same else detect_state(samples, target, self._rules)
            recent = tuple(s for s in samples if s.at >= now - self._rules.window)
            self._lines[line] = _LineHistory(now, key, state, recent)


def _is_named(line: LineId, window: Iterable[Sample], entries: Iterable[Exclusion]) -> bool:
    """True if an entry speaks of a line, or of a server from which it has a test in the window."""
    servers = {sample.server for sample in window}
    return any(one.is_of(line, one.server if one.server in servers else None) for one in entries)
