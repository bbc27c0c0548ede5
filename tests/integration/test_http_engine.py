"""The http engine against our measurement server, and against servers that are broken or lie."""

import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.errors import MeasurementError as Failed
from agent.errors import ServersBusy
from agent.measure import download as download_module
from agent.measure.download import download
from agent.measure.engines import Progress, http, loaded_latency, speedtest_cli
from agent.measure.engines import TestSpec as Wanted
from agent.measure.engines.http import measure
from agent.measure.engines.http_stream import Stream
from agent.measure.latency import Anchor
from agent.settings import LatencySettings, LineSettings
from measurement_server import MeasurementServer, ServerLimits
from tests.support import faulty_servers
from tests.support.faulty_servers import Behaviour, Server, Visit
from tests.support.services import program
from xomnet.contract.messages import FLAGS, Speed

RATE_MBPS = 50.0
NOWHERE = "192.0.2.1"
"""TEST-NET-1 (RFC 5737)."""

Start = Callable[..., MeasurementServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts measurement servers and stops them at the end."""
    with ExitStack() as stack:

        def start(rate_mbps: float = RATE_MBPS, max_tests: int = 8, **limits: Any) -> MeasurementServer:
            server = MeasurementServer("127.0.0.1", 0, rate_mbps, max_tests, ServerLimits(**limits))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """ServerLimits of seconds become limits of tenths."""
    monkeypatch.setattr(http, "FIRST_BYTE_S", 1.0)
    monkeypatch.setattr(loaded_latency, "IDLE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(download_module, "UNMETERED_MEASURED_S", 0.8)
    monkeypatch.setattr(download_module, "ANCHOR_PROBE", LatencySettings(echoes=2, interval_ms=10, timeout_ms=100))


def run(
    *servers: str,
    anchors: tuple[Anchor, ...] = (),
    max_bytes: int = 200_000_000,
    cancelled: threading.Event | None = None,
    **more: Any,
) -> Speed:
    """A download test as a unit runs it."""
    line = {k: more.pop(k) for k in ("interface", "streams", "engine") if k in more}
    settings = LineSettings(line="ftth", access="fixed", **line)
    return download(settings, servers, anchors, max_bytes, cancelled or threading.Event(), **more)


# Our measurement server


@pytest.mark.alone
def test_it_reads_the_rate_within_five_per_cent_and_stops_as_soon_as_it_is_sure(start: Start) -> None:
    server = start()
    found = run(server.url)
    assert found.down_mbps == pytest.approx(RATE_MBPS, rel=0.05)
    assert found.trimmed_mbps == pytest.approx(RATE_MBPS, rel=0.05)
    assert found.gross_mbps == pytest.approx(RATE_MBPS, rel=0.1)
    assert (found.error, found.flags, found.stop_reason) == (None, (), "stable")
    assert (found.engine, found.server, found.streams) == ("http", server.url, 6)
    assert found.duration_s is not None
    assert found.measured_s is not None
    assert 2 <= found.measured_s < found.duration_s
    assert found.bytes == pytest.approx(RATE_MBPS / 8 * 1e6 * found.duration_s, rel=0.1)
    for rtt in (found.connect_ms, found.rtt_idle_ms, found.rtt_loaded_ms, found.rtt_loaded_p95_ms):
        assert rtt is not None
        assert 0 < rtt < 1000
    assert found.cpu_s is not None
    assert found.cpu_s < found.duration_s / 2
    assert len(found.series_mbps) == int(found.duration_s * 10)


def test_an_audit_runs_its_full_length(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "UNMETERED_MEASURED_S", 3.0)
    found = run(start().url, full=True)
    for _ in range(3):  # where the machine stands still for a moment, stopping early would have said nothing
        if found.early_mbps is None:
            found = run(start().url, full=True)
    assert (found.stop_reason, found.flags) == ("time_cap", ("audit",))
    assert found.measured_s == pytest.approx(3.0, abs=0.3)
    assert found.down_mbps == pytest.approx(RATE_MBPS, rel=0.05)
    assert found.early_mbps == pytest.approx(found.down_mbps, rel=0.05)
    assert run(start().url).early_mbps is None


def test_the_byte_cap_ends_a_test_and_is_flagged(start: Start) -> None:
    found = run(start(rate_mbps=0).url, max_bytes=3_000_000)
    assert found.stop_reason == "byte_cap"
    assert set(found.flags) == {"capped_bytes", "no_steady_state"}
    assert found.bytes is not None
    assert found.bytes >= 3_000_000
    assert found.down_mbps is not None
    assert found.down_mbps > 0


def test_the_byte_cap_is_kept(start: Start) -> None:
    found = run(start(rate_mbps=100).url, max_bytes=8_000_000)
    assert found.bytes is not None
    assert 6_500_000 <= found.bytes <= 8_000_000


def test_the_progress_is_told_as_it_goes(start: Start) -> None:
    told: list[Progress] = []
    run(start().url, progress=told.append)
    assert [one.t_s for one in told] == sorted(one.t_s for one in told)
    assert [one.measuring for one in told] == sorted(one.measuring for one in told)
    assert told[-1].measuring
    assert told[-1].mbps == pytest.approx(RATE_MBPS, rel=0.1)


def test_a_test_can_be_cancelled_within_a_second(start: Start) -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.7, cancelled.set)
    timer.start()
    at = time.monotonic()
    found = run(start().url, cancelled=cancelled)
    assert time.monotonic() - at < 1.7
    timer.join()
    assert (found.error, found.down_mbps) == ("cancelled", None)
    assert found.bytes


def test_a_busy_server_says_when_to_come_back(start: Start) -> None:
    server = start(max_tests=1)
    with _downloading(server), pytest.raises(ServersBusy) as caught:
        run(server.url, last_try=False)
    assert 5 <= caught.value.retry_after_s <= 15


def test_on_the_last_try_busy_is_the_result(start: Start) -> None:
    server = start(max_tests=1)
    with _downloading(server):
        found = run(server.url)
    assert (found.error, found.flags, found.down_mbps) == ("server_busy", ("server_busy",), None)


def test_of_several_busy_servers_the_first_that_is_free_sets_the_time() -> None:
    def busy(seconds: int) -> Behaviour:
        return faulty_servers.says(f"HTTP/1.1 503 Busy\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode())

    with Server(busy(40)) as first, Server(busy(9)) as second, pytest.raises(ServersBusy) as caught:
        run(first.url, second.url, last_try=False)
    assert caught.value.retry_after_s == 9


def test_where_the_first_server_is_busy_the_second_measures_and_that_is_flagged(start: Start) -> None:
    busy, free = start(max_tests=1), start()
    with _downloading(busy):
        found = run(busy.url, free.url, last_try=False)
    assert (found.server, found.flags) == (free.url, ("server_fallback",))
    assert found.down_mbps == pytest.approx(RATE_MBPS, rel=0.05)


@pytest.mark.usefixtures("short")
def test_what_waits_behind_a_lost_packet_counts_from_its_arrival_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel holds when all was read is what overtook a loss: here a megabyte for each stream."""
    truly = Stream.kernel_memory
    monkeypatch.setattr(Stream, "kernel_memory", lambda stream: truly(stream) + 1_000_000)
    transfer = http._Transfer(
        Wanted(server=(server := start()).url, max_measured_s=0.5),
        http._source(Wanted(server=server.url), http.GARBAGE),
        [1.0],
    )
    try:
        transfer.run()
        assert transfer.counts[-1][1] > transfer.bytes() + 500_000
    finally:
        transfer.close()


@pytest.mark.usefixtures("short")
def test_bytes_that_a_failed_server_moved_count_too(start: Start) -> None:
    with Server(faulty_servers.answers_then(2_000_000, Visit.reset)) as breaking:
        free = start()
        found = run(breaking.url, free.url)
    assert found.flags[-1] == "server_fallback"
    assert found.bytes is not None
    assert found.duration_s is not None
    assert found.gross_mbps is not None
    assert found.bytes > found.gross_mbps * found.duration_s / 8e-6 + 65_536


def _downloading(server: MeasurementServer) -> socket.socket:
    """Somebody else's download from the server."""
    connection = socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10)
    connection.sendall(b"GET /garbage.php?ckSize=1024 HTTP/1.1\r\nX-Xomnet-Test: other\r\n\r\n")
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


