"""Figures of all lines by InfluxQL."""

import datetime as dt
from collections.abc import Callable, Sequence

from collector.store import Agents
from collector.store.derived_schemas import ROLLED
from collector.store.influx_answers import Series
from collector.store.influx_text import between, in_order, line_of, listed, quoted
from collector.store.line_id import LineId
from collector.store.points import COUNTED, Point, tags_in
from collector.store.row_types import PROBE, Download, LatencyFigures, OutageTotal
from collector.store.rows import columns_of, own_point, row_of


class InfluxFigures:
    """`Figures` of one database; `query` asks it, or with True the one of the roll-ups."""

    def __init__(self, query: Callable[[str, bool], list[Series]]) -> None:
        self._query = query

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        # the engine is asked for because every test has one: a row without any value is left out by the database
        columns = [*columns_of(Download), "engine"]
        lines: dict[LineId, list[Download]] = {}
        for series in self._grouped(listed(columns), "speed", since, until, agents):
            rows = [row_of(Download, at, values) for at, values in in_order(series)]
            lines[line_of(series)] = [row for row in rows if row is not None]
        return lines

    def latency(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, LatencyFigures]:
        found = self._grouped(listed(PROBE), "latency", since, until, agents)
        return {line_of(one): LatencyFigures.of({at: rest for at, *rest in one.values}.values()) for one in found}

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]:
        found = self._grouped("count(seq), sum(duration_s)", "outage", since, until, agents)
        return {line_of(s): OutageTotal(int(count), float(total)) for s in found for _, count, total in s.values}

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        counts: dict[LineId, int] = {}
        for series in self._grouped("count(seq)", listed(COUNTED), since, until):
            line = line_of(series)
            counts[line] = counts.get(line, 0) + int(series.values[0][1])
        return counts

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        found = self._grouped("sum(tests), sum(probes), sum(outages)", measurement, since, until)
        return {line_of(series): sum(int(value or 0) for value in series.values[0][1:]) for series in found}

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        tags = tags_in(measurement)
        query = f'SELECT * FROM "{measurement}" WHERE {between(since, until)} GROUP BY {listed(tags)}'  # noqa: S608
        return [
            own_point(measurement, series.tags, at, values)
            for series in self._query(query, measurement in ROLLED)
            for at, values in in_order(series)
        ]

    def _grouped(
        self, what: str, measurement: str, since: dt.datetime, until: dt.datetime, agents: Agents = None
    ) -> Sequence[Series]:
        """By line. `measurement` is a name of ours, or several, quoted."""
        if agents is not None and not agents:
            return []
        one_of = "" if agents is None else f" AND ({' OR '.join(f'agent = {quoted(agent)}' for agent in agents)})"
        query = f"SELECT {what} FROM {measurement} WHERE {between(since, until)}{one_of} GROUP BY agent, line"  # noqa: S608
        return self._query(query, measurement in ROLLED)
