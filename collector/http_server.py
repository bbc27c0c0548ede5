"""The HTTP server of the page and of enrolment: uvicorn, with bounds on connections and on times.

uvicorn waits for ever for the first request of a connection, and asyncio takes whatever comes: idle clients alone would
use up the descriptors that the broker's and the database's connections need.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from xomnet.runtime.descriptors import descriptor_limit

MAX_CONNECTIONS, MAX_BACKLOG = 256, 64
SHARE_OF_DESCRIPTORS = 4
"""At most this part of the process's descriptors is for connections; the rest is for what the service itself opens."""
REQUEST_S, STALLED_S, KEEP_ALIVE_S = 20.0, 60.0, 5
"""For a whole request; for a client to take a part of the answer; between two requests."""


def max_connections() -> int:
    return max(1, min(MAX_CONNECTIONS, descriptor_limit() // SHARE_OF_DESCRIPTORS))


class BoundedConnection(H11Protocol):
    """A connection. If there are too many, the oldest without a request under way makes room: a client that asks at
    once is answered, however many are idle.
    """

    _request_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """True if no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began_s = self.loop.time()
        self._expect_request()
        if len(self.connections) > max_connections():
            idle = [one for one in self.connections if isinstance(one, BoundedConnection) and one.is_idle]
            min(idle, key=lambda one: one._began_s).drop()  # this one at least is idle

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._request_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._expect_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._write_timer = self.loop.call_later(STALLED_S, self.drop)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().resume_writing()

    def drop(self) -> None:
        """Closes the connection without waiting for the client."""
        self.connections.discard(self)
        self.transport.abort()

    def _expect_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
        self._request_timer = self.loop.call_later(REQUEST_S, self._drop_unless_requested)

    def _drop_unless_requested(self) -> None:
        if self.is_idle or self.cycle.more_body:
            self.drop()


def http_server(app: Callable[..., Any]) -> uvicorn.Server:
    """A server of an application, for a socket that listens already."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            backlog=min(MAX_BACKLOG, max(1, max_connections() // 4)),  # what asyncio accepts before it looks at one
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=3,
        )
    )
