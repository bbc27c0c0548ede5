"""Accepts connections and reads the heads of their requests, all in one thread.

Whoever only connects, or sends half a request, costs a descriptor and some hundred bytes for a few seconds, and no
thread. Where too many do, the oldest is let go rather than a new one refused: a client that means it sends its whole
head at once, and gets through beside an attacker behind the same address.
"""

import errno
import ipaddress
import os
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from measurement_server.deadlines import RESET_ON_CLOSE, Deadlines
from measurement_server.limits import ServerLimits
from xomnet.runtime.log import Log

MAX_HEAD_BYTES = 8 * 1024
POLL_S = 0.1
ACCEPTED_AT_ONCE = 64
BACKLOG = 4096
FAILURE_LOG_S = 10.0

_HEAD_END = re.compile(rb"\n\r?\n")
_log = Log("measurement_server.acceptor")


@dataclass(eq=False)
class ClientConnection:
    """A connection, and what it has sent of a request that is not being answered yet."""

    sock: socket.socket
    ip: str
    source: str
    received: bytes = b""


class Acceptor:
    """Gives each connection with a whole head, or one that is too long, to `serve`, which returns at once."""

    def __init__(
        self,
        listening: socket.socket,
        deadlines: Deadlines,
        limits: ServerLimits,
        serve: Callable[[ClientConnection, int], None],
    ) -> None:
        self._listening, self._deadlines, self._limits, self._serve = listening, deadlines, limits, serve
        self._listening.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._waiting: dict[ClientConnection, None] = {}
        self._of_source: dict[str, dict[ClientConnection, None]] = {}
        self._returned: deque[ClientConnection] = deque()
        self._failed_at = -FAILURE_LOG_S

    def turn(self) -> None:
        """Does what is to do, after at most POLL_S."""
        for key, _ in self._selector.select(POLL_S):
            if isinstance(key.data, ClientConnection):
                if key.data in self._waiting:  # not let go in this very turn
                    self._receive(key.data)
            elif key.fileobj is self._listening:
                self._accept()
            else:
                os.eventfd_read(self._wake)
        while self._returned:
            connection = self._returned.popleft()
            connection.sock.setblocking(False)
            self._wait_or_serve(connection)

    def give_back(self, connection: ClientConnection) -> None:
        """The connection goes on with its next request. From any thread."""
        self._deadlines.renew(connection.sock, self._limits.idle_s)
        self._returned.append(connection)
        self.wake()

    def wake(self) -> None:
        """Ends a turn soon. From any thread."""
        with suppress(OSError):  # closed in the meantime
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Closes what waits; `turn` must not be running."""
        for connection in [*self._waiting, *self._returned]:
            self.drop(connection)
        self._selector.close()
        self._listening.close()
        os.close(self._wake)

    def drop(self, connection: ClientConnection, reset: bool = True) -> None:
        """Closes a connection that nobody is serving."""
        self._forget(connection)
        self._deadlines.end(connection.sock)
        with suppress(OSError):  # the client may have gone
            if reset:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            else:
                connection.sock.shutdown(socket.SHUT_WR)
        connection.sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS} and self._waiting:
                    self.drop(next(iter(self._waiting)))
                    continue
                if error.errno != errno.ECONNABORTED:
                    self._log_failure(error)
                    time.sleep(POLL_S)  # the next turn would fail at once
                return
            sock.setblocking(False)
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            ip = str(address[0]).removeprefix("::ffff:").partition("%")[0]
            self._deadlines.start(sock, self._limits.head_s)
            self._wait(ClientConnection(sock, ip, source_of(ip)))

    def _log_failure(self, error: OSError) -> None:
        if time.monotonic() - self._failed_at > FAILURE_LOG_S:
            self._failed_at = time.monotonic()
            _log.error("connection not accepted", reason=error.strerror)

    def _wait(self, connection: ClientConnection) -> None:
        of_source = self._of_source.setdefault(connection.source, {})
        if len(of_source) >= self._limits.waiting_each:
            self.drop(next(iter(of_source)))
        elif len(self._waiting) >= self._limits.waiting:
            self.drop(next(iter(self._waiting)))
        self._waiting[connection] = None
        self._of_source.setdefault(connection.source, {})[connection] = None
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)

    def _forget(self, connection: ClientConnection) -> None:
        if connection not in self._waiting:
            return
        del self._waiting[connection]
        of_source = self._of_source[connection.source]
        del of_source[connection]
        if not of_source:
            del self._of_source[connection.source]
        self._selector.unregister(connection.sock)

    def _receive(self, connection: ClientConnection) -> None:
        try:
            block = connection.sock.recv(MAX_HEAD_BYTES - len(connection.received))
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if not block:
            self.drop(connection)
            return
        connection.received += block
        self._wait_or_serve(connection)

    def _wait_or_serve(self, connection: ClientConnection) -> None:
        connection.received = connection.received.lstrip(b"\r\n")  # to be ignored before a request (RFC 9112, 2.2)
        count = head_bytes(connection.received)
        if count is None:
            if connection not in self._waiting:
                self._wait(connection)
            return
        self._forget(connection)
        connection.sock.setblocking(True)
        self._serve(connection, count)


def head_bytes(received: bytes) -> int | None:
    """The length of a request's head, or of all there is of one that is too long; None where it is to go on."""
    end = _HEAD_END.search(received)
    if end is not None:
        return end.end()
    return len(received) if len(received) >= MAX_HEAD_BYTES else None


def source_of(ip: str) -> str:
    """What one client has: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in ip:
        return ip
    return str(ipaddress.IPv6Network((ip, 64), strict=False))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `::` is every address, IPv4 too. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