# Servers with ways of their own that can be measured all the same


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(faulty_servers.chunked, id="chunks without a length, as PHP gives them"),
        pytest.param(faulty_servers.in_small_answers(200_000), id="many answers of 200 kB on one connection"),
        pytest.param(faulty_servers.in_small_answers(30_000), id="many answers shorter than what is checked"),
        pytest.param(faulty_servers.in_small_answers(100), id="many answers of a hundred bytes"),
        pytest.param(faulty_servers.in_small_answers(2_000_000, last=1), id="a connection for each answer"),
        pytest.param(
            lambda v: v.send(faulty_servers.data_of(5_000_000, "Connection: close") + faulty_servers.RANDOM),
            id="says that it closes",
        ),
        pytest.param(
            lambda v: v.send(
                b"HTTP/1.0 200 OK\r\nContent-Length: 5242880\r\n\r\n" + faulty_servers.RANDOM,
            ),
            id="HTTP/1.0",
        ),
    ],
)
def test_a_server_with_ways_of_its_own_can_be_measured(behaviour: Behaviour) -> None:
    with Server(behaviour) as server:
        found = run(server.url)
    assert (found.error, found.error_detail) == (None, None)
    assert found.down_mbps is not None
    assert found.down_mbps > 1
    assert server.requests[0].startswith(b"GET /garbage.php?ckSize=1024&r=")


