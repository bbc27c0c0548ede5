"""Results on disk until the collector has acknowledged them.

A result is promised from the moment `commit` returns (WAL, synchronous=FULL). Its time is frozen in its row before the
first publish and its data are stored as the bytes that go out, so that a resend is the same bytes. Only an
acknowledgement, or an eviction that is itself recorded and reported, takes a result out.
"""

import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from agent.clock import ClockReading, rebase
from xomnet import crash
from xomnet.log import Log
from xomnet.messages import KIND_OF, MAX_PAYLOAD_BYTES, VERSION, ClockState, Data, Event

log = Log("agent.spool")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    line TEXT,
    boot TEXT NOT NULL,
    boot_ns INTEGER NOT NULL,
    wall_us INTEGER NOT NULL,
    clock TEXT,
    at_error_s REAL,
    data BLOB NOT NULL
);
"""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ROW_OVERHEAD_BYTES = 150
ENVELOPE_BYTES = 512
EARLIER_BOOT_ERROR_S = 30 * 86_400.0
NEVER_SYNCED_ERROR_S = 86_400.0


class SpoolError(Exception):
    """The disk does not take the result (full, read-only, broken); nothing was promised."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that waits for its acknowledgement, as it goes out."""

    seq: int
    payload: bytes


class Spool:
    """One unit's results. Every method may be called from any thread.

    `max_bytes` bounds the payloads held; past it the oldest go, and an `evicted` event says which.
    """

    def __init__(self, path: Path, agent: str, boot: UUID, max_bytes: int = 100_000_000) -> None:
        self._path, self._agent, self._boot, self._max_bytes = path, agent, boot, max_bytes
        self._lock = threading.RLock()
        self._on_commit: list[Callable[[], None]] = []
        self._db, reset = _open(path)
        try:
            with self._db:
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('spool', ?)", (str(uuid4()),))
        except sqlite3.Error as error:
            raise SpoolError(f"{path}: {error}; free some space or mend the card") from error
        self.id = UUID(self._db.execute("SELECT value FROM meta WHERE key='spool'").fetchone()[0])
        self._bytes: int = self._db.execute(
            "SELECT coalesce(sum(length(data) + ?), 0) FROM results", (ROW_OVERHEAD_BYTES,)
        ).fetchone()[0]
        self.reset_detail = reset
        """Where a damaged spool was set aside at this start; None in a good one."""

    def on_commit(self, call: Callable[[], None]) -> None:
        """Calls back after every commit, so that the uplink need not poll."""
        self._on_commit.append(call)

    def commit(self, data: Data, line: str | None, taken: ClockReading) -> int:
        """Promises a result and returns its sequence number. Raises SpoolError where the disk refuses."""
        body = msgspec.json.encode(data)
        if len(body) > MAX_PAYLOAD_BYTES - ENVELOPE_BYTES:
            raise SpoolError(f"a {KIND_OF[type(data)]} result of {len(body)} bytes is over the contract's bound")
        with self._lock:
            try:
                with self._db:  # an eviction, its note and what it made room for: together or not at all
                    freed = self._make_room(len(body) + ROW_OVERHEAD_BYTES, taken)
                    seq = self._insert(data, body, line, taken)
                    crash.at("spool.inserted")
            except sqlite3.Error as error:
                raise SpoolError(f"{self._path}: {error}; free some space or mend the card") from error
            crash.at("spool.committed")
            self._bytes += len(body) + ROW_OVERHEAD_BYTES - freed
        for call in self._on_commit:
            call()
        return seq

    def _insert(self, data: Data, body: bytes, line: str | None, taken: ClockReading) -> int:
        wall_us = (taken.wall - EPOCH) // dt.timedelta(microseconds=1)
        row = (
            KIND_OF[type(data)],
            line,
            str(self._boot),
            taken.boot_ns,
            wall_us,
            "synced" if taken.synced else None,
            body,
        )
        cursor = self._db.execute(
            "INSERT INTO results (kind, line, boot, boot_ns, wall_us, clock, data) VALUES (?,?,?,?,?,?,?)", row
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _make_room(self, needed: int, taken: ClockReading) -> int:
        """Evicts the oldest where `needed` bytes do not fit, and notes which; returns by how much that shrinks."""
        if self._bytes + needed <= self._max_bytes:
            return 0
        rows = self._db.execute("SELECT seq, kind, data FROM results ORDER BY seq")
        freed, gone, first = 0, [], 2**53
        for seq, kind, data in rows:
            if self._bytes + needed - freed <= self._max_bytes * 0.9:
                break
            freed += len(data) + ROW_OVERHEAD_BYTES
            gone.append(seq)
            first = min(first, _first_evicted(seq, kind, data))
        rows.close()
        if not gone:
            return 0
        event = Event(name="evicted", detail=f"{len(gone)} results, spool full", first_seq=first, last_seq=gone[-1])
        body = msgspec.json.encode(event)
        self._db.execute("DELETE FROM results WHERE seq <= ?", (gone[-1],))
        self._insert(event, body, None, taken)
        crash.at("spool.evicted")
        log.warning("spool full, oldest evicted", first_seq=first, last_seq=gone[-1], results=len(gone))
        return freed - len(body) - ROW_OVERHEAD_BYTES

    def pending(self, limit: int, now: ClockReading, hold_s: float, skip: Iterable[int] = ()) -> list[Pending]:
        """The oldest results that can be published now, but for those in `skip`.

        A result taken under an unsynchronised clock waits until the clock is (then it is re-based), or until it has
        waited `hold_s`, or if it is of an earlier boot goes at once (then it is `estimated`).
        """
        skipped = set(skip)
        with self._lock:
            rows = self._db.execute("SELECT * FROM results ORDER BY seq LIMIT ?", (limit + len(skipped),)).fetchall()
            waiting = (row for row in rows if row["seq"] not in skipped)
            found = [Pending(row["seq"], payload) for row in waiting if (payload := self._payload(row, now, hold_s))]
        return found[:limit]

    def _payload(self, row: sqlite3.Row, now: ClockReading, hold_s: float) -> bytes | None:
        """The message of a row: the same bytes each time. None while its time is still open."""
        wall_us, clock, error_s = row["wall_us"], row["clock"], row["at_error_s"]
        if clock is None:
            frozen = self._time(row, now, hold_s)
            if frozen is None:
                return None
            wall_us, clock, error_s = frozen
            try:
                with self._db:
                    self._db.execute(
                        "UPDATE results SET wall_us=?, clock=?, at_error_s=? WHERE seq=?",
                        (wall_us, clock, error_s, row["seq"]),
                    )
            except sqlite3.Error as error:  # a full disk: those behind it need no writing, and make room
                log.error("time not frozen, the result waits", seq=row["seq"], reason=str(error))
                return None
            crash.at("spool.frozen")
        at = EPOCH + dt.timedelta(microseconds=wall_us)
        return msgspec.json.encode(
            {
                "v": VERSION,
                "agent": self._agent,
                "spool": self.id,
                "seq": row["seq"],
                "boot": row["boot"],
                **({} if row["line"] is None else {"line": row["line"]}),
                "kind": row["kind"],
                "at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "clock": clock,
                **({} if error_s is None else {"at_error_s": error_s}),
                "data": msgspec.Raw(row["data"]),
            }
        )

    def _time(self, row: sqlite3.Row, now: ClockReading, hold_s: float) -> tuple[int, ClockState, float | None] | None:
        """Wall time in microseconds, its quality and its error, for a row taken under an unsynchronised clock."""
        if row["boot"] != str(self._boot):
            return row["wall_us"], "estimated", EARLIER_BOOT_ERROR_S
        if now.synced:
            return (rebase(row["boot_ns"], now) - EPOCH) // dt.timedelta(microseconds=1), "rebased", None
        if (now.boot_ns - row["boot_ns"]) / 1e9 < hold_s:
            return None
        return row["wall_us"], "estimated", NEVER_SYNCED_ERROR_S

    def forget(self, seqs: Iterable[int]) -> None:
        """Takes out what the collector has answered for. Raises SpoolError; then they stay and go again."""
        gone = 0
        with self._lock:
            try:
                with self._db:
                    for seq in seqs:
                        one = self._db.execute("DELETE FROM results WHERE seq=? RETURNING length(data)", (seq,))
                        size = one.fetchone()
                        gone += 0 if size is None else size[0] + ROW_OVERHEAD_BYTES
            except sqlite3.Error as error:
                raise SpoolError(f"{self._path}: {error}") from error
            self._bytes -= gone

    def depth(self) -> int:
        """How many results wait."""
        with self._lock:
            count: int = self._db.execute("SELECT count(*) FROM results").fetchone()[0]
            return count

    def size_bytes(self) -> int:
        """What they take, roughly."""
        return self._bytes

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _first_evicted(seq: int, kind: str, data: bytes) -> int:
    """The first result that goes with a row: its own, or those that it says were evicted before."""
    if kind != "event":
        return seq
    event = msgspec.json.decode(data, type=Event)
    return min(seq, event.first_seq or seq) if event.name == "evicted" else seq


def _open(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """The spool's database, and where a damaged one was set aside. Raises SpoolError where none can be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path), None
    except sqlite3.DatabaseError as damage:
        if isinstance(damage, sqlite3.OperationalError) and "malformed" not in str(damage):
            raise SpoolError(f"{path}: {damage}; free some space, or see that the folder is writable") from damage
        aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
        for suffix in ("", "-wal", "-shm"):
            if (old := Path(f"{path}{suffix}")).exists():
                os.replace(old, f"{aside}{suffix}")
        log.error("damaged spool set aside", spool=str(path), aside=str(aside), reason=str(damage))
        try:
            return _connect(path), f"{damage}; set aside as {aside.name}"
        except sqlite3.Error as error:
            raise SpoolError(f"{path}: {error}; free some space, or see that the folder is writable") from error


def _connect(path: Path) -> sqlite3.Connection:
    fresh = not path.exists()
    db = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {check}")
        db.executescript(_SCHEMA)
        if fresh:
            path.chmod(0o600)
    except BaseException:
        db.close()
        raise
    return db
