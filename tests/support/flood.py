"""A line that sends without end: as many tests as one likes within some time, past the product, so that it is quick."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from collector.store.line_protocol import line_protocol
from collector.store.points import Point
from collector.store.rows import check_points
from tests.support.services import Influx

BATCH = 10_000


def flood_sqlite(file: Path, last: Point, number: int, span_ns: int) -> None:
    """Copies of a stored point with numbers and figures of their own, evenly over the time before it."""
    names = {"time_ns", "seq", "down_mbps"}
    with closing(sqlite3.connect(file, timeout=30)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(speed)") if row[1] not in names]
        kept = ", ".join(f'"{column}"' for column in columns)
        database.execute(
            f"""WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
            INSERT INTO speed (time_ns, seq, down_mbps, {kept})
            SELECT time_ns - n * ?, seq + n, 100 + n * 7919 % 1000 / 10.0, {kept} FROM speed, counted
            WHERE agent = ? AND line = ? AND time_ns = ? AND seq = ?""",
            (number - 1, span_ns // number, *_name(last)),
        )
        database.commit()


def flood_influx(server: Influx, database: str, last: Point, number: int, span_ns: int) -> None:
    """The same."""
    lines = [line_protocol(one) for one in check_points(_copies(last, number, span_ns))[0]]
    for first in range(0, number, BATCH):
        server.write(database, "\n".join(lines[first : first + BATCH]))


def _copies(last: Point, number: int, span_ns: int) -> Iterator[Point]:
    for n in range(number):
        fields = {**last.fields, "seq": int(last.fields["seq"]) + n, "down_mbps": 100 + n * 7919 % 1000 / 10}
        yield replace(last, fields=fields, time_ns=last.time_ns - n * (span_ns // number))


def _name(point: Point) -> tuple[str, str, int, int]:
    return point.tags["agent"], point.tags["line"], point.time_ns, int(point.fields["seq"])