@pytest.mark.parametrize("answer_bytes", [70_000, 3_000_000])
def test_short_answers_do_not_slow_a_paced_line(answer_bytes: int) -> None:
    """Between two answers no time is lost but the round trip; a sleeper at a file's end would lose a tick of 50 ms."""
    mbps = 24.0
    begun = time.monotonic()
    sent = 0
    lock = threading.Lock()

    def behave(visit: Visit) -> None:
        nonlocal sent
        while True:
            visit.send(faulty_servers.data_of(answer_bytes))
            for start in range(0, answer_bytes, 10_000):
                piece = faulty_servers.RANDOM[start : min(answer_bytes, start + 10_000)]
                with lock:
                    sent = max(sent, int((time.monotonic() - begun - 0.02) * mbps / 8e-6)) + len(piece)
                    wait = sent / (mbps / 8e-6) - (time.monotonic() - begun)
                if visit.ending.wait(max(0.0, wait)):
                    return
                visit.send(piece)
            if not visit.request():
                return

    with Server(behave) as server:
        found = run(server.url, streams=1)
    assert found.down_mbps == pytest.approx(mbps, rel=0.05)


# Servers that break or lie

HOPELESS: list[tuple[str, Behaviour, str, tuple[str, ...]]] = [
    ("404", faulty_servers.says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "http_404", ()),
    ("500", faulty_servers.says(b"HTTP/1.1 500 Oops\r\n\r\n"), "http_500", ()),
    ("a portal's page", faulty_servers.portal_page("text/html; charset=utf-8"), "portal", ("portal",)),
    ("a portal's page as data", faulty_servers.portal_page("application/octet-stream"), "portal", ("portal",)),
    (
        "a redirect to a portal",
        faulty_servers.says(
            b"HTTP/1.1 302 Found\r\nLocation: http://login.example/?\x1b[2J\r\nContent-Length: 0\r\n\r\n"
        ),
        "portal",
        ("portal",),
    ),
    ("plain text", faulty_servers.portal_page("text/plain"), "portal", ("portal",)),
    ("zeros", faulty_servers.zeros, "payload_mismatch", ("payload_mismatch",)),
    ("no answer", Visit.hold, "stalled", ()),
    ("a head a byte at a time", lambda v: v.drip(faulty_servers.data_of(1 << 30), 0.05), "stalled", ()),
    ("a stall after 100 kB", faulty_servers.answers_then(100_000, Visit.hold), "stalled", ()),
    ("a drip", faulty_servers.drip, "stalled", ()),
    (
        "a trickle that is too slow to be checked",
        faulty_servers.trickle(700),
        "payload_mismatch",
        ("payload_mismatch",),
    ),
    ("a reset in mid-transfer", faulty_servers.answers_then(300_000, Visit.reset), "reset", ()),
    ("a reset for an answer", Visit.reset, "reset", ()),
    ("an end for an answer", lambda _: None, "reset", ()),
    ("each answer ended early", faulty_servers.answers_then(200_000, lambda _: None), "reset", ()),
    ("each answer ended at once", faulty_servers.answers_then(1000, lambda _: None), "reset", ()),
    (
        "an empty answer",
        faulty_servers.says(faulty_servers.OK + b"Content-Length: 0\r\n\r\n"),
        "payload_mismatch",
        ("payload_mismatch",),
    ),
    (
        "more than was announced",
        faulty_servers.says(faulty_servers.data_of(2000) + faulty_servers.RANDOM[:5000]),
        "payload_mismatch",
        ("payload_mismatch",),
    ),
    ("another protocol", faulty_servers.says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n"), "portal", ("portal",)),
    ("noise", faulty_servers.says(faulty_servers.RANDOM[:3000] + b"\r\n\r\n"), "portal", ("portal",)),
    ("noise without end", lambda v: v.pour(), "portal", ("portal",)),
    ("an endless head", faulty_servers.endless_head, "portal", ("portal",)),
    (
        "a head of 300 lines",
        faulty_servers.says(faulty_servers.OK + b"X: y\r\n" * 300 + b"Content-Length: 9\r\n\r\n"),
        "portal",
        ("portal",),
    ),
]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("behaviour", "error", "flags"), [h[1:] for h in HOPELESS], ids=[h[0] for h in HOPELESS])
def test_a_server_that_breaks_or_lies_is_a_failed_test_with_its_reason(
    behaviour: Behaviour, error: str, flags: tuple[str, ...]
) -> None:
    at = time.monotonic()
    with Server(behaviour) as server:
        found = run(server.url)
        took_s = time.monotonic() - at
    assert (found.error, found.flags, found.down_mbps) == (error, flags, None)
    assert set(found.flags) <= FLAGS
    assert found.error_detail
    assert found.error_detail.isprintable()
    for theirs in ("Oops", "Not Found", "login.example", "text/", "OpenSSH", "X: y"):
        assert theirs not in found.error_detail, "nothing of what listens there goes to the server"
    assert took_s < 5


