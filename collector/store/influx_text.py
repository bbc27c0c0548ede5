"""InfluxQL's letters: names, strings and times of a query, and the rows of its answer."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from collector.store.influx_answers import Series
from collector.store.line_id import LineId
from collector.store.points import time_ns


def quoted(text: str) -> str:
    """A string of InfluxQL, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def after(since: dt.datetime) -> str:
    return f"time >= {time_ns(since)}"


def between(since: dt.datetime, until: dt.datetime) -> str:
    return f"{after(since)} AND time < {time_ns(until)}"


def in_order(series: Series) -> Iterator[tuple[int, dict[str, Any]]]:
    """Time and values of each row. A result is there twice where its line was renamed between two sends: it counts
    once.
    """
    rows = {row[0]: dict(zip(series.columns[1:], row[1:], strict=True)) for row in series.values}
    return iter(sorted(rows.items()))


def line_of(series: Series) -> LineId:
    return LineId(series.tags.get("agent", ""), series.tags.get("line", ""))
