"""Figures of all lines by InfluxQL: medians and sums are the database's, so that a day of a province is one answer."""

import datetime as dt
from collections.abc import Callable, Sequence

from collector.points import COUNTED, ROLLED, Point, tags_in
from collector.store import Download, LatencyFigures, LineId, OutageTotal
from collector.store.influx_answers import Series
from collector.store.influx_text import between, in_order, line_of, listed, quoted
from collector.store.rows import columns_of, own_point, row_of


class InfluxFigures:
    """`Figures` of one database; `query` asks it, or with True the one of the roll-ups."""

    def __init__(self, query: Callable[[str, bool], list[Series]]) -> None:
        self._query = query

    def downloads(
        self, since: dt.datetime, until: dt.datetime, agent: str | None = None
    ) -> dict[LineId, list[Download]]:
        # the engine is asked for because every test has one: a row without any value is left out by the database
        columns = [*columns_of(Download), "engine"]
        lines: dict[LineId, list[Download]] = {}
        for series in self._grouped(listed(columns), "speed", since, until, agent):
            rows = [row_of(Download, at, values) for at, values in in_order(series)]
            lines[line_of(series)] = [row for row in rows if row is not None]
        return lines

    def latency(self, since: dt.datetime, until: dt.datetime, agent: str | None = None) -> dict[LineId, LatencyFigures]:
        medians = "median(rtt_p50_ms), median(rtt_p95_ms), median(jitter_ms)"
        found = self._grouped(f"count(seq), sum(sent), sum(received), {medians}", "latency", since, until, agent)
        return {
            line_of(series): LatencyFigures(int(probes), int(sent or 0), int(received or 0), *rest)
            for series in found
            for _, probes, sent, received, *rest in series.values
        }

    def outages(self, since: dt.datetime, until: dt.datetime, agent: str | None = None) -> dict[LineId, OutageTotal]:
        found = self._grouped("count(seq), sum(duration_s)", "outage", since, until, agent)
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
        self, what: str, measurement: str, since: dt.datetime, until: dt.datetime, agent: str | None = None
    ) -> Sequence[Series]:
        """By line. `measurement` is a name of ours, or several, quoted."""
        of_agent = "" if agent is None else f" AND agent = {quoted(agent)}"
        query = f"SELECT {what} FROM {measurement} WHERE {between(since, until)}{of_agent} GROUP BY agent, line"  # noqa: S608
        return self._query(query, measurement in ROLLED)
