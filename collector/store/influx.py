"""InfluxDB 1.8, 2 or 3: writes through `/api/v2/write`, reads with InfluxQL, the one language that they share."""

import datetime as dt
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from collector.store import Added, Agents, Lines
from collector.store.derived_schemas import ROLLED
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.influx_answers import (
    BatchRefused,
    BatchTooLarge,
    Series,
    WriteTarget,
    check_delete,
    check_query,
    check_write,
)
from collector.store.influx_places import (
    PLACES,
    LatestTimes,
    LineKey,
    Placed,
    StoredResult,
    place,
    ranges,
    stored_result,
)
from collector.store.line_id import LineId
from collector.store.line_protocol import line_protocol
from collector.store.pages import TICK, pages_back
from collector.store.points import (
    COUNTED,
    RESULTS,
    Point,
    Rejection,
    identity_of,
    milliseconds,
    tags_in,
    time_ns,
    when,
)
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
    rows_of,
)
from collector.store.write_turn import WriteTurn, slot_of
from xomnet.runtime import failpoints

BATCH = 1000
FORM = "application/x-www-form-urlencoded"
END = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
UNITS_A_QUERY = 50
QUERY_BYTES = 6_000
"""Statements of as many bytes go into one request: what stands before a database takes 8 kB."""
MAX_IN_RANGE = 1_000
"""Where a range of time holds more of a line, its microseconds are asked for one by one."""
PAGE = 10_000
"""How many points of one line are asked for at a time, where only its latest are read."""


