"""What is fuzzed: for each parser a function of any bytes that raises only where the parser is wrong, and seeds."""

import contextlib
import io
import ipaddress
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agent.errors import MeasurementError
from agent.measure.engines.http_stream import parse_head
from agent.net import modem
from agent.net.dns_message import AAAA, A, encode_name, encode_question, parse_answer
from collector.ingest.validate import Accepted, validate
from collector.store.line_protocol import line_protocol
from collector.store.rows import check_points
from measurement_server.acceptor import ClientConnection, head_bytes
from measurement_server.admission import Admission
from measurement_server.deadlines import Deadlines
from measurement_server.handler import RequestHandler
from measurement_server.limits import ServerLimits
from tests.security.cases import case
from tests.security.check import NOW, REGISTRY, lines_of
from tests.support.modems import GOOD_LTE, LOCATION, signal
from tests.support.modems import modem as modem_document
from tests.support.stored import AGENT
from xomnet.contract.radio import Radio
from xomnet.registry.registry import Registry, RegistryError, read_rows
from xomnet.targets import Targets

ROOT = Path(__file__).parents[2]
QUESTION = encode_question(0x1234, encode_name("speed.example.vn"), A)
QUESTION_6 = encode_question(0x1234, encode_name("speed.example.vn"), AAAA)


@dataclass(frozen=True)
class FuzzTarget:
    """`run` takes any bytes, and raises where the parser is wrong. `json`: bytes alone would seldom be a document."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    json: bool = False


def dns(data: bytes) -> None:
    """A name server's answer, as a unit reads it."""
    for question in (QUESTION, QUESTION_6):
        answer = parse_answer(data, question)
        for address in answer.addresses if answer else ():
            ipaddress.ip_address(address)


def http_answer(data: bytes) -> None:
    """The head of a measurement server's answer, as a unit reads it."""
    with contextlib.suppress(MeasurementError):
        length, _ = parse_head(data)
        assert length is None or length > 0


def http_request(data: bytes) -> None:
    """What a stranger sends to the measurement server: every answer is a well-formed one."""
    for answer in answers(data):
        assert answer == b"" or answer.startswith(b"HTTP/1."), answer[:40]


def answers(data: bytes) -> Iterator[bytes]:
    """The answer to each request of a connection on which these bytes come, and then its end."""
    sock = FakeSocket()
    connection = ClientConnection(sock, "192.0.2.1", "192.0.2.1", data)  # type: ignore[arg-type]
    while (count := head_bytes(connection.received)) is not None:
        sock.written = _Written()
        try:
            handler = RequestHandler(connection, count, None, FakeServer())  # type: ignore[arg-type]
        except OSError:  # the client has gone
            return
        yield sock.written.getvalue()
        if handler.close_connection:
            return


def envelope(data: bytes) -> None:
    """A unit's message, from the broker to the line of the database."""
    verdict = validate(f"xomnet/v1/{AGENT}/up", data, REGISTRY, NOW)
    if not isinstance(verdict, Accepted):
        assert verdict.code
        assert verdict.reason
        return
    good, rejections = check_points([verdict.point])
    assert len(good) + len(rejections) == 1
    for one in good:
        expected = (one.point.measurement, dict(one.point.tags), dict(one.fields), one.point.time_ns)
        assert list(lines_of(line_protocol(one))) == [expected]


def registry(data: bytes) -> None:
    """The registry as somebody's spreadsheet saved it."""
    with contextlib.suppress(RegistryError):
        Registry(read_rows(data, "lines.csv"), Targets([]))


def mmcli(data: bytes) -> None:
    """What mmcli prints: a list of the three documents and the lines of its cells."""
    try:
        printed = msgspec.json.decode(
            data.decode(errors="replace"), type=tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]
        )
    except msgspec.DecodeError:
        return
    document, signals, location, cells = printed
    radio = modem.parse_radio(document, signals, cells, location)
    assert msgspec.json.decode(msgspec.json.encode(radio), type=Radio) == radio
    modem.is_weak(radio)
    modem.has_changed_generation(radio, radio)


def answer_of(question: bytes, record: str) -> bytes:
    return bytes.fromhex("123481800001000100000000") + question[12:] + bytes.fromhex(record)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1048576\r\n"
