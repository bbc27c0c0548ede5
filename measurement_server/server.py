"""Connections: how many, for how long, and their end."""

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from measurement_server.acceptor import POLL_S, Acceptor, ClientConnection, listen
from measurement_server.admission import Admission, AdmittedTest, retry_after_s
from measurement_server.day_bytes import DayBytes
from measurement_server.deadlines import Deadlines
from measurement_server.handler import RequestHandler
from measurement_server.limits import ServerLimits
from measurement_server.payload import Payload
from measurement_server.request_slots import RequestSlots
from xomnet.runtime.log import Log

if TYPE_CHECKING:  # it brings cryptography, which a server without permissions doesn't need
    from measurement_server.permissions import PermissionVerifier

log = Log("measurement_server")


class MeasurementServer:
    """Serves on `host:port`, each client paced to `rate_mbps` (0: as fast as it goes), `max_tests` clients at once.

    With `permissions`, `stranger_tests` of the places are for strangers. `public_name` is `HOST:PORT` as clients reach
    it, where that is not the address of the socket. The socket listens as soon as this exists; raises OSError where it
    can't. `serve_forever` blocks; `close` is for another thread, or for after it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        rate_mbps: float = 0,
        max_tests: int = 8,
        limits: ServerLimits | None = None,
        permissions: "PermissionVerifier | None" = None,
        stranger_tests: int = 2,
        public_name: str | None = None,
        day_bytes: DayBytes | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.public_name = public_name
        self.stopping = threading.Event()
        self.deadlines = Deadlines(self.limits.life_s)
        self.admission = Admission(max_tests, rate_mbps, self.limits, stranger_tests if permissions else None)
        self._day_bytes = day_bytes
        self._permissions = permissions
        self._slots = RequestSlots(self.limits, permissions is not None)
        self._state = threading.Lock()
        self._ending = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._workers: set[threading.Thread] = set()
        listening = listen(host, port)
        self.server_address: tuple[str, int] = listening.getsockname()[:2]
        self._acceptor = Acceptor(listening, self.deadlines, self.limits, self._serve)
        self.payload = Payload()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host, port = self.server_address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_forever(self) -> None:
        """Serves until `close` or `shutdown`."""
        with self._state:
            if self.stopping.is_set():
                return
            self._idle.clear()
        next_sweep = 0.0
        try:
            while not self._ending.is_set():
                self._acceptor.turn()
                if time.monotonic() >= next_sweep:  # a flood makes many turns a second
                    next_sweep = time.monotonic() + POLL_S
                    self._sweep()
        finally:
            self._idle.set()

    def _sweep(self) -> None:
        self.deadlines.cut_overdue()
        self.deadlines.cut(self.admission.cut_overdue())
        self._log_ended(self.admission.remove_ended())

    def shutdown(self) -> None:
        """Has `serve_forever` return, and waits for it; for another thread."""
        self._ending.set()
        self._acceptor.wake()
        self._idle.wait()

    def close(self) -> None:
        """Breaks every connection, waits for their threads and frees everything. Only the first call does anything."""
        with self._state:
            if self.stopping.is_set():
                return
            self.stopping.set()
        self.shutdown()
        self.deadlines.cut_all()
        for worker in list(self._workers):
            worker.join()
        self._acceptor.close()
        self._log_ended(self.admission.remove_ended(everything=True))
        self.payload.close()

    def _serve(self, connection: ClientConnection, head_bytes: int) -> None:
        """Answers a request in a thread of its own; one too many is told so at once."""
        verifier = self._permissions
        unit = None if verifier is None else verifier.unit_of(connection.received[:head_bytes])
        if not self._slots.enter(connection.source, unit):
            self._refuse(connection)
            return
        worker = threading.Thread(target=self._answer, args=(connection, head_bytes, unit), daemon=True)
        self._workers.add(worker)
        try:
            worker.start()
        except RuntimeError:  # the system gives no more threads
            self._workers.discard(worker)
            self._slots.leave(connection.source, unit)
            self._refuse(connection)

    def _answer(self, connection: ClientConnection, head_bytes: int, unit: str | None) -> None:
        is_over = True
        try:
            handler = RequestHandler(connection, head_bytes, unit, self)
            is_over = handler.close_connection
        except OSError:
            pass  # a client that goes away is no news
        except Exception:
            log.exception("request failed", client=connection.ip)
        finally:
            self._slots.leave(connection.source, unit)
            if is_over or self.stopping.is_set():
                self.deadlines.end(connection.sock)
                _close(connection.sock)
            else:
                self._acceptor.give_back(connection)
            self._workers.discard(threading.current_thread())

    def _refuse(self, connection: ClientConnection) -> None:
        text = "busy\n"
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(text)}\r\nRetry-After: {retry_after_s()}\r\n"
        with suppress(OSError):  # it need not know
            connection.sock.send(f"{head}Connection: close\r\n\r\n{text}".encode(), socket.MSG_DONTWAIT)
        self._acceptor.drop(connection, reset=False)

    def count_bytes(self, source: str, count: int) -> int | None:
        """Adds to the source's bytes of today, and returns them; None if nobody counts."""
        return None if self._day_bytes is None else self._day_bytes.add(source, count)

    def _log_ended(self, tests: list[AdmittedTest]) -> None:
        for test in tests:
            who, seconds = test.client, test.ended_at - test.began_at
            fields: dict[str, Any] = {"client": who.name, "bytes": test.bytes, "seconds": round(seconds, 3)}
            if who.unit is not None:
                fields["unit"] = who.unit
            if (today := self.count_bytes(who.source, 0)) is not None:
                fields |= {"source": who.source, "source_bytes_today": today}
            log.info("test ended", **fields)


def _close(sock: socket.socket) -> None:
    with suppress(OSError):  # the client may have gone
        sock.shutdown(socket.SHUT_WR)
    sock.close()
