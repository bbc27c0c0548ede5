"""HTTP/1.1 of one request: its head, which has come, its body swallowed, the answer."""

import io
import re
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from measurement_server import documents
from measurement_server.acceptor import MAX_HEAD_BYTES, ClientConnection
from measurement_server.admission import Admission, ServedClient, retry_after_s
from measurement_server.body import BodyError, discard_body
from measurement_server.deadlines import Deadlines
from measurement_server.limits import ServerLimits
from measurement_server.payload import Payload
from measurement_server.routes import KNOWN_PATHS, AnswerKind, BadRequestError, Route, UnknownPathError, find_route
from xomnet.runtime.http_headers import STUMBLES

_TEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_NO_CACHE = "no-store, no-cache, must-revalidate, max-age=0, s-maxage=0"


class ServerParts(Protocol):
    """What a handler needs of its server."""

    limits: ServerLimits
    deadlines: Deadlines
    admission: Admission
    payload: Payload
    public_name: str | None
    stopping: threading.Event

    def count_bytes(self, source: str, count: int) -> int | None: ...


class _ReceivedFirst(io.RawIOBase):
    """What has come with the head, then what comes; nothing more once it `is_dry`."""

    def __init__(self, received: bytes, sock: socket.socket) -> None:
        self._received, self._sock = received, sock
        self.is_dry = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._received:
            return 0 if self.is_dry else self._sock.recv_into(buffer)
        count = min(len(buffer), len(self._received))
        buffer[:count] = self._received[:count]
        self._received = self._received[count:]
        return count


