"""Results on disk until the collector has acknowledged them.

Guarantee
    A result is promised when `commit` returns: its transaction is on the disk (WAL, synchronous=FULL). From then on it
    leaves the spool in two ways only: the collector acknowledges it (stored or rejected), or it is evicted, and an
    `evicted` event that names it is committed in the same transaction.

    The guarantee assumes that the disk keeps what it has confirmed. Cards break that: see "Lost commits".

Constraints
    - `(agent, spool, seq)` names a result for ever. A number is never given twice, not even to a result that was lost.
    - A resend is the same bytes as the first publish: `data` is stored as it goes out, and the time is frozen in the
      row before the first publish. So a result may be sent, and stored by the collector, any number of times.
    - `max_bytes` bounds the payloads. If a result does not fit, the oldest are evicted first.
    - A full, read-only or busy disk is not damage: `SpoolError`, nothing was promised, the file stays.

Record layout
    A row of `results` for each result; `spool_rows` has the columns. `sum` is a CRC-32 of the row, since SQLite does
    not notice a flipped bit in a value. `clock` is NULL while the time of the result is open. `untold` lists the
    results that no receipt has counted yet (`receipt`). `meta` holds the spool's id, the boot, the machine, what is
    known of the time, and the values of `set_value`. `spool_file` has the tables and their migration.

Deletion
    `remove_acked` only takes a note, in memory: each write wears the card. The rows go with the next commit, with
    `flush_acked`, or when MAX_ACKED are noted. A crash in between sends them again, which changes nothing.

Lost commits, damage, copies
    A card may lose the last commits with the power, though it confirmed them, and their numbers may be in the database.
    So the first commit of each boot skips a random stretch of numbers. A damaged file is set aside and a new one, with
    a new id, takes its place. A file that finds itself on another machine takes a new id. The events `spool_reset` and
    `spool_cloned` report that (`take_events`).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from agent.clock.clock import ClockReading, boot_id
from agent.clock.timestamps import Reference, Times, date_result, kernel_reference, parse_times, to_micros
from agent.delivery.receipt import MAX_ROWS, spool_receipts
from agent.delivery.spool_file import (
    SpoolError,
    begin_boot,
    disk_error,
    get_meta,
    is_damage,
    last_seq,
    machine_id,
    open_database,
    set_aside,
    set_meta,
    spool_id,
)
from agent.delivery.spool_rows import SpoolRow, delete, freeze_time, insert, is_intact, message, oldest_results, undated
from agent.settings import AgentSettings
from xomnet.contract.messages import KIND_OF, MAX_PAYLOAD_BYTES, Data, Event
from xomnet.contract.values import to_text
from xomnet.runtime import failpoints
from xomnet.runtime.log import Log

log = Log("agent.delivery.spool")

__all__ = ["FILE", "Pending", "Spool", "SpoolError", "open_spool"]

FILE = "spool.db"
"""In state_dir."""
ROW_OVERHEAD_BYTES = 250
ENVELOPE_BYTES = 512
LOCK_S = 5.0
MAX_ACKED = 64


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that waits for its acknowledgement; `payload` is its message."""

    seq: int
    payload: bytes