CELLS = ["cell type: lte, serving: yes, ci: 0197763E, earfcn: 1300", "cell type: 5gnr, nrarfcn: 640000, serving: yes"]

TARGETS = {
    "dns": FuzzTarget(
        dns,
        (
            answer_of(QUESTION, "c00c00010001000000ff0004c0000201"),
            answer_of(QUESTION_6, "c00c001c0001000000ff001020010db8000000000000000000000001"),
            bytes.fromhex("123483800001000000000000") + QUESTION[12:],
            bytes.fromhex("123481820000000000000000"),
        ),
    ),
    "http_answer": FuzzTarget(
        http_answer,
        (
            HEAD + b"Connection: keep-alive\r\n\r\n",
            b"HTTP/1.0 302 Found\r\nLocation: http://portal.example/\r\n\r\n",
            b"HTTP/1.1 503 busy\r\nRetry-After: 7\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/s; a*=''x; a*4*=''x\r\n\r\n",
        ),
    ),
    "http_request": FuzzTarget(
        http_request,
        (
            b"GET /backend/garbage.php?ckSize=1 HTTP/1.1\r\nHost: x\r\nX-Xomnet-Test: a-1\r\n\r\n",
            b"POST /backend/empty.php HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            b"POST /speedtest/upload.php HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"GET /backend/getIP.php?isp=true HTTP/1.1\r\n\r\nOPTIONS /backend/empty.php HTTP/1.1\r\n\r\n",
            b"GET /speedtest/random350x350.jpg HTTP/1.0\r\n\r\n",
            b"GET /speedtest-config.php HTTP/1.1\r\nConnection: close\r\n\r\n",
        ),
    ),
    "envelope": FuzzTarget(
        envelope,
        tuple(case(number, seed=1)[1] for number in range(200)),
        json=True,
    ),
    "registry": FuzzTarget(
        registry,
        (
            (ROOT / "config/lines.example.csv").read_bytes(),
            b"agent,line,access,area\r\nnd-a,ftth,fixed,A/B\r\n",
            b"\xef\xbb\xbfagent;line;access;lat;lon;from\r\nnd-a;4g;mobile;20,1;106,2;1/11/2026\r\n",
            "agent\tline\taccess\thamlet\nnd-a\t4g\tmobile\tXóm 5\n".encode("utf-16"),
        ),
    ),
    "mmcli": FuzzTarget(
        mmcli,
        (
            json.dumps([modem_document(["lte", "5gnr"]), signal(lte=GOOD_LTE), LOCATION, CELLS]).encode(),
            json.dumps([modem_document(["5gnr"]), signal(nr=GOOD_LTE), LOCATION, CELLS[1:]]).encode(),
        ),
        json=True,
    ),
}


class FakeSocket:
    """A connection on which nothing more comes, and whose answers are kept."""

    def __init__(self) -> None:
        self.written = _Written()

    def makefile(self, *_: object) -> io.IOBase:
        return self.written

    def recv_into(self, _: object) -> int:
        return 0

    def sendall(self, data: bytes) -> None:
        self.written.write(data)

    def getsockopt(self, *_: int) -> bytes:
        return b"cubic\0\0\0"

    def getsockname(self) -> tuple[str, int]:
        return "198.51.100.1", 8080

    def setsockopt(self, *_: object) -> None:
        pass


class _Written(io.BytesIO):
    """Can be read after the handler has closed it."""

    def close(self) -> None:
        pass


class _Payload:
    """Sends nothing, and says that it did."""

    def send(self, _: object, size: int, __: object, ___: object, on_sent: Callable[[int], None]) -> None:
        on_sent(size)


@dataclass
class FakeServer:
    limits: ServerLimits = field(default_factory=ServerLimits)
    deadlines: Deadlines = field(default_factory=lambda: Deadlines(300.0))
    admission: Admission = field(default_factory=lambda: Admission(8, 0.0, ServerLimits()))
    payload: _Payload = field(default_factory=_Payload)
    stopping: threading.Event = field(default_factory=threading.Event)
    public_name: str | None = None

    def count_bytes(self, _: str, count: int) -> int:
        return count
