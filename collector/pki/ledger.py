"""What the authority has signed, what of it is revoked, and which tokens are out. One SQLite file, mode 600."""

import contextlib
import datetime as dt
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["unit", "collector", "server"]

TABLES = """
CREATE TABLE IF NOT EXISTS certificates (serial TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL,
  key TEXT NOT NULL, from_ TEXT NOT NULL, until TEXT NOT NULL, revoked TEXT, pem TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS certificates_of_a_name ON certificates (name);
CREATE INDEX IF NOT EXISTS certificates_of_a_key ON certificates (key);
CREATE TABLE IF NOT EXISTS tokens (agent TEXT PRIMARY KEY, hash TEXT NOT NULL, until TEXT NOT NULL, serial TEXT);
"""
COLUMNS = "serial, name, kind, key, from_, until, revoked, pem"


class LedgerError(Exception):
    """The ledger can't be read or written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate. `serial` is hexadecimal, `key` the SHA-256 of its public key, times are UTC."""

    serial: str
    name: str
    kind: Kind
    key: str
    from_: dt.datetime
    until: dt.datetime
    revoked: dt.datetime | None
    pem: str

    def good(self, now: dt.datetime) -> bool:
        """Neither revoked nor over."""
        return self.revoked is None and now < self.until


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time token: its SHA-256, its end, and the serial of the certificate that it was spent on."""

    hash: str
    until: dt.datetime
    serial: str | None


class LedgerChange:
    """An open transaction: what is read in it is still so when it is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def of_name(self, name: str) -> list[Entry]:
        """All certificates of a name, the oldest first."""
        return self._entries("WHERE name = ? ORDER BY from_, rowid", name)

    def of_key(self, key: str) -> list[Entry]:
        """All certificates of a public key."""
        return self._entries("WHERE key = ?", key)

    def of_serial(self, serial: str) -> Entry | None:
        return next(iter(self._entries("WHERE serial = ?", serial)), None)

    def all(self) -> list[Entry]:
        return self._entries("ORDER BY name, from_, rowid")

    def add(self, entry: Entry) -> None:
        row = (entry.serial, entry.name, entry.kind, entry.key, _text(entry.from_), _text(entry.until))
        self._db.execute("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, NULL, ?)", (*row, entry.pem))

    def revoke(self, serial: str, when: dt.datetime) -> None:
        self._db.execute("UPDATE certificates SET revoked = ? WHERE serial = ?", (_text(when), serial))

    def token(self, agent: str) -> Token | None:
        row = self._db.execute("SELECT hash, until, serial FROM tokens WHERE agent = ?", (agent,)).fetchone()
        return None if row is None else Token(row[0], dt.datetime.fromisoformat(row[1]), row[2])

    def put_token(self, agent: str, token: Token) -> None:
        """The agent's only token from now on."""
        row = (agent, token.hash, _text(token.until), token.serial)
        self._db.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)", row)

    def drop_token(self, agent: str) -> None:
        self._db.execute("DELETE FROM tokens WHERE agent = ?", (agent,))

    def _entries(self, where: str, *values: str) -> list[Entry]:
        rows = self._db.execute(f"SELECT {COLUMNS} FROM certificates {where}", values)  # noqa: S608  # our own texts
        return [_entry(*row) for row in rows]


def _entry(
    serial: str, name: str, kind: Kind, key: str, from_: str, until: str, revoked: str | None, pem: str
) -> Entry:
    time = dt.datetime.fromisoformat
    return Entry(serial, name, kind, key, time(from_), time(until), time(revoked) if revoked else None, pem)


class Ledger:
    """The file; safe over threads and processes, since each change opens the file again and locks it."""

    WAIT_S = 10.0

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def read(self) -> Iterator[LedgerChange]:
        """As `change`, but nothing can be written: readers wait for nobody. Raises LedgerError."""
        with self._translate_errors(), contextlib.closing(sqlite3.connect(self._path, self.WAIT_S)) as db:
            db.execute("PRAGMA query_only = ON")
            yield LedgerChange(db)

    @contextlib.contextmanager
    def change(self) -> Iterator[LedgerChange]:
        """A transaction: done whole where the block ends, not at all where it raises. Raises LedgerError."""
        with self._translate_errors():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with contextlib.closing(sqlite3.connect(self._path, self.WAIT_S, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(TABLES)
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield LedgerChange(db)
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"{self._path}: {error}; check the disk and the folder's owner, or restore the last backup"
            ) from error


def _text(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).isoformat(timespec="seconds")
