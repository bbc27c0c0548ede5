"""The pace of one client: its streams draw their turns from one schedule."""

import threading
import time
from collections.abc import Callable

CHUNK_S = 0.004
"""How much of the client's time one turn takes: short enough that 100 ms windows see an even flow."""

MIN_CHUNK_BYTES = 2 * 1448
MAX_CHUNK_BYTES = 128 * 1024

SLACK_S = 0.020
"""Time lost to a late wake-up that may be made good, so that the mean is the rate and not a little less."""


class Pacer:
    """Turns on one schedule at `rate_mbps` of payload, handed out first come, first served.

    A stream asks for its next turn only when its last chunk has left, so busy streams take turns of equal size and a
    stream that its network holds back costs the others nothing. In any span of t seconds at most
    rate * (t + SLACK_S) is scheduled.
    """

    def __init__(self, rate_mbps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_s = rate_mbps * 1e6 / 8
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()
        self.chunk_bytes = min(max(int(self._bytes_per_s * CHUNK_S), MIN_CHUNK_BYTES), MAX_CHUNK_BYTES)

    def reserve(self, size: int) -> float:
        """Seconds to wait before sending the next `size` bytes."""
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - SLACK_S)
            self._free_at = start + size / self._bytes_per_s
            return max(0.0, start - now)
