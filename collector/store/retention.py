"""How long the embedded store keeps its points. InfluxDB has a retention of its own: a bucket's, or a policy."""

import datetime as dt
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from collector.store.derived_schemas import EVERY_MINUTE
from collector.store.points import RESULTS, Point, identity_of, time_ns, when
from collector.store.sqlite_schema import column_list
from xomnet.runtime.clock import UtcClock

PRUNED = (*EVERY_MINUTE, "completeness")
"""The collector's own measurements that it writes again and again: they are kept for `keep_own`."""

_MIN_OWN, _MIN_RESULTS = 1000, 100
"""How many points a write deletes at least, if as many are too old."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Results are kept for `days`, by the clock `now`."""

    days: int
    now: UtcClock

    def oldest_result_ns(self) -> int:
        """Results from before are deleted and no longer accepted."""
        return time_ns(self.now() - dt.timedelta(days=self.days))

    def too_old(self, point: Point) -> str:
        """Why a result from before `oldest_result_ns` is rejected."""
        return f"of {when(point.time_ns):%Y-%m-%d %H:%M}: results are kept for {self.days} days (store.keep_days)"


def prune(
    connection: sqlite3.Connection,
    measurement: str,
    written_ns: Sequence[int],
    keep_own: dt.timedelta,
    oldest_result_ns: int,
) -> None:
    """Deletes the oldest points of a measurement that was just written to, with points of these times.

    `oldest_result_ns` is 0 if results are kept for ever. A write deletes a little more than it adds: none takes long,
    and a backlog comes to its end.
    """
    if measurement in PRUNED:
        before = max(written_ns) - keep_own // dt.timedelta(microseconds=1) * 1000
        key = column_list(["time_ns", *identity_of(measurement)])
        _delete(connection, measurement, key, before, 2 * len(written_ns) + _MIN_OWN)
    elif measurement in RESULTS and oldest_result_ns:
        _delete(connection, measurement, "rowid", oldest_result_ns, 2 * len(written_ns) + _MIN_RESULTS)


def _delete(connection: sqlite3.Connection, measurement: str, key: str, before_ns: int, limit: int) -> None:
    connection.execute(
        f"DELETE FROM {measurement} WHERE ({key}) IN"  # noqa: S608
        f" (SELECT {key} FROM {measurement} WHERE time_ns < ? ORDER BY time_ns LIMIT ?)",
        (before_ns, limit),
    )
