"""The table of closed months in the record: each is written once, whole, and never changed."""

import datetime as dt
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from collector.store.errors import StoreRefused, StoreUnavailable

TABLES = (
    "CREATE TABLE IF NOT EXISTS closed_month (month TEXT PRIMARY KEY, closed_at TEXT NOT NULL,"
    " closed_by TEXT NOT NULL, record BLOB NOT NULL, sha256 TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS closed_month_archived (month TEXT PRIMARY KEY) STRICT",
    *(
        f"CREATE TRIGGER IF NOT EXISTS closed_month_no_{verb} BEFORE {verb.upper()} ON closed_month"
        " BEGIN SELECT RAISE(ABORT, 'a closed month never changes'); END"
        for verb in ("update", "delete")
    ),
)


class MonthClosing(NamedTuple):
    """That a month, such as `2026-10`, was closed."""

    month: str
    at: dt.datetime
    by: str


class ClosedMonthTable:
    """Of a connection of `open_record`; for any thread. Everything raises StoreUnavailable, and StoreRefused where the
    file is damaged.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._lock = db, threading.Lock()
        with self._reading():
            for statement in TABLES:
                db.execute(statement)

    def closings(self) -> list[MonthClosing]:
        """In the order of the months."""
        with self._reading():
            rows = self._db.execute("SELECT month, closed_at, closed_by FROM closed_month ORDER BY month").fetchall()
            return [MonthClosing(month, dt.datetime.fromisoformat(at), by) for month, at, by in rows]

    def record(self, month: str) -> bytes | None:
        """What was kept of a month, as it was given; None where it is not closed."""
        with self._reading():
            row = self._db.execute("SELECT record, sha256 FROM closed_month WHERE month = ?", (month,)).fetchone()
        if row is None:
            return None
        if hashlib.sha256(row[0]).hexdigest() != row[1]:
            raise StoreRefused(f"the record of {month} is damaged; put back record.db from the last backup")
        return bytes(row[0])

    def add(self, closing: MonthClosing, record: bytes) -> bool:
        """In one transaction, on the disk when this returns; False where the month is closed already."""
        values = (closing.month, closing.at.isoformat(), closing.by, record, hashlib.sha256(record).hexdigest())
        with self._reading():
            done = self._db.execute("INSERT OR IGNORE INTO closed_month VALUES (?, ?, ?, ?, ?)", values)
            return done.rowcount == 1

    def not_archived(self) -> list[str]:
        """Closed months that the archive may not have."""
        query = "SELECT month FROM closed_month WHERE month NOT IN (SELECT month FROM closed_month_archived)"
        with self._reading():
            return [month for (month,) in self._db.execute(query)]

    def note_archived(self, month: str) -> None:
        with self._reading():
            self._db.execute("INSERT OR IGNORE INTO closed_month_archived VALUES (?)", (month,))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"record.db: {error}") from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise StoreRefused(
                f"record.db is damaged ({error}): stop the collector and put back the last backup"
            ) from error
