"""What only InfluxDB can do to the collector: refuse a point, be away, ask for patience, be something else."""

import datetime as dt
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from collector.ingest import lateness
from collector.judge import line_tracker
from collector.rollups import rollups
from collector.store import influx
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.points import Point, time_ns
from tests.support.services import InfluxV2, Nginx, free_port
from tests.support.stored import LINE, NOW, health, speed
from xomnet.runtime.clock import utc_now

EARLIER, LATER = NOW - dt.timedelta(days=2), NOW + dt.timedelta(days=2)


@pytest.fixture
def bucket(influx_v2: InfluxV2) -> str:
    name = f"influx-{uuid.uuid4().hex[:12]}"
    influx_v2.create(name)
    return name


@pytest.fixture
def store(influx_v2: InfluxV2, bucket: str) -> Iterator[InfluxStore]:
    opened = InfluxStore(influx_v2.url, "any", bucket)
    yield opened
    opened.close()


# --- long questions


def test_the_longest_questions_pass_a_proxy(store: InfluxStore) -> None:
    """influxd stands behind nginx here, which takes 8 kB."""
    units = [f"{'nd-' + 'h' * 27}{n:02}" for n in range(max(line_tracker.LINES_A_QUERY, rollups.UNITS_A_QUERY))]
    lines = [LineId(agent, "w" * 32) for agent in units]
    assert {len(name) for line in lines for name in line} == {32}
    store.write([speed(NOW, 1, lines[-1])])
    assert list(store.samples(EARLIER, LATER, lines[-line_tracker.LINES_A_QUERY :])) == lines[-1:]
    assert list(store.figures.downloads(EARLIER, LATER, units[-rollups.UNITS_A_QUERY :])) == lines[-1:]
    results = [speed(NOW, 2, line) for line in lines[-influx.UNITS_A_QUERY :]]
    assert store.add(results).known == {}
    assert len(store.add(results).known) == len(results)
    assert store.spool_depths(units[-lateness.UNITS_A_QUERY :], EARLIER, LATER) == {}


# --- bad points


def test_one_bad_point_of_200_is_found_in_17_requests_and_199_are_stored(
    store: InfluxStore, influx_v2: InfluxV2, bucket: str
) -> None:
    # the field is a text in this week's files, so the database refuses the number that the contract wants
    influx_v2.write(bucket, f'speed,agent=alien reordered_packets="many" {int(NOW.timestamp())}000000000')
    points = [speed(NOW + dt.timedelta(seconds=n), n) for n in range(1, 201)]
    points[77] = speed(NOW + dt.timedelta(seconds=78), 78, reordered_packets=3)
    before = influx_v2.front.requests("POST /api/v2/write")
    (rejection,) = store.write(points)
    assert influx_v2.front.requests("POST /api/v2/write") - before <= 17
    assert rejection.point is points[77]
    assert "field type conflict" in rejection.reason
    assert "reordered_packets" in rejection.reason
    assert len(store.speed(LINE, EARLIER, LATER)) == 199


def test_several_bad_points_are_each_found(store: InfluxStore, influx_v2: InfluxV2, bucket: str) -> None:
    influx_v2.write(bucket, f'speed,agent=alien reordered_packets="many" {int(NOW.timestamp())}000000000')
    points = [
        speed(NOW + dt.timedelta(seconds=n), n, reordered_packets=3 if n in {1, 40, 41, 64} else None)
        for n in range(1, 65)
    ]
    rejected = [rejection.point.fields["seq"] for rejection in store.write(points)]
    assert sorted(rejected) == [1, 40, 41, 64]
    assert len(store.speed(LINE, EARLIER, LATER)) == 60


def test_a_point_older_than_the_database_keeps_is_rejected_with_the_reason(influx_v2: InfluxV2) -> None:
    influx_v2.create("short-lived", duration="168h")
    store = InfluxStore(influx_v2.url, "any", "short-lived")
    now = utc_now()
    late = speed(now - dt.timedelta(days=60), 1)
    (rejection,) = store.write([speed(now, 2), late])
    assert rejection.point is late
    assert "retention" in rejection.reason
    assert len(store.speed(LINE, now - dt.timedelta(days=90), now + dt.timedelta(days=1))) == 1
    store.close()


