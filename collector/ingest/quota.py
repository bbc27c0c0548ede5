"""What a unit may bring in a day, so that a stolen key fills no disk and an honest backlog loses nothing.

A result counts on the day on which it was measured: a line may have MARGIN times what is usual in a day, and more of
that day is rejected. In a day of receipt a unit may bring DAYS such days, of at most MAX_DATES dates, and `mb_per_day`;
the rest waits on the unit until the next day (UTC), as what is rejected beyond REJECTIONS does. The counts of measured
days older than DAYS last until the day of receipt ends.

The counts are in a file, so that a restart gives no fresh quota. What is lost with a crash is the batch in hand.
"""

import datetime as dt
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from collector.ingest.validate import Accepted
from collector.settings import QuotaSettings
from collector.store.errors import StoreUnavailable
from collector.store.points import Point, when
from xomnet.contract.messages import Access
from xomnet.plan import tests_a_day
from xomnet.runtime.atomic_file import set_aside
from xomnet.runtime.log import Log

log = Log("collector.ingest.quota")

MARGIN = 20
DAYS = 31
MAX_DATES = 200
"""Each date that results are of has hours and a day to compute: more than a full spool has."""
MANIFESTS = 5
"""A line, and the unit itself, has one a day; and one more after 5,000 results."""
REJECTIONS, REJECTED_BYTES = 2_000, 4_000_000
"""In a day of receipt."""
RECENT = 128
"""Results of a unit that are remembered as counted: twice what it has under way."""
MAX_AGENTS, MAX_COUNTS = 20_000, 200_000
"""Held in memory; the file has the others."""

Verdict = Literal["admit", "reject", "wait"]

TABLE = """
CREATE TABLE IF NOT EXISTS counts (agent TEXT, basis TEXT, day INTEGER, what TEXT, amount INTEGER NOT NULL,
  PRIMARY KEY (agent, basis, day, what)) STRICT, WITHOUT ROWID
"""


class CountKey(NamedTuple):
    """`day` is the number of a day (UTC) on which results were measured or received, as `basis` says."""

    agent: str
    basis: Literal["measured", "received"]
    day: int
    what: str


class DayLimit(NamedTuple):
    what: str
    limit: int


def limit_of(point: Point, quota: QuotaSettings) -> DayLimit:
    """What a result counts as, and how many of that a measured day may have."""
    kind, line = point.measurement, point.tags.get("line", "")
    if kind == "speed":
        access: Access = "mobile" if point.tags.get("access") == "mobile" else "fixed"
        limit = MARGIN * (quota.tests_per_day or tests_a_day(access))
    elif kind in ("latency", "health"):
        limit = MARGIN * quota.probes_per_day
    elif point.fields.get("name") == "manifest":
        kind, limit = "manifest", MARGIN * MANIFESTS
    else:
        limit = MARGIN * quota.events_per_day
    return DayLimit(f"{kind}/{line}" if line else kind, limit)