def test_a_trickle_is_never_so_steady_that_it_is_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """One `<` each 50 ms read 0.00096 Mb/s, as soon as the early stop allowed: less than three seconds."""
    monkeypatch.setattr("agent.measure.engines.http.FIRST_BYTE_S", 5.0)
    with Server(faulty_servers.trickle(1)) as server:
        found = run(server.url)
    assert (found.error, found.down_mbps) == ("stalled", None)


@pytest.mark.usefixtures("short")
def test_a_server_that_speaks_before_it_is_asked_is_none() -> None:
    with Server(faulty_servers.says(b"220 mail.example ESMTP\r\n\r\n"), read_request=False) as server:
        assert run(server.url).error in ("portal", "reset")  # its words, or the RST after them


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("url", "error", "flags"),
    [
        ("http://no-such-host.invalid/", "dns_failure", ()),
        ("http://" + "a" * 64 + ".example/", "dns_failure", ()),
        ("http://a..b/", "dns_failure", ()),
        ("http://[::1", "settings", ("unit_fault",)),
        ("http://127.0.0.1:99999/", "settings", ("unit_fault",)),
        ("https://127.0.0.1/", "settings", ("unit_fault",)),
        ("http:///", "settings", ("unit_fault",)),
        ("", "settings", ("unit_fault",)),
    ],
)
def test_an_address_that_leads_nowhere_is_a_failed_test(url: str, error: str, flags: tuple[str, ...]) -> None:
    found = run(url)
    assert (found.error, found.flags) == (error, flags)


