"""Clients without end: they cost neither the broker's connection nor the page, and the log stays small."""

import contextlib
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from collector import http_server
from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from tests.integration.test_enrol import ROW as UNIT_ROW
from tests.integration.test_enrol import UNIT, Enrolment, now
from tests.integration.test_link import Listener, say
from tests.support.deployment import HEADER, Collector, made, plain, until
from tests.support.services import Mosquitto
from tests.unit.test_authority import csr
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Link

ROW = "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01"
DESCRIPTORS, CLIENTS = 160, 200
ANSWER_BYTES = 30_000_000


@contextlib.contextmanager
def idle_clients(port: int, count: int) -> Iterator[None]:
    """Connections that say nothing, half a head, or part of a body; each is opened again when it is closed."""
    says = (
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ",
        b"POST /api/v1/maintenance HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    )
    ended = threading.Event()
    opened: list[socket.socket] = []

    def keep_open(number: int) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                opened.append(client)
                client.sendall(says[number % len(says)])
                client.settimeout(0.5)
                while not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        if client.recv(1000) == b"":
                            break

    threads = [threading.Thread(target=keep_open, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(opened) >= count, "all have come")
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """This process has `count` descriptors more in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 500, hard), hard))
    used = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    try:
        yield
    finally:
        for one in used:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_with_more_than_1024_descriptors_connects_to_the_broker(mosquitto: Mosquitto) -> None:
    with many_descriptors(1100):
        listener = Listener()
        link = Link(Broker(port=mosquitto.port), "many", listener, ("talk",), manual_ack=True)
        link.start()
        try:
            until(lambda: link.connected, "it is connected")
            say(link, b"x")
            until(lambda: [one.payload for one in listener.messages] == [b"x"], "its message comes back")
        finally:
            link.stop()


def limited(process: Collector | Enrolment) -> None:
    process._argv = ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *process._argv]


def test_idle_clients_cost_neither_the_broker_nor_the_page_and_do_not_fill_the_log(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    collector = Collector(made(tmp_path, "collector"), plain(mosquitto), [ROW])
    limited(collector)
    with collector:
        until(lambda: collector.health()["status"] == "ok", "it is well")
        with idle_clients(collector.port, CLIENTS):
            mosquitto.kill()
            until(lambda: collector.metric("xomnet_broker_connected") == 0, "it has noticed")
            mosquitto.start()
            until(lambda: collector.metric("xomnet_broker_connected") == 1, "it is connected again", 60)
            assert len(os.listdir(f"/proc/{collector.pid}/fd")) < DESCRIPTORS - 30
        assert len(collector.output()) < 50_000


def test_a_unit_is_enrolled_beside_idle_clients(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca", now())
    registry = tmp_path / "lines.csv"
    registry.write_text(HEADER + UNIT_ROW, encoding="utf-8")
    service = Enrolment(made(tmp_path, "service"), authority, registry)
    limited(service)
    body = {"agent": UNIT, "token": enrolment_tokens.make(authority, UNIT, now()), "csr": csr(UNIT).decode()}
    with service, idle_clients(service.port, CLIENTS):
        assert httpx.post(f"http://127.0.0.1:{service.port}/enrol/v1/certificate", json=body).status_code == 200


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[uvicorn.Server, int]]:
    """One that answers each request with 30 MB, and cuts after half a second instead of 20; its port."""
    monkeypatch.setattr(http_server, "REQUEST_S", 0.5)
    monkeypatch.setattr(http_server, "STALLED_S", 0.5)

    async def app(scope: object, receive: object, send: object) -> None:
        await receive()  # type: ignore[operator]
        await send({"type": "http.response.start", "status": 200})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"x" * ANSWER_BYTES})  # type: ignore[operator]

    one = http_server.http_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: one.started, "it listens")
            yield one, listening.getsockname()[1]
        finally:
            one.should_exit = True
            thread.join()


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", b"a"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),  # and never takes the answer
    ],
    ids=["nothing", "a head without end", "a body without end", "an answer that is not taken"],
)
def test_a_client_that_never_ends_is_cut(server: tuple[uvicorn.Server, int], said: bytes, then: bytes) -> None:
    one, port = server
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(said)
        until(lambda: one.server_state.connections, "it is there")

        def is_cut() -> bool:
            with contextlib.suppress(OSError):
                client.sendall(then)
            return not one.server_state.connections

        until(is_cut, "it is cut", 10)


def test_a_request_at_once_is_answered(server: tuple[uvicorn.Server, int]) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server[1]}", timeout=20) as client:
        for _ in range(3):
            assert len(client.get("/").content) == ANSWER_BYTES