class Spool:
    """One unit's results. Every method may be called from any thread, and raises SpoolError if the disk refuses.

    `max_bytes` bounds the payloads; above it the oldest results are evicted. `machine` identifies the machine, so that
    a copy of the file on another machine is detected; None: no detection.
    """

    def __init__(
        self, path: Path, agent: str, boot: UUID, max_bytes: int = 100_000_000, machine: str | None = None
    ) -> None:
        self._path, self._agent, self.boot, self._max_bytes, self._machine = path, agent, boot, max_bytes, machine
        self._lock = threading.RLock()
        self._on_commit: Callable[[], None] = lambda: None
        self._events: list[Event] = []
        self._acked: set[tuple[int, str]] = set()
        self._boot_begun = False
        self._open()
        with suppress(SpoolError), self._transaction():  # on a full disk the first commit does it
            pass
        self.first_seq = last_seq(self._db) + 1
        """Results from this number on were committed by this process, and sent by no other."""

    def _open(self) -> None:
        self._db, aside = open_database(self._path, self.boot, self._machine)
        if aside is not None:
            self._events.append(Event(name="spool_reset", detail=to_text(aside)))
        self._load()

    def _load(self) -> None:
        self.id = spool_id(self._db)
        self.times: Times = parse_times(get_meta(self._db, "times"))
        size = "SELECT coalesce(sum(length(data) + ?), 0) FROM results"
        self._bytes: int = self._db.execute(size, (ROW_OVERHEAD_BYTES,)).fetchone()[0]

    @contextmanager
    def _transaction(self, reads: bool = False) -> Iterator[None]:
        """One transaction. `begin_boot` runs before the first one of a boot that writes.

        Raises SpoolError. If the file is damaged, it is set aside and a new one takes its place.
        """
        with self._lock:
            try:
                if not (self._boot_begun or reads):
                    self._begin_boot()
                with self._db:
                    yield
            except sqlite3.Error as error:
                if is_damage(error):
                    self._start_new_file(str(error))
                raise disk_error(self._path, error) from error

    def _begin_boot(self) -> None:
        with self._db:
            copied = begin_boot(self._db, self.boot, self._machine)
        if copied is not None:
            self._load()
            detail = f"from another machine, as spool {copied.before}; {copied.dropped} results without a time dropped"
            self._events.append(Event(name="spool_cloned", detail=detail, count=copied.dropped))
            log.error("spool of another machine", before=copied.before, now=self.id, dropped=copied.dropped)
        self._boot_begun = True

    def _start_new_file(self, reason: str) -> None:
        self._db.close()
        self._boot_begun = False
        try:
            self._events.append(Event(name="spool_reset", detail=to_text(set_aside(self._path, reason))))
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._open()

    def take_events(self) -> list[Event]:
        """Events of the file itself since the last call (`spool_reset`, `spool_cloned`); the caller commits them."""
        news, self._events = self._events, []
        return news

    def on_commit(self, call: Callable[[], None]) -> None:
        """Sets the function that is called after every commit, so that the uplink need not poll."""
        self._on_commit = call

    def commit(
        self,
        data: Data,
        line: str | None,
        reading: ClockReading,
        error_s: float | None = None,
        clear_key: str | None = None,
    ) -> int:
        """Promises a result and returns its sequence number. Raises SpoolError: nothing was promised.

        `reading` is when the result was taken. `error_s`: that time is final, and this is the bound of its error in
        seconds. `clear_key`: the value of this key (`set_value`) is deleted in the same transaction.
        """
        body = msgspec.json.encode(data)
        if len(body) > MAX_PAYLOAD_BYTES - ENVELOPE_BYTES:
            raise SpoolError(f"a {KIND_OF[type(data)]} result of {len(body)} bytes is over the contract's bound")
        with self._lock:
            if reading.synced and error_s is None:
                self.learn_time(kernel_reference(reading))
            with self._transaction():  # an eviction, its event and the new result: together or not at all
                freed = delete(self._db, self._acked, ROW_OVERHEAD_BYTES)
                freed += self._make_room(len(body) + ROW_OVERHEAD_BYTES - freed, reading)
                seq = self._insert(data, body, line, reading, error_s)
                if clear_key is not None:
                    set_meta(self._db, f"kept/{clear_key}", None)
                failpoints.at("spool.inserted")
            failpoints.at("spool.committed")
            self._acked.clear()
            self._bytes += len(body) + ROW_OVERHEAD_BYTES - freed
        self._on_commit()
        return seq

    def _insert(
        self, data: Data, body: bytes, line: str | None, reading: ClockReading, error_s: float | None = None
    ) -> int:
        boot, not_before_us = str(self.boot), None
        clock = "estimated" if error_s is not None else "synced" if reading.synced else None
        if clock is None and (latest_us := self.times.latest_us(but=boot)) is not None:
            not_before_us = latest_us + reading.boot_ns // 1000
        now = (boot, reading.boot_ns, to_micros(reading.wall), clock, error_s)
        return insert(self._db, SpoolRow(KIND_OF[type(data)], line, *now, body, str(self.id), not_before_us))

    def _make_room(self, needed: int, reading: ClockReading) -> int:
        """Evicts the oldest results if `needed` bytes do not fit; returns the bytes that this frees."""
        if self._bytes + needed <= self._max_bytes:
            return 0
        seqs, freed, first = oldest_results(self._db, self._bytes + needed - self._max_bytes * 0.9, ROW_OVERHEAD_BYTES)
        if not seqs:
            return 0
        log.warning("spool full, oldest evicted", first_seq=first, last_seq=seqs[-1], results=len(seqs))
        freed -= self._evict(seqs, first, f"{len(seqs)} results, spool full", reading)
        failpoints.at("spool.evicted")
        return freed

    def _evict(self, seqs: list[int], first: int, reason: str, reading: ClockReading) -> int:
        """Deletes results and commits the event that names them; returns the bytes of that event."""
        self._db.executemany("DELETE FROM results WHERE seq=?", [(seq,) for seq in seqs])
        event = Event(name="evicted", detail=reason, first_seq=first, last_seq=seqs[-1], count=len(seqs))
        body = msgspec.json.encode(event)
        self._insert(event, body, None, reading)
        return len(body) + ROW_OVERHEAD_BYTES

    def pending(self, limit: int, now: ClockReading, hold_s: float, skip: Iterable[int] = ()) -> list[Pending]:
        """The oldest results that can be published now, at most `limit`, without the numbers in `skip`.

        A result of an unsynchronised clock waits until its time is known, or for `hold_s` seconds (`timestamps`).
        """
        skipped, found, damaged = set(skip), [], []
        with self._lock:
            with self._transaction(reads=True):
                ask = "SELECT * FROM results ORDER BY seq LIMIT ?"
                rows = self._db.execute(ask, (limit + len(skipped) + len(self._acked),)).fetchall()
            for row in rows:
                if (row["seq"], row["spool"]) in self._acked:
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
        """The message of a row: the same bytes each time. None while its time is open."""
        dated = (row["wall_us"], row["clock"], row["at_error_s"])
        if row["clock"] is None:
            found = date_result(undated(row), str(self.boot), now, self.times, hold_s)
            if found is None:
                return None
            try:
                with self._transaction():
                    freeze_time(self._db, row, found)
            except SpoolError as error:  # a full disk: the results after this one may need no write, and make room
                log.error("time not frozen, the result waits", seq=row["seq"], reason=str(error))
                return None
            failpoints.at("spool.frozen")
            dated = found
        return message(self._agent, row, dated)

    def remove_acked(self, seqs: Iterable[int], spool: UUID | None = None, later: bool = False) -> None:
        """Deletes results that the collector acknowledged, stored or rejected; `later`: with the next commit."""
        with self._lock:
            self._acked |= {(seq, str(spool or self.id)) for seq in seqs}
            if not later or len(self._acked) >= MAX_ACKED:
                self.flush_acked()

    def flush_acked(self) -> None:
        """Deletes the results that `remove_acked` noted for later."""
        with self._lock:
            with self._transaction():
                freed = delete(self._db, self._acked, ROW_OVERHEAD_BYTES)
            self._acked.clear()
            self._bytes -= freed

    def commit_receipts(self, reading: ClockReading, day: int | None) -> bool:
        """Commits a round of receipts if one is due; returns whether it was.

        A round is due if there are results that no receipt has counted, and either `day` is not the day of the last
        round (None: the day is not known) or there are MAX_ROWS of them. It begins after the last round's last number.
        """
        with self._lock, self._transaction():
            rows = [tuple(row) for row in self._db.execute("SELECT seq, line FROM untold ORDER BY seq")]
            of_today = day is None or get_meta(self._db, "day") == str(day)
            if not rows or (of_today and len(rows) < MAX_ROWS):
                return False
            last_round, last = get_meta(self._db, "told") or "0", last_seq(self._db)
            first = min(int(last_round) + 1 if last_round.isdecimal() else rows[0][0], rows[0][0])
            self._db.execute("DELETE FROM untold")
            for line, event in spool_receipts(rows, first, last):
                self._insert(event, msgspec.json.encode(event), line, reading)
            set_meta(self._db, "told", str(last))
            set_meta(self._db, "day", None if day is None else str(day))
            self._load()
        if reading.synced:
            self.learn_time(kernel_reference(reading))
        self._on_commit()
        return True

    def learn_time(self, reference: Reference) -> None:
        """Keeps a time reference of this boot, of the kernel or the server, if it is better than the one before."""
        boot = str(self.boot)
        with self._lock:
            if not self.times.is_improved_by(boot, reference):
                return
            times = self.times.with_reference(boot, reference)
            with self._transaction():
                set_meta(self._db, "times", times.to_text())
            self.times = times
        log.debug("time known", error_s=reference.error_s)
        self._on_commit()

    def set_value(self, key: str, text: str | None) -> None:
        """Keeps a text over restarts; None deletes it."""
        with self._transaction():
            set_meta(self._db, f"kept/{key}", text)

    def get_value(self, key: str) -> str | None:
        """The text of `set_value`; None if there is none."""
        with self._transaction(reads=True):
            return get_meta(self._db, f"kept/{key}")

    def depth(self) -> int:
        """The number of results that wait."""
        with self._transaction(reads=True):
            count: int = self._db.execute("SELECT count(*) FROM results").fetchone()[0]
            return max(0, count - len(self._acked))

    def size_bytes(self) -> int:
        """Bytes of the results that wait, about."""
        return self._bytes

    def alive(self) -> bool:
        """False if a thread hangs in the disk. A disk that refuses is no reason for a restart."""
        if free := self._lock.acquire(timeout=LOCK_S):
            self._lock.release()
        return free

    def close(self) -> None:
        with self._lock, suppress(SpoolError):
            self.flush_acked()
        self._db.close()


def open_spool(settings: AgentSettings) -> Spool:
    """The spool of this unit, on this machine and boot. Raises SpoolError, OSError."""
    max_bytes = int(settings.spool.max_mb * 1e6)
    return Spool(settings.state_dir / FILE, settings.agent, boot_id(), max_bytes, machine_id())
