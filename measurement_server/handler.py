"""HTTP/1.1 of one connection: the request's head, its body swallowed, the answer."""

import io
import re
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

from measurement_server import documents
from measurement_server.admission import Admission, ServedClient, retry_after_s
from measurement_server.body import BodyError, discard_body
from measurement_server.deadlines import Deadlines
from measurement_server.limits import ServerLimits
from measurement_server.payload import Payload
from measurement_server.routes import KNOWN_PATHS, AnswerKind, BadRequestError, Route, UnknownPathError, find_route

MAX_HEAD_BYTES = 16 * 1024

_TEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_NO_CACHE = "no-store, no-cache, must-revalidate, max-age=0, s-maxage=0"


class ServerParts(socketserver.BaseServer):
    """What a handler needs of its server."""

    limits: ServerLimits
    deadlines: Deadlines
    admission: Admission
    payload: Payload
    stopping: threading.Event


class RequestHandler(BaseHTTPRequestHandler):
    """Keeps a connection until its client closes it, asks for something odd, or runs into a deadline."""

    server: ServerParts
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # head and small body leave in one segment

    def handle_one_request(self) -> None:
        """One request and its answer; a connection that breaks is simply over."""
        try:
            self._one_request()
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _one_request(self) -> None:
        self.requestline = self.request_version = self.command = ""
        self.server.deadlines.renew(self.connection, self.server.limits.idle_s)
        head = self._read_head()
        if head is None:
            self.close_connection = True
            return
        if len(head) >= MAX_HEAD_BYTES:
            self.send_error(431, f"allowed: {MAX_HEAD_BYTES} bytes of request head")
            return
        body, self.rfile = self.rfile, io.BufferedReader(io.BytesIO(head))
        try:
            self.raw_requestline = self.rfile.readline()
            understood = self.parse_request()
        finally:
            self.rfile = body
        if understood:
            self._renew_stall()
            self._respond()

    def _read_head(self) -> bytes | None:
        """The head with its empty line, or MAX_HEAD_BYTES of what is longer; None where the client has closed."""
        head = b""
        while len(head) < MAX_HEAD_BYTES:
            line = self.rfile.readline(MAX_HEAD_BYTES - len(head))
            if not line:
                return None
            if line in (b"\r\n", b"\n"):
                if head:
                    return head + line
                continue  # empty lines before a request are to be ignored (RFC 9112, 2.2)
            head += line
        return head

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
                ip = documents.address(self._client_ip())
                self._send_text(200, ip, route, {"Content-Type": "application/json; charset=utf-8"})
            case AnswerKind.LATENCY:
                self._send_text(200, documents.LATENCY, route)
            case AnswerKind.SIZE:
                self._send_text(200, f"size={received}", route)
            case AnswerKind.CONFIG:
                config = documents.config(self._client_ip(), self.server.limits.speedtest_s)
                self._send_text(200, config, route, {"Content-Type": "text/xml; charset=utf-8"})
            case AnswerKind.SERVERS:
                servers = documents.servers(self._own_address())
                self._send_text(200, servers, route, {"Content-Type": "text/xml; charset=utf-8"})

    def _send_payload(self, route: Route, client: ServedClient) -> None:
        if self.command == "HEAD":
            self._payload_head(route)
            return
        test = self.server.admission.enter(client)
        if test is None:
            self._send_text(503, "busy\n", route, {"Retry-After": str(retry_after_s())})
            return
        sent_bytes = 0

        def on_sent(count: int) -> None:
            nonlocal sent_bytes
            sent_bytes += count
            self._renew_stall()

        try:
            self._payload_head(route)
            self.wfile.flush()
            self.server.payload.send(self.connection, route.payload_bytes, test.pacer, self.server.stopping, on_sent)
        finally:
            self.server.admission.leave(test, sent_bytes)

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
            self.send_header("Access-Control-Allow-Headers", "Content-Encoding, Content-Type, X-Xomnet-Test")
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
        self.server.deadlines.renew(self.connection, self.server.limits.stall_s)

    def _client(self) -> ServedClient:
        test_id = self.headers.get("X-Xomnet-Test")
        if test_id is None:
            return ServedClient("address", self._client_ip())
        if not _TEST_ID.fullmatch(test_id):
            raise BadRequestError("X-Xomnet-Test: allowed: 1 to 64 letters, digits, dots, dashes, underscores")
        return ServedClient("test", test_id)

    def _client_ip(self) -> str:
        return str(self.client_address[0]).removeprefix("::ffff:").partition("%")[0]

    def _own_address(self) -> str:
        host, port = self.connection.getsockname()[:2]
        host = host.removeprefix("::ffff:").partition("%")[0]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