@pytest.mark.usefixtures("short")
def test_a_port_that_refuses_is_the_servers_fault() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = run(f"http://127.0.0.1:{unused.getsockname()[1]}/", anchors=(Anchor(NOWHERE, 443),), interface="lo")
    assert (found.error, found.flags, found.bytes) == ("connect_refused", (), 0)


@pytest.mark.usefixtures("short")
def test_an_interface_that_is_not_there_is_the_units_fault(start: Start) -> None:
    found = run(start().url, interface="no-such-if0")
    assert (found.error, found.flags) == ("interface_missing", ("unit_fault",))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("anchor_answers", "flags"), [(True, ()), (False, ("link_down",))])
def test_a_server_without_an_answer_means_that_the_line_is_down_only_where_no_anchor_answers(
    anchor_answers: bool, flags: tuple[str, ...]
) -> None:
    """Out by loopback nothing is reachable but this machine."""
    with Server(Visit.hold) as server, Server(Visit.hold) as near:
        anchors = (Anchor(NOWHERE, 443), *([Anchor("127.0.0.1", near.port)] if anchor_answers else []))
        for url in (server.url, f"http://{NOWHERE}:8080/"):
            found = run(url, anchors=anchors, interface="lo")
            assert found.error in ("stalled", "connect_timeout", "unreachable")
            assert found.flags == flags


@pytest.mark.usefixtures("short")
def test_a_server_that_answers_nonsense_never_means_that_the_line_is_down() -> None:
    with Server(faulty_servers.says(b"HTTP/1.1 404 Not Found\r\n\r\n")) as server:
        assert run(server.url, anchors=(Anchor(NOWHERE, 443),), interface="lo").flags == ()


# The interface that a line names


