"""The entries on disk, in `record.db`: added by `xomnet results`, read by the collector beside it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from collector.store.errors import StoreUnavailable
from collector.store.exclusions import Exclusion, Exclusions
from collector.store.record_db import has_record, open_record

LOOK_EVERY_S = 2.0
"""Another process may have added something."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS exclusions (number INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS applied (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    *(
        f"CREATE TRIGGER IF NOT EXISTS no_{action} BEFORE {action} ON exclusions"
        " BEGIN SELECT RAISE(ABORT, 'entries are only added'); END"
        for action in ("UPDATE", "DELETE")
    ),
)


def read_exclusions(path: Path) -> Exclusions:
    """For who only reads: where there is no file, nothing was excluded. Raises StoreUnavailable."""
    if not has_record(path):
        return Exclusions()
    table = ExclusionTable(path)
    try:
        return table.current()
    finally:
        table.close()


class ExclusionTable:
    """For any number of threads and processes. Each method raises StoreUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._current, self._looked_at = Exclusions(), -LOOK_EVERY_S
        self._db = open_record(path)
        with self._translate_errors():
            for statement in _TABLES:
                self._db.execute(statement)

    def current(self) -> Exclusions:
        """All entries, those of other processes after at most a few seconds."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return self._current
        with self._lock, self._translate_errors():
            if more := self._read(self._current.version):
                self._current = Exclusions((*self._current.entries, *more))
            self._looked_at = now
        return self._current

    def add(self, entry: Exclusion, keep: Callable[[Exclusion], object] = lambda entry: None) -> None:
        """`keep` keeps it elsewhere too; where it raises, nothing is added."""
        with self._lock, self._translate_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute("INSERT INTO exclusions (entry) VALUES (?)", (msgspec.json.encode(entry).decode(),))
                keep(entry)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._looked_at = -LOOK_EVERY_S

    def applied(self, part: str) -> int:
        """With which version of the entries a part has computed its figures again."""
        with self._lock, self._translate_errors():
            found = self._db.execute("SELECT version FROM applied WHERE part = ?", (part,)).fetchone()
        return int(found[0]) if found else 0

    def set_applied(self, part: str, version: int) -> None:
        with self._lock, self._translate_errors():
            self._db.execute(
                "INSERT INTO applied VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET version = excluded.version",
                (part, version),
            )

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _read(self, version: int) -> Sequence[Exclusion]:
        found = self._db.execute("SELECT entry FROM exclusions ORDER BY number LIMIT -1 OFFSET ?", (version,))
        return [msgspec.json.decode(entry, type=Exclusion) for (entry,) in found]

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
