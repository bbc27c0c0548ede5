"""The embedded store: one SQLite file. For the demo, a pilot, one district.

Each measurement has a table with the contract's columns. A result is identified by agent, line, time, and the
contract's own name for it, spool and seq: a resend is byte-identical and changes nothing, and two units cloned from one
card, which use the same numbers, lose nothing. The tags are not part of the identity, so a registry corrected between
two sends doubles nothing. A point of `line_state` has no spool and seq: agent, line and time identify it, and the last
one written holds.
"""

import datetime as dt
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from collector.store import Added, Agents, Lines
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import COUNTED, RESULTS, SCHEMAS, Point, Rejection, milliseconds, tags_in, time_ns, when
from collector.store.retention import Retention, prune
from collector.store.row_types import (
    PROBE,
    Download,
    EventRow,
    HealthRow,
    LatencyFigures,
    LatencyRow,
    OutageRow,
    OutageTotal,
    Sample,
    SpeedRow,
    Stamp,
)
from collector.store.rows import (
    MEASUREMENT_OF,
    R,
    TypedPoint,
    check_points,
    columns_of,
    own_point,
    rejection,
    row_of,
    rows_of,
)
from collector.store.sqlite_schema import (
    column_list,
    identity,
    insert,
    lacking,
    lookup,
    make_ready,
    measurement_of,
    values,
)

_HOUR_NS = 3_600 * 10**9

NOT_LATE = " AND late IS NOT 1"


