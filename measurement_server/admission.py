"""Which clients may run a download test now, and when a test is over."""

import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from measurement_server.limits import ServerLimits
from measurement_server.pacing import Pacer

UNIT_PLACES = 2
"""Of one unit: its next line's test begins while the place of the last one is still kept."""


@dataclass(frozen=True)
class ServedClient:
    """Who measures: the test's own id where the client sends one, since many units share one address behind CGNAT."""

    kind: str
    name: str
    unit: str | None = None
    """Whose permission it showed; None: a stranger."""
    source: str = field(default="", compare=False)
    """Where it came from first; the streams of a test may come from several addresses."""


@dataclass(eq=False)
class AdmittedTest:
    """The running download of one client, of one or several streams."""

    client: ServedClient
    pacer: Pacer | None
    began_at: float
    ended_at: float
    streams: dict[socket.socket, int] = field(default_factory=dict)
    """The running ones, and the bytes that each has sent."""
    past_bytes: int = 0
    is_cut: bool = False
    window_from: float = 0.0
    window_bytes: int = 0

    @property
    def bytes(self) -> int:
        return self.past_bytes + sum(list(self.streams.values()))


@dataclass
class Admission:
    """At most `max_tests` clients at once; a client keeps its place for `grace_s` after its last stream.

    The grace is for clients that fetch one file after the other, such as speedtest-cli. Of the places `stranger_tests`
    are for strangers and no others, half of them at most for one source; the rest are for permitted units. None:
    there are no permissions, and all places are for all.
    """

    max_tests: int
    rate_mbps: float
    limits: ServerLimits
    stranger_tests: int | None = None
    clock: Callable[[], float] = time.monotonic
    _running: dict[ServedClient, AdmittedTest] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, client: ServedClient, stream: socket.socket) -> AdmittedTest | None:
        """The client's test with one more stream, or None where its places are taken, or its test was cut."""
        with self._lock:
            now = self.clock()
            test = self._running.get(client)
            if test is None:
                if not self._has_place(client, now):
                    return None
                pacer = Pacer(self.rate_mbps, self.clock) if self.rate_mbps else None
                test = self._running[client] = AdmittedTest(client, pacer, now, now, window_from=now)
            if test.is_cut:
                return None
            test.streams[stream] = 0
            return test

    def _has_place(self, client: ServedClient, now: float) -> bool:
        running = [test.client for test in self._running.values() if not self._has_ended(test, now)]
        if self.stranger_tests is None:
            return len(running) < self.max_tests
        if client.unit is None:
            sources = [other.source for other in running if other.unit is None]
            each = max(1, self.stranger_tests // 2)
            return len(sources) < self.stranger_tests and sources.count(client.source) < each
        units = [other.unit for other in running if other.unit is not None]
        return len(units) < self.max_tests - self.stranger_tests and units.count(client.unit) < UNIT_PLACES

    def leave(self, test: AdmittedTest, stream: socket.socket) -> int:
        """Ends one stream of the test; returns its bytes."""
        with self._lock:
            sent_bytes = test.streams.pop(stream)
            test.past_bytes += sent_bytes
            test.ended_at = self.clock()
            return sent_bytes

    def cut_overdue(self) -> list[socket.socket]:
        """Takes the right to go on from tests that are too long or too slow; returns their streams, to be broken."""
        with self._lock:
            now = self.clock()
            overdue = [test for test in self._running.values() if not test.is_cut and self._is_overdue(test, now)]
            for test in overdue:
                test.is_cut = True
            return [stream for test in overdue for stream in test.streams]

    def _is_overdue(self, test: AdmittedTest, now: float) -> bool:
        if now - test.began_at >= self.limits.test_s:
            return True
        window_s = now - test.window_from
        if window_s < self.limits.slow_s:
            return False
        is_first, sent_bytes = test.window_from == test.began_at, test.bytes - test.window_bytes
        test.window_from, test.window_bytes = now, test.bytes
        return not is_first and sent_bytes * 8e-6 < self.limits.least_mbps * window_s

    def remove_ended(self, everything: bool = False) -> list[AdmittedTest]:
        """Takes out and returns the tests that are over; all of them when the server stops."""
        with self._lock:
            now = self.clock()
            ended = [test for test in self._running.values() if everything or self._has_ended(test, now)]
            for test in ended:
                del self._running[test.client]
            return ended

    def _has_ended(self, test: AdmittedTest, now: float) -> bool:
        return not test.streams and now - test.ended_at >= self.limits.grace_s


def retry_after_s() -> int:
    """When a refused client should come back: spread, so that refused clients don't return together."""
    return 5 + secrets.randbelow(11)