class InfluxStore:
    """A `Store` in a bucket (2, 3) or database (1.8), with the roll-ups in it or in one of their own, for any number of
    threads.

    `token` is `user:password` for 1.8. No request takes longer than about `timeout_s`, and none is redirected:
    an answer counts only if it came from the database itself. Processes that add results to the same database share the
    file `turn`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        bucket: str,
        org: str = "-",
        timeout_s: float = 10.0,
        rollups_bucket: str | None = None,
        turn: Path | None = None,
    ) -> None:
        self._url, self._org, self._timeout_s = url.rstrip("/"), org, timeout_s
        self._bucket = self._rollups_bucket = WriteTarget(bucket, "store.bucket")
        if rollups_bucket and rollups_bucket != bucket:
            self._rollups_bucket = WriteTarget(rollups_bucket, "store.rollups_bucket")
        self._headers = {"Authorization": f"Token {token}"}
        self._client = InfluxDBClient(self._url, token, org=org, timeout=int(timeout_s * 1000), retries=False)
        self._write_api = self._client.write_api(SYNCHRONOUS)
        self._writing = threading.Lock()
        self._turn, self._latest = WriteTurn(turn, timeout_s), LatestTimes()
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=urllib3.Timeout(total=timeout_s))
        self.figures = InfluxFigures(lambda q, rolled: self._query(q, self._rollups_bucket if rolled else self._bucket))

    def write(self, points: Sequence[Point]) -> list[Rejection]:
        results = [point for point in points if point.measurement in RESULTS]
        rejections = self.add(results).rejections if results else []
        good, bad = check_points(point for point in points if point.measurement not in RESULTS)
        for bucket, group in groupby(good, self._bucket_of):
            while batch := list(islice(group, BATCH)):
                rejections += self._write(bucket, batch)
        return rejections + bad

    def add(self, results: Sequence[Point]) -> Added:
        good, rejections = check_points(results)
        told = [stored_result(one) for one in good]
        agents = {result.key.agent for result in told}
        with self._turn.hold(agents) as others_wrote:
            if others_wrote:
                self._latest.forget_if(lambda agent: slot_of(agent) in others_wrote)
            placed = place(good, told, self._stored_like(told))
            try:
                new = iter(placed.new)
                while batch := list(islice(new, BATCH)):
                    placed.rejections += self._write(self._bucket, batch)
            except BaseException:
                self._latest.forget_if(agents.__contains__)
                raise
            for result in told:
                self._latest.note(result)
        return _added(placed, rejections)

    def find(self, results: Sequence[Point]) -> Added:
        good, rejections = check_points(results)
        told = [stored_result(one) for one in good]
        placed = place(good, told, self._stored_among(told))
        twins = {id(twin) for twin, _ in placed.twins}
        known = {id_: stored for id_, stored in placed.known.items() if id_ not in twins}
        return _added(Placed(known=known), rejections)

    def rewrite(self, points: Sequence[Point]) -> list[Rejection]:
        for _, group in groupby(sorted(points, key=_bucket_key), _bucket_key):
            self._delete(self._losing_fields(list(group)))
        return self.write(points)

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
        if lines is not None and not lines:
            return {}
        columns = _columns(Sample)
        where = time_clause(since, until) + _one_of(lines)
        most = None if latest is None else min(PAGE, latest)
        query = f"SELECT {columns} FROM speed WHERE {where} GROUP BY agent, line{_last(most)}"  # noqa: S608
        found: dict[LineId, list[Sample]] = {}
        for series in self._query(query):
            line = line_of(series)
            if most != latest and len(series.values) == most:
                found[line] = self._of_line(Sample, line, since, until, latest=latest)
            else:
                found[line] = _rows(Sample, series)
        return found

    def last_results(self, since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        if lines is not None and not lines:
            return {}
        where = since_clause(since) + _one_of(lines)
        query = ";".join(
            f"SELECT last({field}) AS {field} FROM speed, latency WHERE {where} GROUP BY agent, line"  # noqa: S608
            for field in ("seq", "late")
        )
        found: dict[str, dict[tuple[str, LineId], int]] = {"seq": {}, "late": {}}
        for series in self._query(query):
            found[series.columns[1]][series.name, line_of(series)] = series.values[0][0]
        last: dict[LineId, dt.datetime] = {}
        for (measurement, line), at_ns in found["seq"].items():
            is_late = found["late"].get((measurement, line)) == at_ns
            at = self._last_not_late(measurement, line, since) if is_late else when(at_ns)
            if at is not None:
                last[line] = max(at, last.get(line, at))
        return last

    def stamps(
        self, measurement: str, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[Stamp]:
        query = (
            f"SELECT seq, received_ms, late FROM {measurement} WHERE agent = {quote(line.agent)}"  # noqa: S608
            f" AND line = {quote(line.line)} AND {time_clause(since, until)}{_last(latest)}"
        )
        rows = (row for series in self._query(query) for row in rows_in_order(series))
        return [Stamp(when(at), received_ms, late) for at, _, received_ms, late in rows]

    def healths(
        self, agent: str, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[HealthRow]:
        return self._of_line(HealthRow, LineId(agent, ""), since, until, raw, latest)

    def health(self, since: dt.datetime, agent: str | None = None, raw: bool = False) -> dict[str, HealthRow]:
        of_agent = "" if agent is None else f" AND agent = {quote(agent)}"
        query = (
            f"SELECT {column_list(columns_of(HealthRow, raw))} FROM health WHERE {since_clause(since)}{of_agent}"  # noqa: S608
            " GROUP BY agent ORDER BY time DESC LIMIT 1"
        )
        last: dict[str, HealthRow] = {}
        for series in self._query(query):
            for row in _rows(HealthRow, series):
                last[series.tags.get("agent", "")] = row
        return last

    def events(
        self,
        name: str | None,
        since: dt.datetime,
        until: dt.datetime,
        agent: str | None = None,
        latest: int | None = None,
    ) -> dict[LineId, list[EventRow]]:
        of_name = "" if name is None else f' AND "name" = {quote(name)}'
        of_agent = "" if agent is None else f" AND agent = {quote(agent)}"
        where = time_clause(since, until) + of_name + of_agent
        columns = column_list(columns_of(EventRow))
        query = f"SELECT {columns} FROM event WHERE {where} GROUP BY agent, line{_last(latest)}"  # noqa: S608
        return {line_of(series): _rows(EventRow, series) for series in self._query(query)}

    def numbers(
        self, agent: str, spool: str, first: int, last: int, since: dt.datetime, until: dt.datetime
    ) -> dict[int, str]:
        query = (
            f"SELECT seq FROM {column_list(RESULTS)} WHERE agent = {quote(agent)} AND spool = {quote(spool)}"  # noqa: S608
            f" AND seq >= {first} AND seq <= {last} AND {time_clause(since, until)} GROUP BY line"
        )
        return {row[1]: series.tags.get("line", "") for series in self._query(query) for row in series.values}

    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        query = (
            f"SELECT min(spool_depth) FROM health WHERE {_of_units(agents)} AND {time_clause(since, received_before)}"  # noqa: S608
            f" AND received_ms < {milliseconds(received_before)} AND clock != 'estimated'"
            " GROUP BY time(1h), agent fill(none)"
        )
        return {
            series.tags["agent"]: [(when(at), int(depth)) for at, depth in series.values]
            for series in self._query(query)
        }

    def has_results(self, line: LineId, since: dt.datetime, until: dt.datetime) -> bool:
        query = (
            f"SELECT seq FROM {column_list(RESULTS)} WHERE agent = {quote(line.agent)} AND line = {quote(line.line)}"  # noqa: S608
            f" AND {time_clause(since, until)} LIMIT 1"
        )
        return bool(self._query(query))

    def ping(self) -> None:
        for bucket in dict.fromkeys((self._bucket, self._rollups_bucket)):
            # a SHOW is answered by InfluxDB 1 also where there is no such database
            self._query("SELECT seq FROM health WHERE time > now() LIMIT 1", bucket)
            self._ask_to_write(bucket)

    def version(self) -> str | None:
        """Of the database; None where it does not say. Raises StoreUnavailable."""
        return self._ask("GET", "/ping")[1].get("X-Influxdb-Version")

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]
        self._pool.clear()
        self._turn.close()

    def _of_line(
        self,
        kind: type[R],
        line: LineId,
        since: dt.datetime,
        until: dt.datetime,
        raw: bool = True,
        latest: int | None = None,
    ) -> list[R]:
        query = (
            f"SELECT {_columns(kind, raw)} FROM {MEASUREMENT_OF[kind]} WHERE agent = {quote(line.agent)}"  # noqa: S608
            f" AND line = {quote(line.line)} AND {since_clause(since)}"
        )
        rows: list[R] = []
        end_ns, left = time_ns(until), latest
        while True:
            most = None if left is None else min(PAGE, left)
            series = self._query(f"{query} AND time < {end_ns}{_last(most)}")
            rows = [row for one in series for row in _rows(kind, one)] + rows
            times = [at for one in series for at, *_ in one.values]
            if left is None or most is None or len(times) < most or len(times) == left:
                return rows
            end_ns, left = min(times), left - len(times)

    def _last_not_late(self, measurement: str, line: LineId, since: dt.datetime) -> dt.datetime | None:
        pages = pages_back(partial(self.stamps, measurement, line), since, END)
        return next((stamp.at for page in pages for stamp in reversed(page) if not stamp.late), None)

    def _stored_like(self, results: Sequence[StoredResult]) -> list[StoredResult]:
        """What is stored in the microseconds of those results that are not surely new."""
        unknown = list(self._latest.unknown(results).items())
        for start in range(0, len(unknown), UNITS_A_QUERY):
            units = dict(unknown[start : start + UNITS_A_QUERY])
            self._latest.learn(units, since := min(units.values()), self._latest_of(units, since))
        return self._stored_among([result for result in results if not self._latest.is_new(result)])

    def _latest_of(self, agents: Collection[str], since: int) -> dict[LineKey, int]:
        """The latest microsecond of each line and measurement of these units, where it is not before `since`."""
        query = (
            f"SELECT last(seq) FROM {column_list(RESULTS)} WHERE {_of_units(agents)} AND time >= {since * PLACES}"  # noqa: S608
            " GROUP BY agent, line"
        )
        return {_key_of(series): series.values[0][0] // PLACES for series in self._query(query)}

    def _stored_among(self, results: Sequence[StoredResult]) -> list[StoredResult]:
        """What is stored in the microseconds of these results, of any line of their units."""
        times: dict[str, set[int]] = {}
        for result in results:
            times.setdefault(result.key.agent, set()).add(result.micros)
        measurements = sorted({result.key.measurement for result in results})
        asked = [
            _in_range(agent, measurements, *span, limit=MAX_IN_RANGE)
            for agent, of_agent in times.items()
            for span in ranges(of_agent)
        ]
        found = self._ask_all(asked)
        full = {series.tags.get("agent", "") for series in found if len(series.values) >= MAX_IN_RANGE}
        one_by_one = [_in_range(agent, measurements, at, at) for agent in full for at in sorted(times[agent])]
        found = [series for series in found if series.tags.get("agent", "") not in full] + self._ask_all(one_by_one)
        return [_stored(series, row) for series in found for row in series.values]

    def _ask_all(self, statements: Iterable[str]) -> list[Series]:
        """The answers to many statements, in as few requests as may be."""
        return [series for query in _joined(statements) for series in self._query(query)]

    def _bucket_of(self, one: TypedPoint) -> WriteTarget:
        return self._bucket_for(one.point.measurement)

    def _bucket_for(self, measurement: str) -> WriteTarget:
        return self._rollups_bucket if measurement in ROLLED else self._bucket

    def _losing_fields(self, points: Sequence[Point]) -> list[Point]:
        """Those of some points of one measurement and time that are stored with a field more."""
        measurement, at = points[0].measurement, when(points[0].time_ns)
        stored = {_identity(one): one.fields.keys() for one in self.figures.points(measurement, at, at + TICK)}
        return [one for one in points if not stored.get(_identity(one), set()) <= one.fields.keys()]

    def _delete(self, points: Sequence[Point]) -> None:
        """Deletes points of one measurement and time. InfluxDB 3 deletes nothing: there the fields stay."""
        if not points:
            return
        measurement, names = points[0].measurement, identity_of(points[0].measurement)
        each = (" AND ".join(f"{name} = {quote(one.tags.get(name, ''))}" for name in names) for one in points)
        which = " OR ".join(f"({one})" for one in each)
        query = f'DELETE FROM "{measurement}" WHERE time = {points[0].time_ns} AND ({which})'  # noqa: S608
        bucket = self._bucket_for(measurement)
        body = urlencode({"db": bucket.name, "q": query}).encode()
        status, headers, text = self._ask("POST", "/query", body)
        check_delete(self._url, bucket, status, headers, text)

    def _write(self, bucket: WriteTarget, batch: Sequence[TypedPoint]) -> list[Rejection]:
        """Writes a batch, or halves it until the points that the database refuses stand alone."""
        try:
            self._post(bucket, "\n".join(map(line_protocol, batch)))
        except BatchRefused as refused:
            if len(batch) == 1:
                return [rejection(batch[0].point, str(refused))]
        except BatchTooLarge as large:
            if len(batch) == 1:
                raise StoreRefused(f"{self._url} refuses even one point as too large: {large}") from large
        else:
            return []
        middle = len(batch) // 2
        first = self._write(bucket, batch[:middle])
        failpoints.at("influx.halved")
        return first + self._write(bucket, batch[middle:])

    def _post(self, bucket: WriteTarget, lines: str) -> None:
        if not self._writing.acquire(timeout=self._timeout_s):
            raise StoreUnavailable(f"{self._url}: another write has not ended within {self._timeout_s:g} s")
        try:
            self._write_api.write(bucket.name, record=lines)  # times are in ns by default
            answer = self._client.api_client.last_response
            status, headers, body = answer.status, answer.getheaders(), answer.data
        except ApiException as error:
            if not error.status:  # TLS failed
                raise StoreUnavailable(f"{self._url}: {error.reason}") from error
            status, headers, body = error.status, error.headers, error.body
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self._url}: {error}") from error
        finally:
            self._writing.release()
        failpoints.at("influx.answered")
        check_write(self._url, bucket, status, headers, body or "")

    def _ask_to_write(self, bucket: WriteTarget) -> None:
        """Writes no point: InfluxDB 1.8 and 2 check the token and the bucket all the same."""
        where = urlencode({"org": self._org, "bucket": bucket.name, "precision": "ns"})
        status, headers, body = self._ask("POST", f"/api/v2/write?{where}")
        with suppress(BatchRefused):  # an empty body is a fault of the points, not of the settings
            check_write(self._url, bucket, status, headers, body)

    def _query(self, query: str, bucket: WriteTarget | None = None) -> list[Series]:
        bucket = bucket or self._bucket
        where = urlencode({"db": bucket.name, "epoch": "ns", "q": query})
        return check_query(self._url, bucket, *self._ask("GET", f"/query?{where}"))

    def _ask(self, method: str, path: str, form: bytes | None = None) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body. Raises StoreUnavailable."""
        headers = self._headers if form is None else {**self._headers, "Content-Type": FORM}
        try:
            answer = self._pool.request(method, f"{self._url}{path}", headers=headers, body=form)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"{self._url}: {error}") from error
        return answer.status, answer.headers, answer.data.decode(errors="replace")