class SqliteStore:
    """A `Store` in one file, for any number of threads: one writes at a time, readers never wait for it.

    `read_only`, its file must be there, is neither looked through nor changed, and no writer is waited for.
    Raises StoreRefused where the file is damaged or can't be used, StoreUnavailable where it is locked.
    """

    def __init__(
        self,
        path: Path,
        keep_own: dt.timedelta = dt.timedelta(days=35),
        busy_s: float = 5.0,
        retention: Retention | None = None,
        read_only: bool = False,
    ) -> None:
        self._path, self._keep_own, self._busy_s = path, keep_own, busy_s
        self._mode = "ro" if read_only else "rwc"
        self._retention = retention
        self._writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed, self._may_lack_columns = False, read_only
        self.figures = SqliteFigures(self._read)
        with self._translate_errors():
            self._writer = self._connect()
            try:
                if not read_only:
                    make_ready(self._writer)
            except BaseException:
                self._writer.close()
                raise

    def write(self, points: Sequence[Point]) -> list[Rejection]:
        return self.add(points).rejections

    def add(self, results: Sequence[Point]) -> Added:
        good, rejections = check_points(results)
        oldest = self._oldest_result_ns()
        late = {id(one) for one in good if one.point.time_ns < oldest and measurement_of(one) in RESULTS}
        if late and self._retention is not None:
            policy = self._retention
            rejections += [rejection(one.point, policy.too_old(one.point)) for one in good if id(one) in late]
            good = [one for one in good if id(one) not in late]
        known = _Known()
        if not good:
            return known.added(rejections)
        with self._translate_errors(), self._transaction() as connection:
            for measurement, group in groupby(sorted(good, key=measurement_of), measurement_of):
                new = list(group)
                _insert(connection, measurement, new, known)
                prune(connection, measurement, [one.point.time_ns for one in new], self._keep_own, oldest)
        return known.added(rejections)

    def find(self, results: Sequence[Point]) -> Added:
        good, rejections = check_points(results)
        known = _Known()
        for one in good:
            for _, received_ms, late in self._read(lookup(measurement_of(one)), identity(one)):
                known.note(one.point, received_ms, late)
        return known.added(rejections)

    rewrite = write
    """A point is replaced whole."""

    def speed(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[SpeedRow]:
        return self._of_line(SpeedRow, line, since, until, raw, latest)

    def latency(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[LatencyRow]:
        return self._of_line(LatencyRow, line, since, until, raw, latest)

    def outages(
        self, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[OutageRow]:
        return self._of_line(OutageRow, line, since, until, latest=latest)

    def samples(
        self, since: dt.datetime, until: dt.datetime, lines: Lines = None, latest: int | None = None
    ) -> dict[LineId, list[Sample]]:
        if lines is not None:
            return {line: rows for line in lines if (rows := self._of_line(Sample, line, since, until, latest=latest))}
        columns = columns_of(Sample)
        found = self._read(
            f"SELECT agent, line, time_ns, {column_list(columns)} FROM speed WHERE time_ns >= ? AND time_ns < ?"  # noqa: S608
            " ORDER BY time_ns",
            (time_ns(since), time_ns(until)),
        )
        of_lines: dict[LineId, deque[list[Any]]] = {}
        for agent, line, *cells in found:
            of_lines.setdefault(LineId(agent, line), deque(maxlen=latest)).append(cells)
        return {line: rows_of(Sample, columns, cells) for line, cells in of_lines.items()}

    def last_results(self, since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        last: dict[LineId, int] = {}
        for measurement in ("speed", "latency"):
            if lines is None:
                found = [(LineId(agent, line), at) for agent, line, at, _ in self._last(measurement, since, NOT_LATE)]
            else:
                found = [(line, at) for line in lines for at in self._last_of(measurement, line, since)]
            for line, at in found:
                last[line] = max(at, last.get(line, 0))
        return {line: when(at) for line, at in last.items()}

    def health(self, since: dt.datetime, agent: str | None = None, raw: bool = False) -> dict[str, HealthRow]:
        columns = columns_of(HealthRow, raw)
        last: dict[str, HealthRow] = {}
        for unit, at, rowid in self._last_health(since) if agent is None else self._last_health_of(agent, since):
            found = self._read(f"SELECT {column_list(columns)} FROM health WHERE rowid = ?", (rowid,))  # noqa: S608
            row = row_of(HealthRow, at, dict(zip(columns, found[0], strict=True)))
            if row is not None:
                last[unit] = row
        return last

    def stamps(
        self, measurement: str, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[Stamp]:
        found = self._read_in_order(
            f"SELECT time_ns, received_ms, late FROM {measurement}"  # noqa: S608  # a name of the contract
            " WHERE agent = ? AND line = ? AND time_ns >= ? AND time_ns < ?",
            (*line, time_ns(since), time_ns(until)),
            latest,
        )
        return [Stamp(when(at), received_ms, late) for at, received_ms, late in found]

    def healths(
        self, agent: str, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[HealthRow]:
        return self._of_line(HealthRow, LineId(agent, ""), since, until, raw, latest)

    def events(
        self,
        name: str | None,
        since: dt.datetime,
        until: dt.datetime,
        agent: str | None = None,
        latest: int | None = None,
    ) -> dict[LineId, list[EventRow]]:
        columns = columns_of(EventRow)
        of_name = "" if name is None else " AND name = ?"
        of_agent = "" if agent is None else " AND agent = ?"
        found = self._read_in_order(
            f"SELECT time_ns, agent, line, {column_list(columns)} FROM event"  # noqa: S608
            f" WHERE time_ns >= ? AND time_ns < ?{of_name}{of_agent}",
            (time_ns(since), time_ns(until), *(text for text in (name, agent) if text is not None)),
            latest,
        )
        lines: dict[LineId, list[EventRow]] = {}
        for at, unit, line, *cells in found:
            row = row_of(EventRow, at, dict(zip(columns, cells, strict=True)))
            if row is not None:
                lines.setdefault(LineId(unit, line), []).append(row)
        return lines

    def numbers(
        self, agent: str, spool: str, first: int, last: int, since: dt.datetime, until: dt.datetime
    ) -> dict[int, str]:
        one = (agent, time_ns(since), time_ns(until), spool, first, last)
        found = self._read(
            " UNION ALL ".join(
                f"SELECT seq, line FROM {measurement}"  # noqa: S608
                " WHERE agent = ? AND time_ns >= ? AND time_ns < ? AND spool = ? AND seq BETWEEN ? AND ?"
                for measurement in RESULTS
            ),
            one * len(RESULTS),
        )
        return dict(found)

    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        asked = time_ns(since), time_ns(received_before), milliseconds(received_before)
        statement = (
            f"SELECT time_ns / {_HOUR_NS} AS hour, min(spool_depth) FROM health"  # noqa: S608
            " WHERE agent = ? AND line = '' AND time_ns >= ? AND time_ns < ? AND received_ms < ?"
            " AND clock <> 'estimated' GROUP BY hour ORDER BY hour"
        )
        return {
            agent: [(when(hour * _HOUR_NS), depth) for hour, depth in self._read(statement, (agent, *asked))]
            for agent in agents
        }

    def has_results(self, line: LineId, since: dt.datetime, until: dt.datetime) -> bool:
        asked = " UNION ALL ".join(
            f"SELECT * FROM (SELECT 1 FROM {measurement}"  # noqa: S608
            " WHERE agent = ? AND line = ? AND time_ns >= ? AND time_ns < ? LIMIT 1)"
            for measurement in RESULTS
        )
        return bool(self._read(asked, (*line, time_ns(since), time_ns(until)) * len(RESULTS)))

    def ping(self) -> None:
        self._rows("SELECT 1 FROM speed LIMIT 1", ())

    def close(self) -> None:
        with self._writing:
            self._closed = True
            for connection in [*self._idle, self._writer]:
                connection.close()
            self._idle.clear()

    def _of_line(
        self,
        kind: type[R],
        line: LineId,
        since: dt.datetime,
        until: dt.datetime,
        raw: bool = True,
        latest: int | None = None,
    ) -> list[R]:
        columns = columns_of(kind, raw)
        found = self._read_in_order(
            f"SELECT time_ns, {column_list(columns)} FROM {MEASUREMENT_OF[kind]}"  # noqa: S608
            " WHERE agent = ? AND line = ? AND time_ns >= ? AND time_ns < ?",
            (*line, time_ns(since), time_ns(until)),
            latest,
        )
        return rows_of(kind, columns, found)

    def _last_health(self, since: dt.datetime) -> list[tuple[str, int, int]]:
        return [(agent, at, rowid) for agent, _, at, rowid in self._last("health", since)]

    def _last_health_of(self, agent: str, since: dt.datetime) -> list[tuple[str, int, int]]:
        """Agent, time and rowid, as above."""
        return self._read(
            "SELECT agent, time_ns, rowid FROM health WHERE agent = ? AND time_ns >= ? ORDER BY time_ns DESC LIMIT 1",
            (agent, time_ns(since)),
        )

    def _last(self, measurement: str, since: dt.datetime, only: str = "") -> list[tuple[str, str, int, int]]:
        """Agent, line, time and rowid of the last row of every line: the index is skipped through, not read."""
        statement = f"""
            WITH RECURSIVE lines(agent, line) AS (
                SELECT * FROM (SELECT agent, line FROM {measurement} ORDER BY agent, line LIMIT 1)
                UNION ALL
                SELECT next.agent, next.line FROM lines JOIN {measurement} AS next ON next.rowid = (
                    SELECT rowid FROM {measurement} AS later
                    WHERE (later.agent, later.line) > (lines.agent, lines.line)
                    ORDER BY later.agent, later.line LIMIT 1)
            )
            SELECT last.agent, last.line, last.time_ns, last.rowid
            FROM lines JOIN {measurement} AS last ON last.rowid = (
                SELECT rowid FROM {measurement} AS own
                WHERE own.agent = lines.agent AND own.line = lines.line{only}
                ORDER BY own.time_ns DESC LIMIT 1)
            WHERE last.time_ns >= ?
        """  # noqa: S608  # a name of the contract
        return self._read(statement, (time_ns(since),))

    def _last_of(self, measurement: str, line: LineId, since: dt.datetime) -> list[int]:
        """The time of a line's last row that is not late; nothing where there is none."""
        found = self._read(
            f"SELECT time_ns FROM {measurement} WHERE agent = ? AND line = ? AND time_ns >= ?{NOT_LATE}"  # noqa: S608
            " ORDER BY time_ns DESC LIMIT 1",
            (*line, time_ns(since)),
        )
        return [at for (at,) in found]

    def _read_in_order(self, statement: str, parameters: Sequence[Any], latest: int | None) -> list[Any]:
        """By time; with `latest` at most that many, from the end."""
        if latest is None:
            return self._read(f"{statement} ORDER BY time_ns", parameters)
        return self._read(f"{statement} ORDER BY time_ns DESC LIMIT ?", (*parameters, latest))[::-1]

    def _read(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        if self._may_lack_columns:
            self._refuse_earlier_version()
        return self._rows(statement, parameters)

    def _refuse_earlier_version(self) -> None:
        """Of a file that is only read, before its first figure."""
        with self._translate_errors():
            column = lacking(self._writer)
        if column is not None:
            raise StoreRefused(
                f"{self._path} was written by an earlier version (it has no {column}): start the collector of this"
                " version once, which adds what is missing"
            )
        self._may_lack_columns = False

    def _rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        with self._translate_errors():
            connection = self._borrow()
            try:
                rows = connection.execute(statement, parameters).fetchall()
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return rows

    def _borrow(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnavailable(f"{self._path} is closed")
        with suppress(IndexError):
            return self._idle.pop()
        connection = self._connect()
        connection.execute("PRAGMA query_only = 1")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode={self._mode}"
        return sqlite3.connect(uri, timeout=self._busy_s, isolation_level=None, check_same_thread=False, uri=True)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._writing.acquire(timeout=self._busy_s):
            raise StoreUnavailable(f"{self._path}: another write has not ended within {self._busy_s:g} s")
        try:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        finally:
            self._writing.release()

    def _oldest_result_ns(self) -> int:
        """Results from before are deleted and no longer accepted; 0 if results are kept for ever."""
        return 0 if self._retention is None else self._retention.oldest_result_ns()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._store_error(error) from error

    def _store_error(self, error: sqlite3.Error) -> StoreUnavailable:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StoreRefused(
                f"{self._path} is damaged ({error}): stop the collector, keep a copy of the file, and put back the last"
                f' backup or what `sqlite3 "{self._path}" .recover` saves; without the file the collector starts empty'
            )
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            return StoreRefused(
                f"{self._path} can't be opened or written ({error}): the collector's user needs write access to the"
                " file and its folder, which must exist"
            )
        return StoreUnavailable(f"{self._path}: {error} ({name})")


class _Known:
    """What was stored before, as `Added` says it."""

    def __init__(self) -> None:
        self._received: dict[int, int] = {}
        self._late: set[int] = set()

    def note(self, point: Point, received_ms: int | None, late: int | None) -> None:
        self._received[id(point)] = milliseconds(when(point.time_ns)) if received_ms is None else received_ms
        if late:
            self._late.add(id(point))

    def added(self, rejections: list[Rejection]) -> Added:
        return Added(rejections, self._received, frozenset(self._late))


def _insert(connection: sqlite3.Connection, measurement: str, points: Sequence[TypedPoint], known: _Known) -> None:
    """Of results, those that are stored already stay as they are, and are noted in `known`."""
    statement, rows = insert(measurement), [values(one) for one in points]
    if measurement not in RESULTS:
        connection.executemany(statement, rows)
        return
    last = connection.execute(f"SELECT max(rowid) FROM {measurement}").fetchone()[0] or 0  # noqa: S608
    if connection.executemany(statement, rows).rowcount == len(rows):
        return
    seen: set[int] = set()
    for one in points:
        row, received_ms, late = connection.execute(lookup(measurement), identity(one)).fetchone()
        if row <= last or row in seen:
            known.note(one.point, received_ms, late)
        seen.add(row)


class SqliteFigures:
    """`Figures` of one file; `read` gives the rows of a statement with its parameters."""

    def __init__(self, read: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._read = read

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        columns = columns_of(Download)
        found = self._of_lines(f"time_ns, {column_list(columns)}", "speed", since, until, agents, "ORDER BY time_ns")
        lines: dict[LineId, list[list[Any]]] = {}
        for unit, line, *cells in found:
            lines.setdefault(LineId(unit, line), []).append(cells)
        return {line: rows_of(Download, columns, cells) for line, cells in lines.items()}

    def latency(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, LatencyFigures]:
        found = self._of_lines(column_list([*PROBE, "late"]), "latency", since, until, agents, "ORDER BY agent, line")
        lines = groupby(found, key=lambda row: LineId(*row[:2]))
        return {line: LatencyFigures.of(row[2:] for row in rows) for line, rows in lines}

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]:
        found = self._of_lines("duration_s, late", "outage", since, until, agents, "ORDER BY agent, line")
        lines = groupby(found, key=lambda row: LineId(*row[:2]))
        return {line: OutageTotal.of(row[2:] for row in rows) for line, rows in lines}

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        counts: dict[LineId, int] = {}
        for measurement in COUNTED:
            for unit, line, count in self._of_lines("count(*)", measurement, since, until, end="GROUP BY agent, line"):
                counts[LineId(unit, line)] = counts.get(LineId(unit, line), 0) + count
        return counts

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        what = "sum(tests + probes + outages + coalesce(excluded, 0))"
        found = self._of_lines(what, measurement, since, until, end="GROUP BY agent, line")
        return {LineId(unit, line): count for unit, line, count in found}

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        tags, fields = tags_in(measurement), tuple(SCHEMAS[measurement])
        found = self._read(
            f"SELECT time_ns, {column_list([*tags, *fields])} FROM {measurement} WHERE time_ns >= ? AND time_ns < ?",  # noqa: S608
            (time_ns(since), time_ns(until)),
        )
        return [
            own_point(
                measurement,
                dict(zip(tags, cells, strict=False)),
                at,
                dict(zip(fields, cells[len(tags) :], strict=True)),
            )
            for at, *cells in found
        ]

    def _of_lines(
        self,
        what: str,
        measurement: str,
        since: dt.datetime,
        until: dt.datetime,
        agents: Agents = None,
        end: str = "",
    ) -> list[Any]:
        """Rows that begin with agent and line."""
        one_of = "" if agents is None else f" AND agent IN ({', '.join('?' * len(agents))})"
        return self._read(
            f"SELECT agent, line, {what} FROM {measurement} WHERE time_ns >= ? AND time_ns < ?{one_of} {end}",  # noqa: S608
            (time_ns(since), time_ns(until), *(agents or ())),
        )