def test_a_large_write_goes_in_batches_of_a_thousand(store: InfluxStore, influx_v2: InfluxV2) -> None:
    before = influx_v2.front.requests("POST /api/v2/write")
    store.write([speed(NOW + dt.timedelta(seconds=n), n) for n in range(1, 2502)])
    assert influx_v2.front.requests("POST /api/v2/write") - before == 3
    assert len(store.speed(LINE, EARLIER, LATER)) == 2501


def test_all_lines_are_read_with_one_query(store: InfluxStore, influx_v2: InfluxV2) -> None:
    store.write([speed(NOW, n, LineId(f"nd-{n}", "ftth")) for n in range(1, 301)])
    store.write([health(NOW, n, agent=f"nd-{n}") for n in range(1, 301)])
    before = influx_v2.front.requests("GET /query")
    assert (len(store.samples(EARLIER, LATER)), len(store.last_results(EARLIER)), len(store.health(EARLIER))) == (
        *(300, 300),
        300,
    )
    assert influx_v2.front.requests("GET /query") - before == 3


# --- the database is away


def test_a_database_killed_in_mid_way_comes_back_with_every_confirmed_point(own_influx_v2: InfluxV2) -> None:
    own_influx_v2.create("xomnet")
    store = InfluxStore(own_influx_v2.url, "any", "xomnet", timeout_s=5)
    killer = threading.Timer(0.4, own_influx_v2.kill)
    killer.start()
    confirmed: list[int] = []
    with pytest.raises(StoreUnavailable):  # noqa: PT012  # sooner or later
        for first in range(1, 1_000_000, 20):
            points = [speed(NOW + dt.timedelta(milliseconds=n), n) for n in range(first, first + 20)]
            assert store.write(points) == []
            confirmed += range(first, first + 20)
    killer.join()
    with pytest.raises(StoreUnavailable):
        store.samples(EARLIER, LATER)
    own_influx_v2.start()
    store.ping()
    stored = {int(row.at.timestamp() * 1000) for row in store.speed(LINE, EARLIER, LATER)}
    assert confirmed
    assert stored >= {int(NOW.timestamp() * 1000) + n for n in confirmed}
    store.close()


def test_a_database_that_does_not_exist_is_found_out_before_the_first_write(influx_v2: InfluxV2) -> None:
    store = InfluxStore(influx_v2.url, "any", "never-made")
    with pytest.raises(StoreRefused, match=r"database not found: never-made: look at store\.bucket"):
        store.ping()
    store.close()


def test_a_database_of_roll_ups_that_does_not_exist_is_found_out_as_well(influx_v2: InfluxV2, bucket: str) -> None:
    store = InfluxStore(influx_v2.url, "any", bucket, rollups_bucket="never-made")
    with pytest.raises(StoreRefused, match=r"database not found: never-made: look at store\.rollups_bucket"):
        store.ping()
    store.close()


def test_a_token_that_may_only_read_is_found_out_before_the_first_write(
    influx_v2: InfluxV2, bucket: str, tmp_path: Path
) -> None:
    no = """'{"code":"forbidden","message":"insufficient permissions for write"}'"""
    front = f"location = /api/v2/write {{ return 403 {no}; }} location / {{ proxy_pass {influx_v2.url}; }}"
    with Nginx(tmp_path, front) as reading:
        store = InfluxStore(f"http://127.0.0.1:{reading.port}", "any", bucket)
        assert store.samples(EARLIER, LATER) == {}
        with pytest.raises(StoreRefused, match=r"insufficient permissions for write.*store\.token_file"):
            store.ping()
        store.close()


def test_asking_whether_the_database_takes_points_gives_it_none(
    store: InfluxStore, influx_v2: InfluxV2, bucket: str
) -> None:
    store.ping()
    assert "series" not in influx_v2.query("SHOW MEASUREMENTS", bucket)


def test_nobody_listening_is_unavailable() -> None:
    store = InfluxStore(f"http://127.0.0.1:{free_port()}", "any", "xomnet")
    for attempt in (lambda: store.write([speed(NOW, 1)]), store.ping, lambda: store.speed(LINE, EARLIER, LATER)):
        with pytest.raises(StoreUnavailable) as raised:
            attempt()
        assert not isinstance(raised.value, StoreRefused)
    store.close()


