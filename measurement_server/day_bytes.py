"""Bytes of each source and day (UTC), for the log."""

import threading
from collections import Counter

from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log

MAX_SOURCES = 8192
OTHERS = "others"
"""What comes when the table is full is counted together."""
SHOWN = 5

_log = Log("measurement_server.day_bytes")


class DayBytes:
    """Counts bytes, sent and received; logs a day's heaviest sources when the next day begins."""

    def __init__(self, now: UtcClock) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._day, self._counts = now().date(), Counter[str]()

    def add(self, source: str, count: int) -> int:
        """The source's bytes of today, with these."""
        with self._lock:
            if (day := self._now().date()) != self._day:
                self._log_day()
                self._day, self._counts = day, Counter()
            key = source if source in self._counts or len(self._counts) < MAX_SOURCES else OTHERS
            self._counts[key] += count
            return self._counts[key]

    def _log_day(self) -> None:
        most = " ".join(f"{source}={count}" for source, count in self._counts.most_common(SHOWN))
        _log.info("day ended", day=str(self._day), sources=len(self._counts), bytes=self._counts.total(), most=most)