def _added(placed: Placed, rejections: Iterable[Rejection]) -> Added:
    """Of what was placed and, but for its rejections, written. A twin of what was rejected is rejected too."""
    rejected = [Rejection(placed.given(point), reason) for point, reason in placed.rejections]
    reasons = {id(point): reason for point, reason in rejected}
    for twin, given in placed.twins:
        if id(given) in reasons:
            placed.known.pop(id(twin), None)
            rejected.append(Rejection(twin, reasons[id(given)]))
    known = {id_: stored.received_ms for id_, stored in placed.known.items()}
    late = frozenset(id_ for id_, stored in placed.known.items() if stored.late)
    return Added([*rejections, *rejected], known, late)


def _in_range(agent: str, measurements: Sequence[str], first: int, last: int, limit: int | None = None) -> str:
    """The statement for what is stored of a unit from one microsecond to another."""
    most = "" if limit is None else f" LIMIT {limit}"
    return (
        f"SELECT spool, seq, received_ms, late FROM {column_list(measurements)} WHERE agent = {quote(agent)}"  # noqa: S608
        f" AND time >= {first * PLACES} AND time < {(last + 1) * PLACES} GROUP BY agent, line{most}"
    )


def _joined(statements: Iterable[str]) -> Iterator[str]:
    """Statements put together, up to QUERY_BYTES of an address."""
    held: list[str] = []
    size = 0
    for statement in statements:
        needs = len(quote_plus(statement)) + 3
        if held and size + needs > QUERY_BYTES:
            yield ";".join(held)
            held, size = [], 0
        held.append(statement)
        size += needs
    if held:
        yield ";".join(held)