def test_a_database_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = InfluxStore(f"http://127.0.0.1:{silent.getsockname()[1]}", "any", "xomnet", timeout_s=0.5)
        for attempt in (lambda: store.write([speed(NOW, 1)]), store.ping):
            begin = time.monotonic()
            with pytest.raises(StoreUnavailable):
                attempt()
            assert time.monotonic() - begin < 2
        store.close()


def test_a_connection_cut_in_the_answer_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 20")
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        store = InfluxStore(f"http://127.0.0.1:{server.getsockname()[1]}", "any", "xomnet", timeout_s=5)
        with pytest.raises(StoreUnavailable):
            store.write([speed(NOW, 1)])
        thread.join()
        store.close()


# --- every answer that a database, or what stands before it, may give


class Answering:
    """A small real HTTP server that gives one answer to everything and counts the requests."""

    def __init__(self) -> None:
        self.status, self.body = 204, b""
        self.headers: dict[str, str] = {}
        self.is_empty = False
        """It answers each question, uncounted, that nothing is stored."""
        self.seen: list[tuple[str, str, str | None]] = []
        answering = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if answering.is_empty and self.path.startswith("/query"):
                    self._answer(200, {}, b'{"results":[]}')
                    return
                answering.seen.append((self.command, self.path, self.headers.get("Authorization")))
                self._answer(answering.status, answering.headers, answering.body)

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def gives(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.status, self.body = status, body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.end()


@pytest.fixture
def asked(server: Answering) -> Iterator[InfluxStore]:
    """A store whose database is `server`."""
    opened = InfluxStore(server.url, "secret", "xomnet", timeout_s=5)
    yield opened
    opened.close()


OWN = Point("collector_state", {}, {"up": 1}, time_ns(NOW))

WAYS: list[Callable[[InfluxStore], object]] = [
    lambda store: store.write([OWN]),
    lambda store: store.add([speed(NOW, 1), speed(NOW, 2)]),
    lambda store: store.samples(EARLIER, LATER),
]


@pytest.mark.parametrize("way", WAYS, ids=["write", "add", "read"])
@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "store.token_file"),
        (403, "store.token_file"),
        (404, "store.bucket"),
        (405, "store.url"),
        (410, "store.url"),
    ],
)
def test_wrong_settings_need_a_person_and_name_the_setting(
    server: Answering, asked: InfluxStore, way: Callable[[InfluxStore], object], status: int, says: str
) -> None:
    server.gives(status, b'{"message":"no"}')
    with pytest.raises(StoreRefused, match=says) as raised:
        way(asked)
    assert server.url in str(raised.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize("way", WAYS, ids=["write", "add", "read"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_overloaded_database_is_asked_again_later(
    server: Answering, asked: InfluxStore, way: Callable[[InfluxStore], object], status: int
) -> None:
    server.gives(status, b"<html>busy</html>", Retry_After="7")
    with pytest.raises(StoreUnavailable) as raised:
        way(asked)
    assert not isinstance(raised.value, StoreRefused)
    assert raised.value.retry_after_s == 7.0
    assert len(server.seen) == 1


def test_retry_after_may_be_a_date(server: Answering, asked: InfluxStore) -> None:
    ahead = format_datetime(utc_now() + dt.timedelta(seconds=600), usegmt=True)
    for header, least, most in ((ahead, 400, 600), ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0)):
        server.gives(429, Retry_After=header)
        with pytest.raises(StoreUnavailable) as raised:
            asked.write([speed(NOW, 1)])
        assert raised.value.retry_after_s is not None
        assert least <= raised.value.retry_after_s <= most


@pytest.mark.parametrize("header", ["soon", "-5", "1e3", ""])
def test_a_retry_after_without_sense_is_left_to_the_back_off(
    server: Answering, asked: InfluxStore, header: str
) -> None:
    server.gives(503, Retry_After=header)
    with pytest.raises(StoreUnavailable) as raised:
        asked.write([speed(NOW, 1)])
    assert raised.value.retry_after_s is None


@pytest.mark.parametrize("status", [400, 422])
def test_the_database_alone_may_reject_a_point(server: Answering, asked: InfluxStore, status: int) -> None:
    server.is_empty = True
    server.gives(status, b'{"code":"invalid","message":"partial write:\\nfield type conflict"}')
    rejections = asked.write([speed(NOW, 1), speed(NOW, 2)])
    assert [rejection.reason for rejection in rejections] == ["partial write: field type conflict"] * 2
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html><h1>400 The plain HTTP request was sent to HTTPS port</h1></html>"),
        (400, b""),
        (200, b"<html>Welcome to Grafana</html>"),
        (202, b"{}"),
    ],
)
def test_what_is_not_the_database_neither_stores_nor_rejects(
    server: Answering, asked: InfluxStore, status: int, body: bytes
) -> None:
    server.gives(status, body)
    with pytest.raises(StoreRefused, match=r"store\.url"):
        asked.write([speed(NOW, 1)])