class Quota:
    """For the intake's worker, but for `exceeded_units`. `on_exceeded(agent, reason)` is called once a day for a unit.

    Without a `path` the counts are in memory alone. So are those that the disk refuses to take, which is logged.
    """

    def __init__(
        self,
        settings: QuotaSettings,
        path: Path | None = None,
        on_exceeded: Callable[[str, str], None] = lambda _agent, _reason: None,
    ) -> None:
        self.settings, self._on_exceeded = settings, on_exceeded
        self._max_bytes = int(settings.mb_per_day * 1e6)
        self._lock = threading.Lock()
        self._db = _open(path)
        self._counts: OrderedDict[CountKey, int] = OrderedDict()
        self._unsaved: set[CountKey] = set()
        self._recent: OrderedDict[str, deque[int]] = OrderedDict()
        self._today = 0
        self.exceeded_units = 0
        """How many units went beyond their quota in this day of receipt."""

    def admit(self, one: Accepted, size: int, now: dt.datetime) -> tuple[Verdict, str]:
        """What is to become of a result of `size` bytes, and why. One that was counted lately is not counted again."""
        self._begin_day(now)
        agent, (what, limit) = one.id.agent, limit_of(one.point, self.settings)
        if self._is_recent(one, what):
            return "admit", ""
        day = when(one.point.time_ns).date()
        measured = CountKey(agent, "measured", day.toordinal(), what)
        seen = measured._replace(what="results")
        received, size_key, dates = (self._received(agent, name) for name in (what, "bytes", "dates"))
        if self._count(measured) >= limit:
            reason = f"{limit} of {what} measured on {day} are stored, more than a unit makes in a day; see quota"
            self._note_exceeded(agent, reason)
            return "reject", reason
        if self._count(received) >= DAYS * limit:
            return self._wait(agent, f"{DAYS * limit} of {what}")
        if self._count(size_key) + size > self._max_bytes:
            return self._wait(agent, f"{self.settings.mb_per_day:g} MB (quota.mb_per_day)")
        if not self._count(seen):
            if self._count(dates) >= MAX_DATES:
                return self._wait(agent, f"results of {MAX_DATES} days")
            self._add(dates, 1)
        for key in (measured, seen, received):
            self._add(key, 1)
        self._add(size_key, size)
        self._remember(one, what)
        return "admit", ""

    def has_rejections_left(self, agent: str, now: dt.datetime) -> bool:
        self._begin_day(now)
        number, size = self._received(agent, "rejected"), self._received(agent, "rejected_bytes")
        return self._count(number) < REJECTIONS and self._count(size) < REJECTED_BYTES

    def digest_of(self, one: Accepted) -> int:
        """By which a result that was counted is known."""
        return _digest(one, limit_of(one.point, self.settings).what)

    def admit_rejection(self, agent: str, size: int, now: dt.datetime) -> bool:
        """Whether a message may be rejected and kept; else it waits."""
        if not self.has_rejections_left(agent, now):
            self._wait(agent, f"{REJECTIONS} rejected messages, or {REJECTED_BYTES / 1e6:g} MB of them")
            return False
        self._add(self._received(agent, "rejected"), 1)
        self._add(self._received(agent, "rejected_bytes"), size)
        return True

    def note_flood(self, agent: str, now: dt.datetime) -> None:
        """A unit sends far too fast."""
        self._begin_day(now)
        self._note_exceeded(agent, "messages come without end, and too fast to be read")
        self.save()

    def save(self) -> None:
        """Writes what has changed."""
        if not self._unsaved:
            return
        rows = [(*key, self._counts[key]) for key in self._unsaved]
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            log.error("quota not saved", reason=str(error))
            return
        self._unsaved.clear()
        while len(self._counts) > MAX_COUNTS:
            self._counts.popitem(last=False)

    def close(self) -> None:
        self.save()
        with self._lock:
            self._db.close()

    def _wait(self, agent: str, what: str) -> tuple[Verdict, str]:
        reason = f"{what} came in a day, more than a unit brings; the rest waits"
        self._note_exceeded(agent, reason)
        return "wait", reason

    def _note_exceeded(self, agent: str, reason: str) -> None:
        key = self._received(agent, "exceeded")
        if self._count(key):
            return
        self._add(key, 1)
        self.exceeded_units += 1
        log.error("quota exceeded", agent=agent, reason=reason)
        self._on_exceeded(agent, reason)

    def _begin_day(self, now: dt.datetime) -> None:
        """Forgets what no longer counts, once a day of receipt."""
        today = now.astimezone(dt.UTC).date().toordinal()
        if today == self._today:
            return
        self._today = today
        self.save()
        self._counts.clear()
        self._unsaved.clear()
        try:
            with self._lock, self._db:
                over = "basis = 'received' AND day <> ? OR basis = 'measured' AND day < ?"
                self._db.execute(f"DELETE FROM counts WHERE {over}", (today, today - DAYS))  # noqa: S608  # no value
                exceeded = "SELECT count(*) FROM counts WHERE basis = 'received' AND what = 'exceeded'"
                self.exceeded_units = self._db.execute(exceeded).fetchone()[0]
        except sqlite3.Error as error:
            log.error("quota not read", reason=str(error))

    def _received(self, agent: str, what: str) -> CountKey:
        return CountKey(agent, "received", self._today, what)

    def _count(self, key: CountKey) -> int:
        amount = self._counts.get(key)
        if amount is not None:
            self._counts.move_to_end(key)
            return amount
        amount = 0
        with suppress(sqlite3.Error), self._lock:
            ask = "SELECT amount FROM counts WHERE agent = ? AND basis = ? AND day = ? AND what = ?"
            found = self._db.execute(ask, key).fetchone()
            amount = 0 if found is None else found[0]
        self._counts[key] = amount
        return amount

    def _add(self, key: CountKey, amount: int) -> None:
        self._counts[key] = self._count(key) + amount
        self._unsaved.add(key)

    def _is_recent(self, one: Accepted, what: str) -> bool:
        recent = self._recent.get(one.id.agent)
        return recent is not None and _digest(one, what) in recent

    def _remember(self, one: Accepted, what: str) -> None:
        recent = self._recent.setdefault(one.id.agent, deque(maxlen=RECENT))
        self._recent.move_to_end(one.id.agent)
        recent.append(_digest(one, what))
        if len(self._recent) > MAX_AGENTS:
            self._recent.popitem(last=False)


def _digest(one: Accepted, what: str) -> int:
    """Of all that makes a point another one; of a text, so that it is salted: nobody can make two look like one."""
    return hash(f"{one.point.fields['spool']}/{one.id.seq}/{one.point.time_ns}/{what}")


def _open(path: Path | None) -> sqlite3.Connection:
    """A damaged file is set aside. Raises StoreUnavailable."""
    try:
        return _connect(path)
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        if path is None:
            raise
        log.error("damaged quota set aside", reason=str(error), kept=str(set_aside(path)))
        return _connect(path)


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=5.0)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(TABLE)
    return db
