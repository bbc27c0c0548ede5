"""Results on disk until the collector has acknowledged them.

A result is promised from the moment `commit` returns (WAL, synchronous=FULL). Its time is frozen in its row before the
first publish and its data are stored as the bytes that go out, so that a resend is the same bytes. Only an
acknowledgement, or an eviction that is itself recorded and reported, takes a result out.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from agent.clock.clock import ClockReading
from agent.clock.timestamps import Reference, Times, date, micros, of_kernel, read_times
from agent.delivery.receipt import MAX_ROWS, spool_receipts
from agent.delivery.spool_file import (
    SpoolError,
    begin_boot,
    disk_error,
    get,
    is_damage,
    last_seq,
    name_of,
    open_file,
    put,
    set_aside,
)
from agent.delivery.spool_rows import SpoolRow, delete, freeze, insert, is_intact, message, oldest, undated
from xomnet.contract.messages import KIND_OF, MAX_PAYLOAD_BYTES, Data, Event
from xomnet.runtime import failpoints
from xomnet.runtime.log import Log

log = Log("agent.delivery.spool")

__all__ = ["Pending", "Spool", "SpoolError"]

ROW_OVERHEAD_BYTES = 250
ENVELOPE_BYTES = 512
LOCK_S = 5.0
MAX_ANSWERED = 64


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that waits for its acknowledgement, as it goes out."""

    seq: int
    payload: bytes


