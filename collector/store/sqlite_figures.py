"""Figures of all lines from the embedded store."""

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from collector.store import Agents
from collector.store.line_id import LineId
from collector.store.points import COUNTED, SCHEMAS, Point, tags_in, time_ns
from collector.store.row_types import PROBE, Download, LatencyFigures, OutageTotal
from collector.store.rows import columns_of, own_point, row_of
from collector.store.sqlite_tables import listed


class SqliteFigures:
    """`Figures` of one file; `read` gives the rows of a statement with its parameters."""

    def __init__(self, read: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._read = read

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        columns = columns_of(Download)
        found = self._of_lines(f"time_ns, {listed(columns)}", "speed", since, until, agents, "ORDER BY time_ns")
        lines: dict[LineId, list[Download]] = {}
        for unit, line, at, *cells in found:
            row = row_of(Download, at, dict(zip(columns, cells, strict=True)))
            if row is not None:
                lines.setdefault(LineId(unit, line), []).append(row)
        return lines

    def latency(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, LatencyFigures]:
        found = self._of_lines(listed(PROBE), "latency", since, until, agents, "ORDER BY agent, line")
        lines = groupby(found, key=lambda row: LineId(*row[:2]))
        return {line: LatencyFigures.of(row[2:] for row in rows) for line, rows in lines}

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]:
        found = self._of_lines("count(*), sum(duration_s)", "outage", since, until, agents, "GROUP BY agent, line")
        return {LineId(unit, line): OutageTotal(count, total) for unit, line, count, total in found}

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        counts: dict[LineId, int] = {}
        for measurement in COUNTED:
            for unit, line, count in self._of_lines("count(*)", measurement, since, until, end="GROUP BY agent, line"):
                counts[LineId(unit, line)] = counts.get(LineId(unit, line), 0) + count
        return counts

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        what = "sum(tests + probes + outages)"
        found = self._of_lines(what, measurement, since, until, end="GROUP BY agent, line")
        return {LineId(unit, line): count for unit, line, count in found}

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        tags, fields = tags_in(measurement), tuple(SCHEMAS[measurement])
        found = self._read(
            f"SELECT time_ns, {listed([*tags, *fields])} FROM {measurement} WHERE time_ns >= ? AND time_ns < ?",  # noqa: S608
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
