"""speedtest-cli and its finder against a speedtest.net of ours that refuses, changes, goes on for ever, or counts."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from agent.errors import MeasurementError as Failed
from agent.measure.download import download
from agent.measure.engines import TestSpec as Wanted
from agent.measure.engines import ookla, speedtest_cli
from agent.settings import LineSettings
from measurement_server import documents
from xomnet.contract.messages import Speed

Answer = Callable[["Visitor"], None]
CONFIG, LIST, LATENCY, IMAGE = "speedtest-config.php", "speedtest-servers", "latency.txt", "random"
DATA = random.Random(1).randbytes(300_000)
ENGINES = ("speedtest-cli", "ookla")


class Visitor(BaseHTTPRequestHandler):
    """One request; what is asked of www.speedtest.net comes as to a proxy."""

    protocol_version = "HTTP/1.1"
    server: "SpeedtestNet"

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path
        with contextlib.suppress(OSError):
            next((answer for part, answer in self.server.answers.items() if part in path), not_found)(self)

    do_POST = do_PUT = do_GET

    def says(self, body: bytes, status: int = 200, type_: str = "text/xml", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class SpeedtestNet(ThreadingHTTPServer):
    """Answers by what a path contains; `requests` has each one's method and path."""

    daemon_threads = True

    def __init__(self, changed: Mapping[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.requests: list[str] = []
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.answers: dict[str, Answer] = {
            CONFIG: text(documents.config("192.0.2.1", 1)),
            LIST: text(documents.servers(self.host)),
            LATENCY: text(documents.LATENCY),
            IMAGE: data,
            **changed,
        }

    def handle_error(self, *_: object) -> None:
        """Who hangs up in mid-answer does so on purpose."""


def not_found(visitor: Visitor) -> None:
    visitor.says(b"", 404)


def data(visitor: Visitor) -> None:
    visitor.says(DATA, type_="application/octet-stream")


def text(words: str) -> Answer:
    return lambda visitor: visitor.says(words.encode())


def status(code: int, **headers: str) -> Answer:
    return lambda visitor: visitor.says(b"", code, **headers)


def gigabyte(visitor: Visitor) -> None:
    visitor.send_response(200)
    visitor.send_header("Content-Length", str(1 << 30))
    visitor.end_headers()
    for _ in range(1 << 10):
        visitor.wfile.write(bytes(1 << 20))


def never_ending(visitor: Visitor) -> None:
    visitor.send_response(200)
    visitor.send_header("Content-Length", str(1 << 30))
    visitor.end_headers()
    while True:
        visitor.wfile.write(b"x")
        time.sleep(0.05)


def hangs_up(visitor: Visitor) -> None:
    visitor.close_connection = True


@pytest.fixture
def speedtest_net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SpeedtestNet]]:
    """Starts one with some answers changed, and sets it as the way to www.speedtest.net."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as stack:

        def start(changed: Mapping[str, Answer] | None = None) -> SpeedtestNet:
            server = stack.enter_context(SpeedtestNet(changed or {}))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            monkeypatch.setenv("http_proxy", f"http://{server.host}/")
            monkeypatch.setenv("no_proxy", "127.0.0.1")  # the measurement servers themselves
            return server

        yield start


def run(engine: str, interface: str | None = "lo", server: str = "", max_bytes: int = 3_000_000) -> Speed:
    """A test as a unit runs it, pinned like any line with an interface."""
    line = LineSettings(line="ftth", access="fixed", engine=engine, interface=interface)
    return download(line, [server], [], max_bytes, threading.Event())


Start = Callable[..., SpeedtestNet]


@pytest.mark.parametrize("interface", [None, "lo"])
@pytest.mark.parametrize("engine", ENGINES)
def test_it_measures_and_never_uploads(speedtest_net: Start, engine: str, interface: str | None) -> None:
    server = speedtest_net()
    found = run(engine, interface)
    assert (found.error, found.error_detail) == (None, None)
    assert found.engine == engine
    assert found.down_mbps is not None
    assert found.down_mbps > 1
    assert found.bytes is not None
    assert found.bytes >= len(DATA)
    assert any(CONFIG in request for request in server.requests)
    assert {request.split()[0] for request in server.requests} == {"GET"}
    assert not any("upload" in request for request in server.requests)


def test_a_speedtest_mini_is_measured_without_uploads_too(speedtest_net: Start) -> None:
    server = speedtest_net()
    server.answers["/mini"] = text(documents.INDEX)  # the last one: its files have their own answers
    found = run("speedtest-cli", server=f"http://{server.host}/mini")
    assert (found.error, found.error_detail) == (None, None)
    assert found.server == f"http://{server.host}/mini/speedtest/upload.php"
    assert {request.split()[0] for request in server.requests} == {"GET"}


PORTAL = "<html><head><title>Login</title></head><body><p>x</body></html>"
ODD: list[tuple[str, Mapping[str, Answer], str, str]] = [
    ("the configuration refused", {CONFIG: status(403)}, "http_403", "403"),
    ("the configuration a portal's page", {CONFIG: text(PORTAL)}, "engine", "has a page changed"),
    ("the configuration XHTML", {CONFIG: text("<html><p>x</p></html>")}, "engine", "has a page changed"),
    ("the configuration empty", {CONFIG: text("")}, "engine", "has a page changed"),
    ("the configuration without its parts", {CONFIG: text("<settings/>")}, "engine", "has a page changed"),
    (
        "the configuration without a key",
        {CONFIG: text(documents.config("192.0.2.1", 1).replace("ignoreids", "ignored"))},
        "engine",
        "has a page changed",
    ),
    (
        "the configuration with words for numbers",
        {CONFIG: text(documents.config("192.0.2.1", 1).replace('threadcount="4"', 'threadcount="four"'))},
        "engine",
        "has a page changed",
    ),
    (
        "the configuration without a place",
        {CONFIG: text(documents.config("192.0.2.1", 1).replace('lat="20.4388"', 'lat=""'))},
        "engine",
        "has a page changed",
    ),
    ("no configuration", {CONFIG: status(204)}, "engine", "has a page changed"),
    ("the configuration cut off", {CONFIG: hangs_up}, "unreachable", ""),
    ("all lists refused", {LIST: status(403)}, "http_403", ""),
    ("the list a portal's page", {LIST: text(PORTAL)}, "engine", "has a page changed"),
    ("the list empty", {LIST: text("<settings><servers/></settings>")}, "engine", "list of servers is empty"),
    (
        "the list of servers without an address",
        {LIST: text(documents.servers("h").replace("url=", "uri="))},
        "engine",
        "has a page changed",
    ),
    (
        "a server that is away",
        {LIST: text(documents.servers("127.0.0.1:1"))},
        "unreachable",
        "",
    ),
]


@pytest.mark.parametrize(("changed", "error", "words"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_odd_is_a_result_with_its_reason(
    speedtest_net: Start, engine: str, changed: Mapping[str, Answer], error: str, words: str
) -> None:
    speedtest_net(changed)
    found = run(engine)
    assert (found.error, found.engine, found.down_mbps) == (error, engine, None)
    assert set(found.flags) <= {"cpu_bound"}, "of the line nothing is said; of a busy machine it may be"
    assert words in (found.error_detail or "")


@pytest.mark.parametrize("part", [CONFIG, LIST])
@pytest.mark.parametrize("engine", ENGINES)
def test_too_many_requests_is_busy_for_as_long_as_the_server_says(
    speedtest_net: Start, engine: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speedtest_net({part: status(429, Retry_After="120")})
    assert run(engine).error == "server_busy"
    measure = {"speedtest-cli": speedtest_cli.measure, "ookla": ookla.measure}[engine]
    with pytest.raises(Failed) as caught:
        measure(Wanted(server="", interface="lo"))
    assert (caught.value.retry_after_s, caught.value.flags) == (120, ("server_busy",))


@pytest.mark.parametrize(("code", "error"), [(403, "http_403"), (429, "server_busy"), (404, "http_404")])
def test_a_figure_of_which_files_were_refused_is_none(speedtest_net: Start, code: int, error: str) -> None:
    """speedtest-cli itself would divide what was left by the time that it took."""
    server = speedtest_net()
    server.answers = {"random500": status(code), **server.answers}
    found = run("speedtest-cli")
    assert (found.error, found.down_mbps) == (error, None)
    assert any("random350x" in request for request in server.requests)


def test_a_server_that_breaks_off_every_file_is_no_zero(speedtest_net: Start) -> None:
    speedtest_net({IMAGE: hangs_up})
    found = run("speedtest-cli")
    assert (found.error, found.down_mbps) == ("unreachable", None)


def test_a_download_that_never_ends_is_ended_and_its_bytes_count(
    speedtest_net: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speedtest_cli, "TIMEOUT_S", 3.0)
    server = speedtest_net({IMAGE: never_ending})
    found = run("speedtest-cli")
    assert (found.error, found.error_detail) == ("timeout", "no result within 3 s")
    assert any(IMAGE in request for request in server.requests)
    assert found.bytes is not None
    assert found.bytes > 1000


def test_a_finder_that_never_ends_is_ended(speedtest_net: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ookla, "FIND_TIMEOUT_S", 1.0)
    speedtest_net({LIST: never_ending})
    assert run("ookla").error == "timeout"


@pytest.mark.parametrize(("engine", "part"), [("speedtest-cli", CONFIG), ("ookla", LIST)])
def test_a_gigabyte_for_a_page_is_a_result_and_takes_no_more_than_its_memory(
    speedtest_net: Start, engine: str, part: str
) -> None:
    speedtest_net({part: gigabyte})
    found = run(engine)
    assert (found.error, found.flags) == ("memory", ("unit_fault",))
    assert "400 MB" in (found.error_detail or "")
    assert found.bytes is not None
    assert 10_000_000 < found.bytes < 1 << 30
