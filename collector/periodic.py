"""The thread of a part that does one thing again and again."""

import datetime as dt
import threading
import time
from collections.abc import Callable

from collector.store.errors import StoreUnavailable
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import Log

BREATH_S = 0.1
"""Between two turns at least, so that other threads have theirs."""


class PeriodicWorker(threading.Thread):
    """Calls `do` with the time: at once, then every `interval_s` from beginning to beginning, and after a breath where
    it returned True, since there is more to do. Where it raises, the log says `failed`; the next turn comes as ever.
    """

    def __init__(
        self, name: str, interval_s: float, do: Callable[[dt.datetime], object], log: Log, failed: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.interval_s = interval_s
        self._do, self._log, self._failed = do, log, failed
        self._ending = threading.Event()

    def run(self) -> None:
        while True:
            began, more = time.monotonic(), False
            try:
                more = self._do(utc_now()) is True
            except StoreUnavailable as error:
                self._log.warning(self._failed, reason=str(error))
            except Exception:  # noqa: BLE001  # it is logged; one bad value must not end all other turns
                self._log.exception(self._failed)
            rest_s = 0.0 if more else self.interval_s - (time.monotonic() - began)
            if self._ending.wait(max(BREATH_S, rest_s)):
                return

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends after the turn in hand; returns after `timeout_s` at the latest. Also of one that was never started."""
        self._ending.set()
        if self.is_alive():
            self.join(timeout_s)
