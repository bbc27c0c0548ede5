"""Which clients may run a download test now, and when a test is over."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from measurement_server.pacing import Pacer


class ServedClient(NamedTuple):
    """Who measures: the test's own id where the client sends one, since many units share one address behind CGNAT."""

    kind: str
    name: str


@dataclass(eq=False)
class AdmittedTest:
    """The running download of one client, of one or several streams."""

    client: ServedClient
    pacer: Pacer | None
    began_at: float
    ended_at: float
    streams: int = 0
    bytes: int = 0


@dataclass
class Admission:
    """At most `max_tests` clients at once; a client keeps its place for `grace_s` after its last stream.

    The grace is for clients that fetch one file after the other, such as speedtest-cli.
    """

    max_tests: int
    rate_mbps: float
    grace_s: float
    clock: Callable[[], float] = time.monotonic
    _running: dict[ServedClient, AdmittedTest] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, client: ServedClient) -> AdmittedTest | None:
        """The client's test with one more stream, or None where all places are taken by others."""
        with self._lock:
            now = self.clock()
            test = self._running.get(client)
            if test is None:
                taken = sum(not self._has_ended(other, now) for other in self._running.values())
                if taken >= self.max_tests:
                    return None
                pacer = Pacer(self.rate_mbps, self.clock) if self.rate_mbps else None
                test = self._running[client] = AdmittedTest(client, pacer, now, now)
            test.streams += 1
            return test

    def leave(self, test: AdmittedTest, sent_bytes: int) -> None:
        """Ends one stream of the test."""
        with self._lock:
            test.streams -= 1
            test.bytes += sent_bytes
            test.ended_at = self.clock()

    def remove_ended(self, everything: bool = False) -> list[AdmittedTest]:
        """Takes out and returns the tests that are over; all of them when the server stops."""
        with self._lock:
            now = self.clock()
            ended = [test for test in self._running.values() if everything or self._has_ended(test, now)]
            for test in ended:
                del self._running[test.client]
            return ended

    def _has_ended(self, test: AdmittedTest, now: float) -> bool:
        return test.streams == 0 and now - test.ended_at >= self.grace_s


def retry_after_s() -> int:
    """When a refused client should come back: spread, so that refused clients don't return together."""
    return 5 + secrets.randbelow(11)
