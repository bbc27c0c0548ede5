"""systemd's watchdog (`WatchdogSec=`): a heartbeat of the process, which systemd restarts if it stops."""

import os
from collections.abc import Mapping

from xomnet.runtime import systemd
from xomnet.runtime.log import Log

log = Log("xomnet.runtime.watchdog")


class Watchdog:
    """Feeds the watchdog while every part of the process is alive. `interval_s` is how often to call `feed`."""

    def __init__(self, max_interval_s: float) -> None:
        self.interval_s = min(watchdog_interval_s() or max_interval_s, max_interval_s)
        self._before: dict[str, bool] = {}

    def feed(self, alive: Mapping[str, bool]) -> None:
        """Part of the process -> whether it is alive. Names the parts that hang in the log, once until that changes."""
        if all(alive.values()):
            systemd.notify("WATCHDOG=1")
        elif alive != self._before:
            log.error("hangs; systemd may end it", parts=" ".join(part for part, lives in alive.items() if not lives))
        self._before = dict(alive)


def watchdog_interval_s() -> float | None:
    """Half of what systemd allows between two `WATCHDOG=1`, in seconds; None if it does not watch this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2e6 if microseconds.isdigit() and mine else None