@pytest.fixture
def side_link(root: None, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An interface that leads to a measurement server in a namespace of its own: `(interface, the server's URL)`."""
    name = f"xt{secrets.token_hex(4)}"
    near, far = f"{name}n", f"{name}f"
    ip = program("ip")

    def do(*arguments: str) -> None:
        subprocess.run([ip, *arguments], check=True)

    do("netns", "add", name)
    try:
        do("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        do("address", "add", "198.51.100.1/24", "dev", near)
        do("link", "set", near, "up")
        do("-n", name, "address", "add", "198.51.100.2/24", "dev", far)
        do("-n", name, "link", "set", far, "up")
        server = [sys.executable, "-m", "measurement_server", "--host", "198.51.100.2", "--port", "0"]
        command = [ip, "netns", "exec", name, *server, "--rate", str(RATE_MBPS)]
        with (tmp_path / "server.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        with process:
            assert process.stdout
            url = process.stdout.readline().decode().strip()
            assert url, (tmp_path / "server.log").read_text()
            yield near, url
            process.terminate()
    finally:
        subprocess.run([ip, "link", "del", near], check=False)  # the namespace's own end takes its time
        do("netns", "del", name)


def test_a_test_leaves_by_the_interface_that_the_line_names(side_link: tuple[str, str]) -> None:
    name, url = side_link
    found = run(url, interface=name)
    assert found.down_mbps == pytest.approx(RATE_MBPS, rel=0.05)
    assert found.link_mbps == 10_000  # what the kernel says of such a pair
    assert found.bytes is not None
    assert found.other_bytes is not None
    assert found.other_bytes < 0.1 * found.bytes  # headers, and what was in flight at the end


@pytest.mark.usefixtures("short")
def test_pinned_to_another_interface_the_same_server_is_out_of_reach(side_link: tuple[str, str]) -> None:
    _, url = side_link
    found = run(url, interface="lo", anchors=(Anchor("198.51.100.2", 443),))
    assert (found.down_mbps, found.flags) == (None, ("link_down",))
    assert found.error in ("connect_timeout", "unreachable")


@pytest.mark.usefixtures("short")
def test_a_line_that_is_cut_in_mid_transfer_is_down(side_link: tuple[str, str]) -> None:
    name, url = side_link
    cut = threading.Timer(0.3, lambda: subprocess.run([program("ip"), "link", "set", name, "down"], check=True))
    cut.start()
    found = run(url, interface=name, anchors=(Anchor("198.51.100.2", 443),), full=True)
    cut.join()
    assert found.down_mbps is None
    assert found.error in ("stalled", "unreachable", "interface_down", "reset")
    assert found.flags == ("link_down",)


# speedtest-cli


@pytest.fixture
def through_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the proxy that speedtest-cli asks for speedtest.net."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return lambda url: monkeypatch.setenv("http_proxy", url)


@pytest.mark.parametrize("engine", ["speedtest-cli", "ookla"])
def test_speedtest_clis_way_leads_to_our_server_through_a_proxy(
    start: Start, through_proxy: Callable[[str], None], engine: str
) -> None:
    server = start(speedtest_s=3)
    through_proxy(server.url)
    found = run("", engine=engine) if engine == "speedtest-cli" else None
    if found is not None:
        assert found.error is None, found.error_detail
        assert found.down_mbps is not None
        assert 0.8 * RATE_MBPS < found.down_mbps < 1.05 * RATE_MBPS
        assert (found.engine, found.stop_reason, found.flags) == ("speedtest-cli", "engine", ())
        assert found.bytes is not None
        assert found.bytes > 0.8 * RATE_MBPS / 8 * 1e6 * 3
        assert found.rtt_idle_ms is not None
    else:
        from agent.measure.engines.ookla import IMAGE, best_server

        folder = best_server(Wanted(server=""))
        assert folder.startswith("http://")
        assert folder.endswith("/speedtest")
        found = http.download(Wanted(server=server.url + "/speedtest"), "ookla", IMAGE)
        assert found.down_mbps == pytest.approx(RATE_MBPS, rel=0.05)
        assert found.engine == "ookla"


@pytest.mark.parametrize(
    ("answer", "error", "flags"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "http_403", ()),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "server_busy", ("server_busy",)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html>x", "engine", ()),
        (b"\x16\x03\x01 what", "unreachable", ()),
        (b"", "unreachable", ()),
    ],
)
@pytest.mark.parametrize("engine", ["speedtest-cli", "ookla"])
def test_speedtest_net_that_refuses_is_a_failed_test(
    through_proxy: Callable[[str], None], answer: bytes, error: str, flags: tuple[str, ...], engine: str
) -> None:
    with Server(faulty_servers.says(answer)) as proxy:
        through_proxy(proxy.url)
        found = run("", engine=engine)
    assert (found.error, found.flags, found.engine) == (error, flags, engine)


def test_speedtest_cli_is_ended_when_its_time_is_up_and_when_cancelled(
    through_proxy: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speedtest_cli, "TIMEOUT_S", 1.0)
    with Server(Visit.hold) as proxy:
        through_proxy(proxy.url)
        assert run("", engine="speedtest-cli").error == "timeout"
        cancelled = threading.Event()
        cancelled.set()
        at = time.monotonic()
        assert run("", engine="speedtest-cli", cancelled=cancelled).error == "cancelled"
        assert time.monotonic() - at < 2


def test_an_engine_raises_nothing_but_its_own_error() -> None:
    with Server(faulty_servers.says(b"HTTP/1.1 404 Not Found\r\n\r\n")) as server, pytest.raises(Failed) as caught:
        measure(Wanted(server=server.url))
    assert str(caught.value) == "http_404: the server answered 404; is its URL right?"
