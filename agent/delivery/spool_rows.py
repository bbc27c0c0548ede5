"""A result as a row of the spool, and as the message that goes out.

Each row carries its checksum: a card may flip a bit where SQLite does not check.
"""

import datetime as dt
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import NamedTuple

import msgspec

from agent.clock.timestamps import EPOCH, Dated, Undated
from xomnet.contract.messages import VERSION, Event


class SpoolRow(NamedTuple):
    """What is inserted: the columns of `results` between `seq` and `sum`, in their order."""

    kind: str
    line: str | None
    boot: str
    boot_ns: int
    wall_us: int
    clock: str | None
    at_error_s: float | None
    data: bytes
    spool: str
    not_before_us: int | None


_INSERT = f"INSERT INTO results ({', '.join(SpoolRow._fields)}) VALUES ({', '.join('?' * len(SpoolRow._fields))})"  # noqa: S608
_FREEZE = "UPDATE results SET wall_us=?, clock=?, at_error_s=?, sum=? WHERE seq=?"


def insert(db: sqlite3.Connection, row: SpoolRow) -> int:
    """Inserts a result, and lists it for the next receipt; returns its number."""
    seq = db.execute(_INSERT, row).lastrowid
    assert seq is not None
    db.execute("UPDATE results SET sum=? WHERE seq=?", (checksum(seq, *row), seq))
    db.execute("INSERT OR REPLACE INTO untold VALUES (?, ?)", (seq, row.line))
    return seq


def freeze_time(db: sqlite3.Connection, found: sqlite3.Row, dated: Dated) -> None:
    """Writes the final time of a result."""
    wall_us, clock, error_s = dated
    row = _row(found)._replace(wall_us=wall_us, clock=clock, at_error_s=error_s)
    db.execute(_FREEZE, (wall_us, clock, error_s, checksum(found["seq"], *row), found["seq"]))


def is_intact(found: sqlite3.Row) -> bool:
    """False if the row is not as it was written."""
    return bool(found["sum"] == checksum(found["seq"], *_row(found)))


def undated(found: sqlite3.Row) -> Undated:
    """What a result without a time has instead."""
    return Undated(found["boot"], found["boot_ns"], found["wall_us"], found["not_before_us"])


def message(agent: str, found: sqlite3.Row, dated: Dated) -> bytes:
    """The result as it goes out: the same bytes each time."""
    wall_us, clock, error_s = dated
    at = EPOCH + dt.timedelta(microseconds=wall_us)
    return msgspec.json.encode(
        {
            "v": VERSION,
            "agent": agent,
            "spool": found["spool"],
            "seq": found["seq"],
            "boot": found["boot"],
            **({} if found["line"] is None else {"line": found["line"]}),
            "kind": found["kind"],
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "clock": clock,
            **({} if error_s is None else {"at_error_s": error_s}),
            "data": msgspec.Raw(found["data"]),
        }
    )


class OldestResults(NamedTuple):
    """Results to evict, the bytes that this frees, and the first number that is gone with them, now or before."""

    seqs: list[int]
    freed: int
    first: int


def oldest_results(db: sqlite3.Connection, excess: float, overhead: int) -> OldestResults:
    """The oldest results that take `excess` bytes or more together; each takes its data and `overhead` bytes."""
    seqs, freed, first = [], 0, 2**53
    with closing(db.execute("SELECT seq, kind, data FROM results ORDER BY seq")) as rows:
        for seq, kind, data in rows:
            if freed >= excess:
                break
            freed += len(data) + overhead
            seqs.append(seq)
            first = min(first, _first_evicted(seq, kind, data))
    return OldestResults(seqs, freed, first)


def _first_evicted(seq: int, kind: str, data: bytes) -> int:
    """The first number that is gone with a row: its own or, if it is an `evicted` event, the first that it names."""
    with suppress(msgspec.DecodeError):  # a card may flip a bit
        if kind == "event" and (event := msgspec.json.decode(data, type=Event)).name == "evicted":
            return min(seq, event.first_seq or seq)
    return seq


def delete(db: sqlite3.Connection, names: Iterable[tuple[int, str]], overhead: int) -> int:
    """Deletes results by number and spool; returns the bytes that this frees."""
    freed = 0
    for name in names:
        size = db.execute("DELETE FROM results WHERE seq=? AND spool=? RETURNING length(data)", name).fetchone()
        freed += 0 if size is None else size[0] + overhead
    return freed


def _row(found: sqlite3.Row) -> SpoolRow:
    return SpoolRow(*tuple(found)[1:-1])


def checksum(*columns: object) -> int:
    """CRC-32 of a result's number and the values of its SpoolRow."""
    return zlib.crc32(msgspec.json.encode(columns))