def _key_of(series: Series) -> LineKey:
    return LineKey(series.tags.get("agent", ""), series.tags.get("line", ""), series.name)


def _stored(series: Series, row: Sequence[Any]) -> StoredResult:
    at, spool, seq, received, late = row
    received_ms = milliseconds(when(at)) if received is None else int(received)
    return StoredResult(_key_of(series), at, str(spool), int(seq), received_ms, bool(late))


def _of_units(agents: Collection[str]) -> str:
    """The condition that a point is of one of some units, at least one."""
    return f"({' OR '.join(f'agent = {quote(agent)}' for agent in agents)})"


def _bucket_key(point: Point) -> tuple[str, int]:
    return point.measurement, point.time_ns


def _identity(point: Point) -> tuple[str, ...]:
    return tuple(point.tags.get(name, "") for name in identity_of(point.measurement))


def _one_of(lines: Lines) -> str:
    """The condition that a point is of one of some lines; empty where they are all."""
    each = " OR ".join(f"(agent = {quote(agent)} AND line = {quote(line)})" for agent, line in lines or ())
    return f" AND ({each})" if each else ""


def _columns(kind: type[R], raw: bool = True) -> str:
    """What makes up a row. Of a test that is read in part its engine is asked for too, because every test has one: a
    row without any value is left out by the database.
    """
    return column_list([*columns_of(kind, raw), *(["engine"] if kind in (Sample, Download) else [])])