class RequestHandler(BaseHTTPRequestHandler):
    """Answers one request; `close_connection` says whether the connection is over. Raises OSError."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: ClientConnection, head_bytes: int, unit: str | None, server: ServerParts) -> None:
        self._parts, self._connection, self._unit = server, connection, unit
        self._head, body = connection.received[:head_bytes], connection.received[head_bytes:]
        self._body = _ReceivedFirst(body, connection.sock)
        super().__init__(connection.sock, connection.ip, server)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Head and small body of the answer leave in one segment."""
        self.connection = self.request
        self.rfile = io.BytesIO()
        self.wfile = self.connection.makefile("wb", 64 * 1024)

    def handle(self) -> None:
        """The request and its answer; what came after the request is the beginning of the next."""
        self.close_connection = True
        self.requestline = self.request_version = self.command = ""
        if len(self._head) >= MAX_HEAD_BYTES:
            self.send_error(431, f"allowed: {MAX_HEAD_BYTES} bytes of request head")
            return
        body, self.rfile = io.BufferedReader(self._body), io.BufferedReader(io.BytesIO(self._head))
        try:
            self.raw_requestline = self.rfile.readline()
            understood = self.parse_request()
        except STUMBLES:
            self.send_error(400, "the head is not HTTP")
            return
        finally:
            self.rfile = body
        if understood:
            self._renew_stall()
            self._respond()
            self.wfile.flush()
            self._body.is_dry = True
            self._connection.received = body.peek()

    def finish(self) -> None:
        """Nothing is left to do but to let the files go."""
        with suppress(OSError):  # the client may have gone
            self.wfile.close()

    def _respond(self) -> None:
        if self.request_version == "HTTP/0.9":
            self.send_error(400, "allowed: HTTP/1.0 or HTTP/1.1")
            return
        try:
            route = find_route(self.path)
            client = self._client()
            if self.command not in route.methods:
                self._refuse(405, "allowed: " + ", ".join(route.methods), {"Allow": ", ".join(route.methods)})
                return
            received = discard_body(self.rfile, self.headers, self._renew_stall)
            self._parts.count_bytes(client.source, received)
        except UnknownPathError:
            self._refuse(404, f"Known paths: {KNOWN_PATHS}.")
        except (BadRequestError, BodyError) as error:
            self._refuse(400, str(error))
        else:
            self._answer(route, client, received)

    def _answer(self, route: Route, client: ServedClient, received: int) -> None:
        if self.command == "OPTIONS":
            self._send_text(204, "", route, {"Allow": ", ".join(route.methods)})
            return
        match route.answer:
            case AnswerKind.PAYLOAD:
                self._send_payload(route, client)
            case AnswerKind.INDEX:
                self._send_text(200, documents.INDEX, route)
            case AnswerKind.EMPTY:
                self._send_text(200, "", route)
            case AnswerKind.ADDRESS:
                ip = documents.address(self._connection.ip)
                self._send_text(200, ip, route, {"Content-Type": "application/json; charset=utf-8"})
            case AnswerKind.LATENCY:
                self._send_text(200, documents.LATENCY, route)
            case AnswerKind.SIZE:
                self._send_text(200, f"size={received}", route)
            case AnswerKind.CONFIG:
                config = documents.config(self._connection.ip, self._parts.limits.speedtest_s)
                self._send_text(200, config, route, {"Content-Type": "text/xml; charset=utf-8"})
            case AnswerKind.SERVERS:
                servers = documents.servers(self._own_address())
                self._send_text(200, servers, route, {"Content-Type": "text/xml; charset=utf-8"})

    def _send_payload(self, route: Route, client: ServedClient) -> None:
        if self.command == "HEAD":
            self._payload_head(route)
            return
        test = self._parts.admission.enter(client, self.connection)
        if test is None:
            self._send_text(503, "busy\n", route, {"Retry-After": str(retry_after_s())})
            return

        def on_sent(count: int) -> None:
            test.streams[self.connection] += count
            self._renew_stall()

        try:
            self._payload_head(route)
            self.wfile.flush()
            self._parts.payload.send(self.connection, route.payload_bytes, test.pacer, self._parts.stopping, on_sent)
        finally:
            self._parts.count_bytes(client.source, self._parts.admission.leave(test, self.connection))

    def _payload_head(self, route: Route) -> None:
        congestion = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0]
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment; filename=random.dat",
            "X-Xomnet-Congestion-Control": congestion.decode("ascii"),
        }
        self._send_head(200, route.payload_bytes, headers, route.cors)

    def _send_text(self, status: int, text: str, route: Route | None, headers: dict[str, str] | None = None) -> None:
        content = text.encode()
        length = None if status == 204 else len(content)
        self._send_head(status, length, {"Content-Type": _TEXT} | (headers or {}), route is not None and route.cors)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_head(self, status: int, length: int | None, headers: dict[str, str], cors: bool) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", _NO_CACHE)
        self.send_header("Pragma", "no-cache")
        if cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "GET, POST")
            self.send_header(
                "Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, X-Xomnet-Test"
            )
            self.send_header("Access-Control-Expose-Headers", "Retry-After")
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()

    def _refuse(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """An error; a body that may follow is not read, so the connection can't go on."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        self._send_text(status, text + "\n", None, headers)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The errors of the HTTP grammar, in plain text; what follows on the connection can't be trusted."""
        self.close_connection = True
        self.request_version = self.protocol_version  # or an unreadable version is answered without a head
        self._send_text(code, (message or self.responses.get(code, ("error", ""))[0]) + "\n", None)

    def handle_expect_100(self) -> bool:
        """Lets a client that asks first send its body."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def version_string(self) -> str:
        """The `Server` header."""
        return "xomnet"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing a request: the end of each test is logged."""

    def _renew_stall(self) -> None:
        self._parts.deadlines.renew(self.connection, self._parts.limits.stall_s)

    def _client(self) -> ServedClient:
        source, test_id = self._connection.source, self.headers.get("X-Xomnet-Test")
        if test_id is None:
            return ServedClient("address", self._connection.ip, self._unit, source)
        if not _TEST_ID.fullmatch(test_id):
            raise BadRequestError("X-Xomnet-Test: allowed: 1 to 64 letters, digits, dots, dashes, underscores")
        return ServedClient("test", test_id, self._unit, source)

    def _own_address(self) -> str:
        if self._parts.public_name is not None:
            return self._parts.public_name
        host, port = self.connection.getsockname()[:2]
        host = host.removeprefix("::ffff:").partition("%")[0]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
