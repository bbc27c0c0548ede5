"""The SQL of the embedded store: its tables made from the contract's fields, its inserts, and the check of its file."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from collector.store.derived_schemas import Kind
from collector.store.points import RESULTS, SCHEMAS, identity_of, tags_in
from collector.store.rows import TypedPoint

_TYPES: dict[Kind, str] = {float: "REAL", int: "INTEGER", bool: "INTEGER", str: "TEXT"}
_CHECK_S = 5.0


def make_ready(connection: sqlite3.Connection) -> None:
    """For writing. Raises sqlite3.DatabaseError where the file is damaged."""
    _refuse_damaged(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
    _make_tables(connection)


def _refuse_damaged(connection: sqlite3.Connection) -> None:
    """Looks through the file for at most a few seconds. Raises sqlite3.DatabaseError."""
    end = time.monotonic() + _CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        word = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        word = "ok"  # as far as it was seen; a large file is not kept from its work
    finally:
        connection.set_progress_handler(None, 0)
    if word != "ok":
        damaged = sqlite3.DatabaseError(word)
        damaged.sqlite_errorname = "SQLITE_CORRUPT"
        raise damaged


def _make_tables(connection: sqlite3.Connection) -> None:
    """Creates what is missing: tables, and columns that the contract has gained."""
    connection.execute("BEGIN IMMEDIATE")
    for measurement, fields in SCHEMAS.items():
        tags = ", ".join(f"{tag} TEXT NOT NULL DEFAULT ''" for tag in tags_in(measurement))
        if "spool" in fields:
            identity, kind = "UNIQUE (agent, line, time_ns, spool, seq)", "STRICT"
            named = "spool TEXT NOT NULL, seq INTEGER NOT NULL, "
        else:
            identity, kind = f"PRIMARY KEY (time_ns, {column_list(identity_of(measurement))})", "STRICT, WITHOUT ROWID"
            named = ""
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {measurement} (time_ns INTEGER NOT NULL, {tags}, {named}{identity}) {kind}"
        )
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({measurement})")}
        for field, type_ in fields.items():
            if field not in present:
                connection.execute(f'ALTER TABLE {measurement} ADD COLUMN "{field}" {_TYPES[type_]}')
    for former in ("speed_samples", "speed_judged"):
        connection.execute(f"DROP INDEX IF EXISTS {former}")
    connection.execute(
        "CREATE INDEX IF NOT EXISTS speed_counted ON speed"
        " (time_ns, agent, line, down_mbps, flags, error, asked, received_ms, late, server)"
    )
    for measurement in RESULTS:
        if measurement != "speed":  # whose index begins with the time
            connection.execute(f"CREATE INDEX IF NOT EXISTS {measurement}_times ON {measurement} (time_ns)")
    connection.execute("CREATE INDEX IF NOT EXISTS event_names ON event (name, time_ns)")
    connection.execute("COMMIT")


def lacking(connection: sqlite3.Connection) -> str | None:
    """A column of results that the file of an earlier version does not have, such as `speed.late`, and which SQLite
    would read as a text; None where it has all.
    """
    for measurement in RESULTS:
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({measurement})")}
        for field in SCHEMAS[measurement]:
            if field not in present:
                return f"{measurement}.{field}"
    return None


def insert(measurement: str) -> str:
    fields = SCHEMAS[measurement]
    columns = ["time_ns", *tags_in(measurement), *fields]
    marks = ", ".join("?" * len(columns))
    if "spool" in fields:
        again = "(agent, line, time_ns, spool, seq) DO NOTHING"
    else:
        changed = ", ".join(f'"{column}" = excluded."{column}"' for column in columns)
        again = f"(time_ns, {column_list(identity_of(measurement))}) DO UPDATE SET {changed}"
    return f"INSERT INTO {measurement} ({column_list(columns)}) VALUES ({marks}) ON CONFLICT {again}"  # noqa: S608


def lookup(measurement: str) -> str:
    """For a result of `identity`: its row, its receipt, and whether it was late."""
    return (
        f"SELECT rowid, received_ms, late FROM {measurement}"  # noqa: S608  # a name of the contract
        " WHERE agent = ? AND line = ? AND time_ns = ? AND spool = ? AND seq = ?"
    )


def identity(one: TypedPoint) -> tuple[Any, ...]:
    tags = one.point.tags
    return tags.get("agent", ""), tags.get("line", ""), one.point.time_ns, one.fields["spool"], one.fields["seq"]


def values(one: TypedPoint) -> list[Any]:
    measurement = measurement_of(one)
    tags = [one.point.tags.get(tag, "") for tag in tags_in(measurement)]
    return [one.point.time_ns, *tags, *(one.fields.get(field) for field in SCHEMAS[measurement])]


def measurement_of(one: TypedPoint) -> str:
    return one.point.measurement


def column_list(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