def _last(latest: int | None) -> str:
    """The end of a question for only the latest points of each series; `rows_in_order` turns them round."""
    return "" if latest is None else f" ORDER BY time DESC LIMIT {latest}"


class InfluxFigures:
    """`Figures` of one database; `query` asks it, or with True the one of the roll-ups."""

    def __init__(self, query: Callable[[str, bool], list[Series]]) -> None:
        self._query = query

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        found = self._grouped(_columns(Download), "speed", since, until, agents)
        return {line_of(series): _rows(Download, series) for series in found}

    def latency(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, LatencyFigures]:
        found = self._grouped(column_list(PROBE), "latency", since, until, agents)
        # asked for apart: few points have the field, and to read it along costs InfluxDB as much as the others together
        late = {
            line_of(one): {at for at, is_late in one.values if is_late}
            for one in self._grouped("late", "latency", since, until, agents)
        }
        figures: dict[LineId, LatencyFigures] = {}
        for one in found:
            left_out = late.get(line_of(one), set())
            probes = {at: rest for at, *rest in one.values}
            figures[line_of(one)] = LatencyFigures.of((*rest, at in left_out) for at, rest in probes.items())
        return figures

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]:
        found = self._grouped("duration_s, late", "outage", since, until, agents)
        return {line_of(one): OutageTotal.of((row[1], row[2]) for row in rows_in_order(one)) for one in found}

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        counts: dict[LineId, int] = {}
        for series in self._grouped("count(seq)", column_list(COUNTED), since, until):
            line = line_of(series)
            counts[line] = counts.get(line, 0) + int(series.values[0][1])
        return counts

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        found = self._grouped("sum(tests), sum(probes), sum(outages), sum(excluded)", measurement, since, until)
        return {line_of(series): sum(int(value or 0) for value in series.values[0][1:]) for series in found}

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        tags = tags_in(measurement)
        query = f'SELECT * FROM "{measurement}" WHERE {time_clause(since, until)} GROUP BY {column_list(tags)}'  # noqa: S608
        return [
            own_point(measurement, series.tags, at, dict(zip(series.columns[1:], cells, strict=True)))
            for series in self._query(query, measurement in ROLLED)
            for at, *cells in rows_in_order(series)
        ]

    def _grouped(
        self, what: str, measurement: str, since: dt.datetime, until: dt.datetime, agents: Agents = None
    ) -> Sequence[Series]:
        """By line. `measurement` is a name of ours, or several, quote."""
        if agents is not None and not agents:
            return []
        one_of = "" if agents is None else f" AND {_of_units(agents)}"
        query = f"SELECT {what} FROM {measurement} WHERE {time_clause(since, until)}{one_of} GROUP BY agent, line"  # noqa: S608
        return self._query(query, measurement in ROLLED)


def quote(text: str) -> str:
    """A string of InfluxQL, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def column_list(columns: Sequence[str]) -> str:
    """Names of columns, quoted, with commas between them."""
    return ", ".join(f'"{column}"' for column in columns)


def since_clause(since: dt.datetime) -> str:
    """The condition that a point is not older than `since`."""
    return f"time >= {time_ns(since)}"


def time_clause(since: dt.datetime, until: dt.datetime) -> str:
    """The condition that a point is of [since, until)."""
    return f"{since_clause(since)} AND time < {time_ns(until)}"


def _rows(kind: type[R], series: Series) -> list[R]:
    return rows_of(kind, series.columns[1:], rows_in_order(series))


def rows_in_order(series: Series) -> list[list[Any]]:
    """Time and values of each row. A result is there twice if its line was renamed between two sends: it counts
    once.
    """
    rows = {row[0]: row for row in series.values}
    return [rows[at] for at in sorted(rows)]


def line_of(series: Series) -> LineId:
    """The line of a series grouped by agent and line; '' where a tag is absent."""
    return LineId(series.tags.get("agent", ""), series.tags.get("line", ""))