class Spool:
    """One unit's results. Every method may be called from any thread, and raises SpoolError where the disk refuses.

    `max_bytes` bounds the payloads held; past it the oldest go, and an `evicted` event says which. `machine` names the
    machine, so that a copy of the file on another one is known for what it is; None: it is not looked at.
    """

    def __init__(
        self, path: Path, agent: str, boot: UUID, max_bytes: int = 100_000_000, machine: str | None = None
    ) -> None:
        self._path, self._agent, self.boot, self._max_bytes, self._machine = path, agent, boot, max_bytes, machine
        self._lock = threading.RLock()
        self._call_back: Callable[[], None] = lambda: None
        self._news: list[Event] = []
        self._answered: set[tuple[int, str]] = set()
        self._begun = False
        self._open()
        with suppress(SpoolError), self._transaction():  # on a full disk the first commit does it
            pass
        self.first_seq = last_seq(self._db) + 1
        """Results from this number on were committed by this process, and sent by no other."""

    def _open(self) -> None:
        self._db, aside = open_file(self._path, self.boot, self._machine)
        if aside is not None:
            self._news.append(Event(name="spool_reset", detail=aside[:512]))
        self._load()

    def _load(self) -> None:
        self.id = name_of(self._db)
        self.times: Times = read_times(get(self._db, "times"))
        size = "SELECT coalesce(sum(length(data) + ?), 0) FROM results"
        self._bytes: int = self._db.execute(size, (ROW_OVERHEAD_BYTES,)).fetchone()[0]

    @contextmanager
    def _transaction(self, reads: bool = False) -> Iterator[None]:
        """All of it or nothing; the first that writes is preceded by what a boot begins with.

        Raises SpoolError. A file that turns out to be damaged is set aside then, and a new one takes its place.
        """
        with self._lock:
            try:
                if not (self._begun or reads):
                    self._begin()
                with self._db:
                    yield
            except sqlite3.Error as error:
                if is_damage(error):
                    self._begin_anew(str(error))
                raise disk_error(self._path, error) from error

    def _begin(self) -> None:
        with self._db:
            copied = begin_boot(self._db, self.boot, self._machine)
        if copied is not None:
            self._load()
            detail = f"from another machine, as spool {copied.before}; {copied.dropped} results without a time dropped"
            self._news.append(Event(name="spool_cloned", detail=detail, count=copied.dropped))
            log.error("spool of another machine", before=copied.before, now=self.id, dropped=copied.dropped)
        self._begun = True

    def _begin_anew(self, reason: str) -> None:
        self._db.close()
        self._begun = False
        try:
            self._news.append(Event(name="spool_reset", detail=set_aside(self._path, reason)[:512]))
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._open()

    def take_news(self) -> list[Event]:
        """What befell the file since this was asked last: `spool_reset`, `spool_cloned`. Not in the spool yet."""
        news, self._news = self._news, []
        return news

    def on_commit(self, call: Callable[[], None]) -> None:
        """Calls back after every commit, so that the uplink need not poll."""
        self._call_back = call

    def commit(
        self, data: Data, line: str | None, taken: ClockReading, error_s: float | None = None, over: str | None = None
    ) -> int:
        """Promises a result and returns its sequence number.

        `error_s`: its time is final, and may be so far off. `over`: what was kept under this key is forgotten.
        """
        body = msgspec.json.encode(data)
        if len(body) > MAX_PAYLOAD_BYTES - ENVELOPE_BYTES:
            raise SpoolError(f"a {KIND_OF[type(data)]} result of {len(body)} bytes is over the contract's bound")
        with self._lock:
            if taken.synced and error_s is None:
                self.learn(of_kernel(taken))
            with self._transaction():  # an eviction, its note and what it made room for: together or not at all
                freed = delete(self._db, self._answered, ROW_OVERHEAD_BYTES)
                freed += self._make_room(len(body) + ROW_OVERHEAD_BYTES - freed, taken)
                seq = self._insert(data, body, line, taken, error_s)
                if over is not None:
                    put(self._db, f"kept/{over}", None)
                failpoints.at("spool.inserted")
            failpoints.at("spool.committed")
            self._answered.clear()
            self._bytes += len(body) + ROW_OVERHEAD_BYTES - freed
        self._call_back()
        return seq

    def _insert(
        self, data: Data, body: bytes, line: str | None, taken: ClockReading, off_s: float | None = None
    ) -> int:
        boot, not_before_us = str(self.boot), None
        clock = "estimated" if off_s is not None else "synced" if taken.synced else None
        if clock is None and (latest_us := self.times.latest_us(but=boot)) is not None:
            not_before_us = latest_us + taken.boot_ns // 1000
        now = (boot, taken.boot_ns, micros(taken.wall), clock, off_s)
        return insert(self._db, SpoolRow(KIND_OF[type(data)], line, *now, body, str(self.id), not_before_us))

    def _make_room(self, needed: int, taken: ClockReading) -> int:
        """Evicts the oldest where `needed` bytes do not fit, and notes which; returns by how much that shrinks."""
        if self._bytes + needed <= self._max_bytes:
            return 0
        gone, freed, first = oldest(self._db, self._bytes + needed - self._max_bytes * 0.9, ROW_OVERHEAD_BYTES)
        if not gone:
            return 0
        log.warning("spool full, oldest evicted", first_seq=first, last_seq=gone[-1], results=len(gone))
        freed -= self._evict(gone, first, f"{len(gone)} results, spool full", taken)
        failpoints.at("spool.evicted")
        return freed

    def _evict(self, seqs: list[int], first: int, why: str, taken: ClockReading) -> int:
        """Takes results out and notes it; returns the bytes of the note."""
        self._db.executemany("DELETE FROM results WHERE seq=?", [(seq,) for seq in seqs])
        event = Event(name="evicted", detail=why, first_seq=first, last_seq=seqs[-1], count=len(seqs))
        body = msgspec.json.encode(event)
        self._insert(event, body, None, taken)
        return len(body) + ROW_OVERHEAD_BYTES

    def pending(self, limit: int, now: ClockReading, hold_s: float, skip: Iterable[int] = ()) -> list[Pending]:
        """The oldest results that can be published now, but for those in `skip`.

        A result taken under an unsynchronised clock waits until its time is known, or for `hold_s` (`dating.date`).
        """
        skipped, found, damaged = set(skip), [], []
        with self._lock:
            with self._transaction(reads=True):
                ask = "SELECT * FROM results ORDER BY seq LIMIT ?"
                rows = self._db.execute(ask, (limit + len(skipped) + len(self._answered),)).fetchall()
            for row in rows:
                if (row["seq"], row["spool"]) in self._answered:
                    continue
                if not is_intact(row):
                    damaged.append(row["seq"])
                elif row["seq"] not in skipped and (payload := self._payload(row, now, hold_s)):
                    found.append(Pending(row["seq"], payload))
            for seq in damaged:
                log.error("result unreadable on the card, evicted", seq=seq)
                with self._transaction():
                    self._evict([seq], seq, "1 result, unreadable on the card", now)
                    self._load()
        return found[:limit]

    def _payload(self, row: sqlite3.Row, now: ClockReading, hold_s: float) -> bytes | None:
        """The message of a row: the same bytes each time. None while its time is still open."""
        dated = (row["wall_us"], row["clock"], row["at_error_s"])
        if row["clock"] is None:
            found = date(undated(row), str(self.boot), now, self.times, hold_s)
            if found is None:
                return None
            try:
                with self._transaction():
                    freeze(self._db, row, found)
            except SpoolError as error:  # a full disk: those behind it need no writing, and make room
                log.error("time not frozen, the result waits", seq=row["seq"], reason=str(error))
                return None
            failpoints.at("spool.frozen")
            dated = found
        return message(self._agent, row, dated)

    def forget(self, seqs: Iterable[int], spool: UUID | None = None, later: bool = False) -> None:
        """Takes out what the collector has answered for; `later`: with the next commit, or by `let_go`."""
        with self._lock:
            self._answered |= {(seq, str(spool or self.id)) for seq in seqs}
            if not later or len(self._answered) >= MAX_ANSWERED:
                self.let_go()

    def let_go(self) -> None:
        """Takes out what was forgotten for later."""
        with self._lock:
            with self._transaction():
                freed = delete(self._db, self._answered, ROW_OVERHEAD_BYTES)
            self._answered.clear()
            self._bytes -= freed

    def tell_manifest(self, taken: ClockReading, day: int | None) -> bool:
        """Commits a round of manifests, where one is due: there are untold results, and it is another `day` than the
        last round's (None: nobody knows), or they are many. A round takes up where the last one ended.
        """
        with self._lock, self._transaction():
            rows = [tuple(row) for row in self._db.execute("SELECT seq, line FROM untold ORDER BY seq")]
            of_today = day is None or get(self._db, "day") == str(day)
            if not rows or (of_today and len(rows) < MAX_ROWS):
                return False
            told, last = get(self._db, "told") or "0", last_seq(self._db)
            first = min(int(told) + 1 if told.isdecimal() else rows[0][0], rows[0][0])
            self._db.execute("DELETE FROM untold")
            for line, event in spool_receipts(rows, first, last):
                self._insert(event, msgspec.json.encode(event), line, taken)
            put(self._db, "told", str(last))
            put(self._db, "day", None if day is None else str(day))
            self._load()
        if taken.synced:
            self.learn(of_kernel(taken))
        self._call_back()
        return True

    def learn(self, known: Reference) -> None:
        """The kernel's or the server's word on the time of this boot, where it says more than is known."""
        boot = str(self.boot)
        with self._lock:
            if not self.times.improved_by(boot, known):
                return
            times = self.times.knowing(boot, known)
            with self._transaction():
                put(self._db, "times", times.text())
            self.times = times
        log.debug("time known", error_s=known.error_s)
        self._call_back()

    def keep(self, key: str, text: str | None) -> None:
        """Remembers a text over restarts; None forgets it."""
        with self._transaction():
            put(self._db, f"kept/{key}", text)

    def kept(self, key: str) -> str | None:
        with self._transaction(reads=True):
            return get(self._db, f"kept/{key}")

    def depth(self) -> int:
        """How many results wait."""
        with self._transaction(reads=True):
            count: int = self._db.execute("SELECT count(*) FROM results").fetchone()[0]
            return max(0, count - len(self._answered))

    def size_bytes(self) -> int:
        """What they take, roughly."""
        return self._bytes

    def alive(self) -> bool:
        """False where a thread hangs in the disk. One that refuses is no reason to start anew."""
        if free := self._lock.acquire(timeout=LOCK_S):
            self._lock.release()
        return free

    def close(self) -> None:
        with self._lock, suppress(SpoolError):
            self.let_go()
        self._db.close()
