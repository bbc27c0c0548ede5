"""HTTP between the collector and its database, which can answer as an overloaded or a misled one would."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Answer = Literal["pass", "400", "401", "413", "429", "503", "slow", "refused", "lost"]
"""`413` is for bodies over 2 kB; `slow` answers after 3 s; `refused` hangs up; `lost` lets the database write and hangs
up then, so that the collector can't know."""

SLOW_S = 3.0
LARGE_BYTES = 2000
HEADERS = ("content-type", "authorization", "content-encoding", "accept")


class Shim:
    """Listens on `url` from its making until `close`; `asked` counts the writes, by how they were answered."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).netloc
        self.answer: Answer = "pass"
        self.asked: dict[str, int] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.shim = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="shim", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forward(self, request: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Asks the database. Raises OSError or http.client.HTTPException."""
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() in HEADERS}
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            return answer.status, {"Content-Type": answer.getheader("Content-Type", "text/plain")}, answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    shim: Shim

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        shim = self.server.shim
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = shim.answer if "/write" in self.path else "pass"
        if answer == "413" and len(body) <= LARGE_BYTES:
            answer = "pass"
        shim.asked[answer] = shim.asked.get(answer, 0) + 1
        match answer:
            case "refused":
                self.close_connection = True
                return
            case "400" | "401" | "413" | "429" | "503":
                after = {"Retry-After": "1"} if answer == "429" else {}
                self._say(int(answer), {"Content-Type": "application/json", **after}, b'{"error":"as asked for"}')
                return
            case "slow":
                time.sleep(SLOW_S)
        try:
            said = shim.forward(self, body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        if answer == "lost":
            self.close_connection = True
            return
        self._say(*said)

    do_GET = do_POST

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
