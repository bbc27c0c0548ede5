"""Connections: how many, for how long, and their end."""

import socket
import socketserver
import sys
import threading
from typing import Any

from measurement_server.admission import Admission, AdmittedTest
from measurement_server.deadlines import Deadlines
from measurement_server.handler import RequestHandler, ServerParts
from measurement_server.limits import ServerLimits
from measurement_server.payload import Payload
from xomnet.runtime.log import Log

POLL_S = 0.1

_log = Log("measurement_server")


class MeasurementServer(socketserver.ThreadingMixIn, socketserver.TCPServer, ServerParts):
    """Serves on `host:port`, each client paced to `rate_mbps` (0: as fast as it goes), `max_tests` clients at once.

    The socket listens as soon as this exists; raises OSError where it can't. `serve_forever` blocks; `close` is for
    another thread, or for after it.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, rate_mbps: float = 0, max_tests: int = 8, limits: ServerLimits | None = None
    ) -> None:
        self.limits = limits or ServerLimits()
        self.deadlines = Deadlines(self.limits.life_s)
        self.admission = Admission(max_tests, rate_mbps, self.limits.grace_s)
        self.stopping = threading.Event()
        self._state = threading.Lock()
        self._serving = False
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), RequestHandler)
        self.payload = Payload()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_forever(self, poll_interval: float = POLL_S) -> None:
        """Serves until `close` or `shutdown`."""
        with self._state:
            if self.stopping.is_set():
                return
            self._serving = True
        super().serve_forever(poll_interval)

    def close(self) -> None:
        """Breaks every connection, waits for their threads and frees everything. Only the first call does anything."""
        with self._state:
            if self.stopping.is_set():
                return
            self.stopping.set()
        if self._serving:
            self.shutdown()
        self.deadlines.cut_all()
        self.server_close()
        self._log_ended(self.admission.remove_ended(everything=True))
        self.payload.close()

    def service_actions(self) -> None:
        """Called several times a second by `serve_forever`."""
        super().service_actions()
        self.deadlines.cut_overdue()
        self._log_ended(self.admission.remove_ended())

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """False, and the connection is closed, where too many are open."""
        if len(self.deadlines) < self.limits.connections:
            return True
        _log.debug("connection refused", client=client_address[0], open=len(self.deadlines))
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's thread; its deadline runs from here, so that `close` misses none."""
        self.deadlines.start(request, self.limits.idle_s)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection."""
        self.deadlines.end(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is our fault."""
        if not isinstance(sys.exception(), OSError):
            _log.exception("request failed", client=client_address[0])

    def _log_ended(self, tests: list[AdmittedTest]) -> None:
        for test in tests:
            seconds = test.ended_at - test.began_at
            _log.info("test ended", client=test.client.name, bytes=test.bytes, seconds=round(seconds, 3))