@pytest.mark.parametrize("way", WAYS, ids=["write", "add", "read"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    server: Answering, asked: InfluxStore, way: Callable[[InfluxStore], object], status: int
) -> None:
    server.gives(status, Location=f"{server.url}/elsewhere")
    with pytest.raises(StoreRefused, match="/elsewhere"):
        way(asked)
    assert len(server.seen) == 1


def test_too_large_a_body_is_halved_down_to_a_point_and_then_needs_a_person(
    server: Answering, asked: InfluxStore
) -> None:
    server.is_empty = True
    server.gives(413)
    with pytest.raises(StoreRefused, match="even one point"):
        asked.write([speed(NOW, n) for n in range(1, 9)])
    assert len(server.seen) == 4


def test_a_proxy_with_a_small_limit_gets_smaller_bodies(influx_v2: InfluxV2, bucket: str, tmp_path: Path) -> None:
    front = f"client_max_body_size 4k; location / {{ proxy_pass {influx_v2.url}; }}"
    with Nginx(tmp_path, front) as small:
        store = InfluxStore(f"http://127.0.0.1:{small.port}", "any", bucket)
        assert store.write([speed(NOW + dt.timedelta(seconds=n), n) for n in range(1, 201)]) == []
        assert len(store.speed(LINE, EARLIER, LATER)) == 200
        store.close()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"results":[{"statement_id":0,"error":"database not found: xomnet"}]}', StoreRefused),
        (b'{"results":[{"statement_id":0,"error":"query-timeout limit exceeded"}]}', StoreUnavailable),
        (b'{"results":[{"series":[{"columns":["time"],"values":[],"partial":true}],"partial":true}]}', StoreRefused),
        (b"<html>Welcome to Grafana</html>", StoreRefused),
        (b'{"results":[{"ser', StoreRefused),
    ],
)
def test_an_answer_with_an_error_or_a_part_is_no_answer(
    server: Answering, asked: InfluxStore, body: bytes, kind: type[StoreUnavailable]
) -> None:
    server.gives(200, body)
    with pytest.raises(StoreUnavailable) as raised:
        asked.samples(EARLIER, LATER)
    assert type(raised.value) is kind


def test_the_token_goes_with_writes_and_reads(server: Answering, asked: InfluxStore) -> None:
    asked.write([OWN])
    server.gives(200, b'{"results":[{"statement_id":0}]}')
    asked.samples(EARLIER, LATER)
    assert [authorization for _, _, authorization in server.seen] == ["Token secret"] * 2
    assert "bucket=xomnet" in server.seen[0][1]
    assert "precision=ns" in server.seen[0][1]
    assert "db=xomnet" in server.seen[1][1]


def test_two_threads_write_and_read_at_once(store: InfluxStore) -> None:
    errors: list[BaseException] = []

    def work(line: LineId) -> None:
        try:
            for n in range(1, 31):
                assert store.write([speed(NOW + dt.timedelta(seconds=n), n, line)]) == []
                assert len(store.speed(line, EARLIER, LATER)) == n
        except BaseException as error:  # noqa: BLE001  # shown below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(LineId(f"nd-{n}", "ftth"),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
