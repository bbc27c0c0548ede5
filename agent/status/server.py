"""HTTP server of the unit's status: for people and programs on the port of `status_page`, for `xomnet agent` on a
socket in the state folder, which only root and the service's user can open.

The port is read-only. One request for each connection; their number, sizes and times are bounded.
"""

import io
import ipaddress
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from agent.settings import StatusPageSettings
from xomnet.runtime.http_headers import read_headers
from xomnet.runtime.log import Log

log = Log("agent.status.server")

SOCKET = "agent.sock"
MAX_REQUESTS = 6
"""Requests at a time, on the port and on the socket each; further connections are closed."""
ACCEPT_PAUSE_S = 0.1
"""After a connection that could not be accepted: without descriptors the next try fails as well."""
HEAD_BYTES, BODY_BYTES = 8_192, 4_096
READ_S, WRITE_S = 5.0, 5.0
JSON, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class Request(NamedTuple):
    """`local`: it came through the socket, so from root or the service's user."""

    method: str
    path: str
    query: str
    host: str
    body: bytes = b""
    local: bool = False


class Response(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class _Unreadable(Exception):
    """The client sent no request that we accept."""


def text_response(status: HTTPStatus, text: str) -> Response:
    """A response with one plain sentence."""
    return Response(status, TEXT, (text + "\n").encode())


def is_own_name(host: str) -> bool:
    """Whether a Host header names this machine. A web page whose own name leads here (DNS rebinding) can only send that
    name, never an address.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    own = socket.gethostname().lower()
    if name.lower() in {"localhost", own, f"{own}.local"}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class StatusServer(threading.Thread):
    """Answers until `close`. If it can't listen, it logs that: the unit measures all the same."""

    def __init__(self, state_dir: Path, page: StatusPageSettings, answer: Callable[[Request], Response]) -> None:
        super().__init__(name="status", daemon=True)
        self._answer = answer
        self._free = {local: threading.BoundedSemaphore(MAX_REQUESTS) for local in (True, False)}
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._listen(f"{state_dir}/{SOCKET}", lambda: _unix(state_dir), local=True)
        if page.port:
            self._listen(f"{page.host} port {page.port}", lambda: _tcp(page), local=False)

    def _listen(self, where: str, make: Callable[[], socket.socket], local: bool) -> None:
        try:
            sock = make()
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, local)
        except OSError as error:
            log.warning("no status there", where=where, reason=error.strerror or str(error))

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake_in:
                    return
                assert isinstance(key.fileobj, socket.socket)
                try:
                    self._admit(key.fileobj.accept()[0], key.data)
                except OSError:
                    time.sleep(ACCEPT_PAUSE_S)

    def close(self) -> None:
        """Ends the thread and closes its sockets; requests under way are not waited for."""
        self._wake_out.send(b"\0")
        if self.is_alive():
            self.join(2)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._wake_out.close()

    def _admit(self, connection: socket.socket, local: bool) -> None:
        if not self._free[local].acquire(blocking=False):
            connection.close()
            return
        threading.Thread(target=self._serve, args=(connection, local), name="status-answer", daemon=True).start()

    def _serve(self, connection: socket.socket, local: bool) -> None:
        try:
            with connection, suppress(OSError):
                try:
                    answer = self._answer(read_request(connection, local))
                except _Unreadable as error:
                    answer = text_response(HTTPStatus.BAD_REQUEST, str(error))
                except Exception:  # a defect here must not look like a broken network
                    log.exception("status request failed")
                    answer = text_response(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect; the unit's log has it")
                connection.settimeout(WRITE_S)
                connection.sendall(_head(answer) + answer.body)
                connection.shutdown(socket.SHUT_WR)
                for _ in range(3):  # a close on unread bytes would cut the answer off
                    if not connection.recv(4096):
                        break
        finally:
            self._free[local].release()


def _unix(state_dir: Path) -> socket.socket:
    """Binds through the folder's descriptor: the path may be longer than a socket address can be."""
    folder = os.open(state_dir, os.O_PATH | os.O_DIRECTORY)
    try:
        (state_dir / SOCKET).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"/proc/self/fd/{folder}/{SOCKET}")
    finally:
        os.close(folder)
    sock.listen(MAX_REQUESTS)
    return sock


def _tcp(page: StatusPageSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
    return socket.create_server((page.host, page.port), family=family, backlog=MAX_REQUESTS)


def read_request(connection: socket.socket, local: bool) -> Request:
    """Reads one request, within READ_S. Raises _Unreadable, OSError."""
    deadline = time.monotonic() + READ_S
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection, deadline)
        if len(data) > HEAD_BYTES:
            raise _Unreadable(f"allowed: a head of {HEAD_BYTES} bytes")
    head, _, body = data.partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    try:
        method, target, _ = first.decode("ascii").split(" ")
        headers = read_headers(io.BytesIO(rest + b"\r\n\r\n"))
        length = int(headers.get("Content-Length", "0"))
    except (ValueError, HTTPException) as error:
        raise _Unreadable("not an HTTP request") from error
    if not 0 <= length <= BODY_BYTES:
        raise _Unreadable(f"allowed: a body of {BODY_BYTES} bytes")
    while len(body) < length:
        body += _receive(connection, deadline)
    path, _, query = target.partition("?")
    return Request(method, path, query, headers.get("Host", ""), body[:length], local)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    data = connection.recv(HEAD_BYTES)
    if not data or time.monotonic() > deadline:
        raise TimeoutError
    return data


def _head(answer: Response) -> bytes:
    return (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Content-Security-Policy: {POLICY}\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")
