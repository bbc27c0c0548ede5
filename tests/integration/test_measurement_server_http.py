"""The measurement server over real sockets: its answers and its bounds."""

import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from measurement_server import MeasurementServer, ServerLimits

Start = Callable[..., MeasurementServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers and stops them at the end."""
    with ExitStack() as stack:

        def start(rate_mbps: float = 0, max_tests: int = 8, **limits: Any) -> MeasurementServer:
            server = MeasurementServer("127.0.0.1", 0, rate_mbps, max_tests, ServerLimits(**limits))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.close)
            return server

        yield start


def connect(server: MeasurementServer) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)


def ask(
    server: MeasurementServer, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    with closing(connect(server)) as connection:
        connection.request(method, target, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()


def raw(server: MeasurementServer, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10)
    connection.sendall(request)
    return connection


def stream(server: MeasurementServer, test: str, mib: int = 1024) -> socket.socket:
    """A download that has begun."""
    connection = raw(server, f"GET /garbage.php?ckSize={mib} HTTP/1.1\r\nX-Xomnet-Test: {test}\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def wait_until(holds: Callable[[], bool], within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_librespeed_client_finds_every_step_on_one_connection(start: Start) -> None:
    """The requests of LibreSpeed's web client on another origin, in its order, a download aborted in mid-transfer."""
    server = start(rate_mbps=200, grace_s=0.1)
    cross = {"Origin": "http://page.example"}
    with closing(connect(server)) as connection:
        for _ in range(3):  # pings that choose the server
            connection.request("GET", "/backend/empty.php?cors=true&r=0.1", headers=cross)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Connection"] == "keep-alive"
        connection.request("GET", "/backend/getIP.php?cors=true&isp=true&distance=km&r=0.2", headers=cross)
        answer = connection.getresponse()
        assert json.loads(answer.read()) == {"processedString": "127.0.0.1", "rawIspInfo": ""}
        assert answer.headers["Content-Type"].startswith("application/json")

    with ExitStack() as streams:
        for number in range(6):
            download = streams.enter_context(closing(connect(server)))
            download.request("GET", f"/backend/garbage.php?cors=true&r=0.{number}&ckSize=100", headers=cross)
            answer = download.getresponse()
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Content-Length"] == str(100 * 2**20)
            assert "no-store" in answer.headers["Cache-Control"]
            assert len(answer.read(50_000)) == 50_000
    wait_until(lambda: len(server.deadlines) == 0)  # all six ended with their client

    with closing(connect(server)) as connection:
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-encoding"}
        connection.request("OPTIONS", "/backend/empty.php?cors=true&r=0.7", headers=cross | preflight)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "content-encoding" in answer.headers["Access-Control-Allow-Headers"].lower()
        for _ in range(2):
            upload = os.urandom(3_000_000)
            connection.request("POST", "/backend/empty.php?cors=true&r=0.8", upload, {"Content-Encoding": "identity"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")


def test_the_same_origin_gets_no_cors_headers(start: Start) -> None:
    answer, _ = ask(start(), "GET", "/empty.php?r=0.1")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_payload_cannot_be_compressed_and_differs_between_streams(start: Start) -> None:
    server = start()
    (_, first), (_, second) = (ask(server, "GET", "/garbage.php?ckSize=18") for _ in range(2))
    assert len(first) == len(second) == 18 * 2**20
    assert first[:1000] != second[:1000]
    assert len(zlib.compress(first[:1_000_000], 1)) > 999_000
    assert len(set(first[i : i + 4096] for i in range(0, 2**20, 4096))) == 256


def test_a_content_type_over_which_the_library_stumbles_is_a_bad_request(start: Start) -> None:
    with closing(connect(start())) as connection:
        connection.request("GET", "/backend/empty.php", headers={"Content-Type": "multipart/s; a*=''x; a*4*=''x"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (400, b"the head is not HTTP\n")


def test_head_says_what_get_would_send_and_takes_no_place(start: Start) -> None:
    server = start(max_tests=1)
    with closing(stream(server, "runs")), closing(connect(server)) as connection:
        for _ in range(2):
            connection.request("HEAD", "/garbage.php?ckSize=7")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, str(7 * 2**20), b"")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_swallowed_and_its_length_told(start: Start, chunked: bool) -> None:
    with closing(connect(start())) as connection:
        for _ in range(2):
            body: Any = (b"x" * 100_000 for _ in range(50)) if chunked else b"x" * 5_000_000
            connection.request("POST", "/speedtest/upload.php?x=1", body, encode_chunked=chunked)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"size=5000000")


def test_a_client_that_asks_before_it_uploads_is_told_to_go_on(start: Start) -> None:
    server = start()
    with closing(
        raw(server, b"POST /speedtest/upload.php HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    ) as c:
        assert c.recv(100).startswith(b"HTTP/1.1 100 ")
        c.sendall(b"abc")
        assert b"size=3" in c.recv(2000)


def test_one_client_too_many_is_told_when_to_come_back(start: Start) -> None:
    server = start(rate_mbps=20, max_tests=2, grace_s=0.1)
    with closing(stream(server, "one")) as one, closing(stream(server, "two")):
        for target in ("/garbage.php?ckSize=1&cors=true", "/speedtest/random350x350.jpg?cors"):
            answer, text = ask(server, "GET", target, X_Xomnet_Test="three")
            assert (answer.status, text) == (503, b"busy\n")
            assert 5 <= int(answer.headers["Retry-After"]) <= 15
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert ask(server, "GET", "/empty.php", X_Xomnet_Test="three")[0].status == 200
        stream(server, "two").close()
        one.close()  # in mid-transfer
        wait_until(lambda: ask(server, "GET", "/garbage.php?ckSize=1", X_Xomnet_Test="three")[0].status == 200)


def test_the_streams_of_one_client_together_get_the_rate_and_each_its_share(start: Start) -> None:
    server = start(rate_mbps=50)
    counts = [0] * 6

    def read(number: int) -> None:
        with closing(stream(server, "paced")) as connection:
            began.wait()
            buffer = bytearray(2**16)
            while time.monotonic() < end:
                counts[number] += connection.recv_into(buffer)

    began = threading.Event()
    end = time.monotonic() + 60
    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    began.set()
    time.sleep(0.2)  # what waited in the sockets is read
    at, before = time.monotonic(), sum(counts)
    time.sleep(2)
    mbps = (sum(counts) - before) * 8e-6 / (time.monotonic() - at)
    end = 0
    for thread in threads:
        thread.join()
    assert mbps == pytest.approx(50, rel=0.05)
    assert min(counts) > 0.85 * max(counts)


def test_two_clients_have_a_rate_each(start: Start) -> None:
    server = start(rate_mbps=40)
    took: dict[str, float] = {}

    def read(test: str) -> None:
        at = time.monotonic()
        ask(server, "GET", "/garbage.php?ckSize=4", X_Xomnet_Test=test)
        took[test] = time.monotonic() - at

    threads = [threading.Thread(target=read, args=(test,)) for test in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone_s = 4 * 2**20 * 8e-6 / 40
    assert all(0.95 * alone_s < seconds < 1.5 * alone_s for seconds in took.values())


@pytest.mark.parametrize(
    "target", ["http://{other}/secret", "http://{other}/", "http://{other}/speedtest-config.php", "/secret"]
)
def test_it_never_asks_another_server(start: Start, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.2)
        answer, text = ask(start(), "GET", target.format(other=f"127.0.0.1:{other.getsockname()[1]}"))
        with pytest.raises(TimeoutError):
            other.accept()
    if "secret" in target:
        assert answer.status == 404
        assert b"Known paths: garbage.php" in text


def test_the_list_of_servers_names_the_address_that_the_client_reached_or_the_public_one(start: Start) -> None:
    server = start()
    port = server.server_address[1]
    assert f'host="127.0.0.1:{port}"'.encode() in ask(server, "GET", "/speedtest-servers-static.php")[1]
    server.public_name = "do1.example.vn:8080"
    assert b'url="http://do1.example.vn:8080/speedtest/upload.php"' in ask(server, "GET", "/speedtest-servers.php")[1]


def test_a_tunnel_is_refused(start: Start) -> None:
    answer, _ = ask(start(), "CONNECT", "www.speedtest.net:443")
    assert answer.status == 404


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "text"),
    [
        ("GET", "/garbage.php?ckSize=0", {}, 400, b"from 1 to 1024"),
        ("GET", "/garbage.php", {"X-Xomnet-Test": "a b"}, 400, b"X-Xomnet-Test: allowed"),
        ("POST", "/garbage.php", {}, 405, b"GET, HEAD, OPTIONS"),
        ("DELETE", "/empty.php", {}, 405, b"GET, HEAD, OPTIONS, POST"),
        ("POST", "/empty.php", {"Content-Length": "many"}, 400, b"Content-Length: allowed"),
        ("POST", "/empty.php", {"Content-Length": "5\x1d"}, 400, b"Content-Length: allowed"),
        ("GET", "/empty.php", {"X": "y" * 20_000}, 431, b"8192 bytes"),
        ("GET", "/empty.php", {f"X{i}": "y" for i in range(150)}, 431, b""),
    ],
)
def test_an_odd_request_is_told_what_is_allowed(
    start: Start, method: str, target: str, headers: dict[str, str], status: int, text: bytes
) -> None:
    with closing(connect(start())) as connection:
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == status
        assert text in answer.read()


def test_what_is_no_http_gets_400_and_the_end_of_the_connection(start: Start) -> None:
    with closing(raw(start(), b"\x16\x03\x01 hello there, world\r\n\r\n")) as connection:
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_slow_idle_and_silent_clients_are_cut(start: Start) -> None:
    server = start(head_s=0.4, idle_s=0.4, stall_s=0.4)
    loris = raw(server, b"GET /empty.php HTTP/1.1\r\n")
    idle = raw(server, b"GET /empty.php HTTP/1.1\r\n\r\n")
    never_sends = raw(server, b"POST /empty.php HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
    never_reads = stream(server, "never-reads")
    with closing(loris), closing(idle), closing(never_sends), closing(never_reads):
        wait_until(lambda: len(server.deadlines) == 4)
        at = time.monotonic()
        while len(server.deadlines) and time.monotonic() - at < 5:
            time.sleep(0.05)
            try:
                loris.sendall(b"x")  # a byte at a time buys it nothing
            except OSError:
                continue
        assert time.monotonic() - at < 2


def test_no_connection_outlives_its_life(start: Start) -> None:
    server = start(rate_mbps=10, life_s=0.5)
    with closing(stream(server, "long")) as connection:
        at = time.monotonic()
        with suppress(ConnectionResetError):
            while connection.recv(2**16):
                pass
        assert 0.3 < time.monotonic() - at < 2


def test_of_connections_that_say_nothing_the_oldest_makes_room(start: Start) -> None:
    server = start(waiting_each=2)
    with closing(raw(server, b"")) as first, closing(raw(server, b"")):
        wait_until(lambda: len(server.deadlines) == 2)
        with closing(raw(server, b"GET /empty.php HTTP/1.1\r\n")) as third:
            with pytest.raises(ConnectionResetError):
                first.recv(1)
            assert len(server.deadlines) == 2
            third.sendall(b"\r\n")
            assert third.recv(12) == b"HTTP/1.1 200"


def test_the_requests_of_a_source_at_once_are_bounded(start: Start) -> None:
    server = start(rate_mbps=10, requests_each=2)
    with closing(stream(server, "one")), closing(stream(server, "one")):
        answer, text = ask(server, "GET", "/empty.php")
        assert (answer.status, text) == (503, b"busy\n")
        assert 5 <= int(answer.headers["Retry-After"]) <= 15
    wait_until(lambda: ask(server, "GET", "/empty.php")[0].status == 200)


def test_requests_may_come_together_and_in_pieces(start: Start) -> None:
    server = start()
    first = b"POST /speedtest/upload.php HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    second = b"\r\nGET /speedtest/latency.txt HTTP/1.1\r\nConnection: close\r\n\r\n"
    with closing(raw(server, first + second)) as together:
        answers = together.makefile("rb").read()
    assert answers.index(b"size=3") < answers.index(b"test=test\n")
    with closing(raw(server, b"")) as in_pieces:
        for byte in first + second:
            in_pieces.sendall(bytes([byte]))
        answers = in_pieces.makefile("rb").read()
    assert answers.index(b"size=3") < answers.index(b"test=test\n")


def test_a_test_that_takes_next_to_nothing_is_cut(start: Start) -> None:
    server = start(slow_s=0.5, grace_s=0.1, max_tests=1)
    with closing(stream(server, "holds")) as slow:
        wait_until(lambda: ask(server, "GET", "/garbage.php?ckSize=1", X_Xomnet_Test="honest")[0].status == 200)
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: slow.recv(2**20), b""))


def test_a_test_that_ends_is_logged_with_client_bytes_and_seconds(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = start(grace_s=0.05)
    for _ in range(2):
        ask(server, "GET", "/garbage.php?ckSize=1", X_Xomnet_Test="logged")
    wait_until(lambda: "test ended" in caplog.text)
    fields = [vars(record)["fields"] for record in caplog.records if record.message == "test ended"]
    assert [(f["client"], f["bytes"]) for f in fields] == [("logged", 2 * 2**20)]
    assert fields[0]["seconds"] >= 0


def test_a_server_that_never_served_can_be_closed_twice() -> None:
    server = MeasurementServer("127.0.0.1", 0)
    server.close()
    server.close()
    server.serve_forever()
