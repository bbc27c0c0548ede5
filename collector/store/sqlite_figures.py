"""Figures of all lines from the embedded store. SQLite has no median, so the probes' figures are read."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import Any

from collector.points import COUNTED, SCHEMAS, Point, tags_in, time_ns
from collector.store import Download, LatencyFigures, LineId, OutageTotal
from collector.store.rows import columns_of, own_point, row_of
from collector.store.sqlite_tables import listed


class SqliteFigures:
    """`Figures` of one file; `read` gives the rows of a statement with its parameters."""

    def __init__(self, read: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._read = read

    def downloads(
        self, since: dt.datetime, until: dt.datetime, agent: str | None = None
    ) -> dict[LineId, list[Download]]:
        columns = columns_of(Download)
        found = self._of_lines(f"time_ns, {listed(columns)}", "speed", since, until, agent, "ORDER BY time_ns")
        lines: dict[LineId, list[Download]] = {}
        for unit, line, at, *cells in found:
            row = row_of(Download, at, dict(zip(columns, cells, strict=True)))
            if row is not None:
                lines.setdefault(LineId(unit, line), []).append(row)
        return lines

    def latency(self, since: dt.datetime, until: dt.datetime, agent: str | None = None) -> dict[LineId, LatencyFigures]:
        columns = "sent, received, rtt_p50_ms, rtt_p95_ms, jitter_ms"
        found = self._of_lines(columns, "latency", since, until, agent, "ORDER BY agent, line")
        lines: dict[LineId, LatencyFigures] = {}
        for (unit, line), rows in groupby(found, key=lambda row: row[:2]):
            _, _, sent, received, *figures = zip(*rows, strict=True)
            lines[LineId(unit, line)] = LatencyFigures(len(sent), sum(sent), sum(received), *map(_median, figures))
        return lines

    def outages(self, since: dt.datetime, until: dt.datetime, agent: str | None = None) -> dict[LineId, OutageTotal]:
        found = self._of_lines("count(*), sum(duration_s)", "outage", since, until, agent, "GROUP BY agent, line")
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
        agent: str | None = None,
        end: str = "",
    ) -> list[Any]:
        """Rows that begin with agent and line."""
        of_agent = "" if agent is None else " AND agent = ?"
        return self._read(
            f"SELECT agent, line, {what} FROM {measurement} WHERE time_ns >= ? AND time_ns < ?{of_agent} {end}",  # noqa: S608
            (time_ns(since), time_ns(until), *([] if agent is None else [agent])),
        )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
