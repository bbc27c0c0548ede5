"""What survives a restart: open alerts, messages that wait, maintenance, acknowledgements. One SQLite file.

Its tables and the keys of its JSON have the names of version 0.1: `kept` has the state of the alerts under `book`.
"""

import contextlib
import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from collector.alerts.alert import AlertState
from collector.alerts.outbox import MAX_QUEUED, FailedNotification, Notification, QueuedNotification
from collector.alerts.silences.acknowledgement import Acknowledgement
from collector.alerts.silences.maintenance import MaintenanceRequest, MaintenanceWindow
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from xomnet.runtime.atomic_file import set_aside
from xomnet.runtime.log import Log

log = Log("collector.alerts")

TABLES = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS maintenance (id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS acknowledged (agent TEXT, line TEXT, value TEXT NOT NULL, PRIMARY KEY (agent, line));
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, at TEXT NOT NULL,
  due TEXT NOT NULL, tries INTEGER NOT NULL, message TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failed (id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL);
"""
OVER_FOR = dt.timedelta(days=30)
"""How long a maintenance window is listed after its end."""
MAX_WINDOWS = 1_000
MAX_FAILED = 100


class TooManySilences(Exception):
    """No more maintenance windows are stored."""


class AlertStore:
    """The file; safe over threads. Raises StoreUnavailable if it can't be opened now, and from then on sqlite3.Error if
    the disk refuses. A damaged file is set aside; a file that is locked, or on a full disk, is not damaged.
    """

    WAIT_S = 10.0
    """For another program that has the file open."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        try:
            self._db = self._open(path)
            self.state()
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{path}: {error}") from error
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            aside = set_aside(path)
            log.error("damaged alert book set aside", reason=str(error), kept=str(aside))
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = self._open(path)

    @classmethod
    def _open(cls, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=cls.WAIT_S)
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(TABLES)
        return db

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def state(self) -> AlertState:
        """The open alerts, as they were saved last."""
        rows = self._rows("SELECT value FROM kept WHERE name='book'")
        return msgspec.json.decode(rows[0][0], type=AlertState) if rows else AlertState()

    def save(self, state: AlertState, notifications: Iterable[tuple[str, Notification]], now: dt.datetime) -> int:
        """The state and the messages about it, (channel, message), in one transaction. Returns how many of the messages
        that waited were given up to make room.
        """
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO kept VALUES ('book', ?)", (_text(state),))
            return self._enqueue(db, notifications, now)

    def enqueue(self, notifications: Iterable[tuple[str, Notification]], now: dt.datetime) -> int:
        """Messages alone; returns as `save`."""
        with self._transaction() as db:
            return self._enqueue(db, notifications, now)

    def enqueue_digest(
        self, notifications: Iterable[tuple[str, Notification]], now: dt.datetime, digest_on: dt.date
    ) -> int:
        """The digest's messages, and the day that they are of; returns as `save`."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO kept VALUES ('digest_on', ?)", (digest_on.isoformat(),))
            return self._enqueue(db, notifications, now)

    @staticmethod
    def _enqueue(db: sqlite3.Connection, notifications: Iterable[tuple[str, Notification]], now: dt.datetime) -> int:
        moment = now.isoformat()
        for channel, message in notifications:
            values = (channel, moment, moment, 0, _text(message), "")
            db.execute("INSERT INTO outbox (channel, at, due, tries, message, reason) VALUES (?,?,?,?,?,?)", values)
        over = db.execute("SELECT max(0, count(*) - ?) FROM outbox", (MAX_QUEUED,)).fetchone()[0]
        oldest = db.execute("SELECT id, channel, message FROM outbox ORDER BY id LIMIT ?", (over,)).fetchall()
        for number, channel, text in oldest:
            title = msgspec.json.decode(text, type=Notification).title
            _give_up(db, number, FailedNotification(now, channel, title, "too many messages wait"))
        return int(over)

    def last_digest(self) -> dt.date | None:
        """The day of the last digest."""
        rows = self._rows("SELECT value FROM kept WHERE name='digest_on'")
        return dt.date.fromisoformat(rows[0][0]) if rows else None

    def queue(self) -> list[QueuedNotification]:
        """The messages that wait, oldest first."""
        rows = self._rows("SELECT id, channel, at, due, tries, message, reason FROM outbox ORDER BY id")
        return [
            QueuedNotification(number, channel, dt.datetime.fromisoformat(at), dt.datetime.fromisoformat(due), tries,
                   msgspec.json.decode(message, type=Notification), reason)
            for number, channel, at, due, tries, message, reason in rows
        ]  # fmt: skip

    def expedite(self, now: dt.datetime) -> None:
        """Makes all messages due: a restart may have removed what was in the way."""
        with self._transaction() as db:
            db.execute("UPDATE outbox SET due=?", (now.isoformat(),))

    def mark_sent(self, sent: Sequence[QueuedNotification]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM outbox WHERE id=?", [(one.id,) for one in sent])

    def postpone(self, queued: QueuedNotification, due: dt.datetime, reason: str) -> None:
        """A try has failed; the next one is at `due`."""
        with self._transaction() as db:
            values = (due.isoformat(), reason, queued.id)
            db.execute("UPDATE outbox SET due=?, reason=?, tries=tries+1 WHERE id=?", values)

    def give_up(self, queued: QueuedNotification, now: dt.datetime, reason: str) -> None:
        with self._transaction() as db:
            _give_up(db, queued.id, FailedNotification(now, queued.channel, queued.message.title, reason))

    def failures(self) -> list[FailedNotification]:
        """The messages that were given up, newest first."""
        rows = self._rows("SELECT value FROM failed ORDER BY id DESC")
        return [msgspec.json.decode(value, type=FailedNotification) for (value,) in rows]

    def windows(self, now: dt.datetime) -> list[MaintenanceWindow]:
        """Maintenance windows that are on, to come, or ended within the last month, in the order of their numbers."""
        rows = self._rows("SELECT value FROM maintenance ORDER BY id")
        found = [msgspec.json.decode(value, type=MaintenanceWindow) for (value,) in rows]
        return [one for one in found if now - one.until < OVER_FOR]

    def add_window(self, asked: MaintenanceRequest, now: dt.datetime) -> MaintenanceWindow:
        """Raises TooManySilences."""
        with self._transaction() as db:
            for number, value in db.execute("SELECT id, value FROM maintenance").fetchall():
                if now - msgspec.json.decode(value, type=MaintenanceWindow).until >= OVER_FOR:
                    db.execute("DELETE FROM maintenance WHERE id=?", (number,))
            if db.execute("SELECT count(*) FROM maintenance").fetchone()[0] >= MAX_WINDOWS:
                raise TooManySilences(f"at most {MAX_WINDOWS} windows are kept")
            number = db.execute("INSERT INTO maintenance (value) VALUES ('')").lastrowid or 0
            fields = msgspec.structs.asdict(asked)
            window = MaintenanceWindow(**{**fields, "from_": asked.from_ or now, "id": number})
            db.execute("UPDATE maintenance SET value=? WHERE id=?", (_text(window), number))
            return window

    def end_window(self, number: int, now: dt.datetime) -> MaintenanceWindow | None:
        """Ends a window now; deletes it if it had not begun. None if there is no such window, or it is over."""
        with self._transaction() as db:
            row = db.execute("SELECT value FROM maintenance WHERE id=?", (number,)).fetchone()
            window = None if row is None else msgspec.json.decode(row[0], type=MaintenanceWindow)
            if window is None or window.until <= now:
                return None
            ended = msgspec.structs.replace(window, until=now)
            if window.active(now):
                db.execute("UPDATE maintenance SET value=? WHERE id=?", (_text(ended), number))
            else:
                db.execute("DELETE FROM maintenance WHERE id=?", (number,))
            return ended

    def acknowledgements(self) -> dict[LineId, Acknowledgement]:
        rows = self._rows("SELECT value FROM acknowledged")
        found = [msgspec.json.decode(value, type=Acknowledgement) for (value,) in rows]
        return {one.id: one for one in found}

    def acknowledge(self, given: Iterable[Acknowledgement]) -> None:
        with self._transaction() as db:
            rows = [(*one.id, _text(one)) for one in given]
            db.executemany("INSERT OR REPLACE INTO acknowledged VALUES (?,?,?)", rows)

    def delete_acknowledgements(self, lines: Iterable[LineId]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM acknowledged WHERE agent=? AND line=?", list(lines))


def _give_up(db: sqlite3.Connection, number: int, failed: FailedNotification) -> None:
    db.execute("DELETE FROM outbox WHERE id=?", (number,))
    db.execute("INSERT INTO failed (value) VALUES (?)", (_text(failed),))
    db.execute("DELETE FROM failed WHERE id <= (SELECT max(id) FROM failed) - ?", (MAX_FAILED,))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
