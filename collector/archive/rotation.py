"""The rotation of days: those that are over are sealed, by a process of its own, and the oldest go."""

import datetime as dt
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from collector.archive.files import day_of, days_of
from collector.archive.retention import delete_old_days, size_of
from collector.archive.sealing import days_to_seal
from collector.archive.writer import Archive
from collector.metrics import Metrics
from collector.periodic import PeriodicWorker
from collector.settings import ArchiveSettings
from xomnet.runtime.log import Log

log = Log("collector.archive")

EVERY_S = 300.0
SEAL_LIMIT_S = 6 * 3600.0


def oldest_kept(days: Sequence[str], now: dt.datetime, keep_days: int) -> str:
    """Counted from the last day before today of which there is a file, if that is further back than yesterday: a clock
    that jumps ahead makes nothing old.
    """
    today = day_of(now)
    last = max((day for day in days if day < today), default=today)
    kept_from = min(dt.date.fromisoformat(today), dt.date.fromisoformat(last) + dt.timedelta(days=1))
    return (kept_from - dt.timedelta(days=keep_days)).isoformat()


class ArchiveRotation:
    """A thread that looks after the folder every few minutes."""

    def __init__(self, archive: Archive, settings: ArchiveSettings, metrics: Metrics, every_s: float = EVERY_S) -> None:
        self._archive, self._settings, self._metrics = archive, settings, metrics
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._bytes = False, 0
        self._worker = PeriodicWorker("archive", every_s, self._turn, log, "archive not rotated")
        metrics.archive_bytes.set_function(lambda: float(self._bytes + archive.bytes))

    def start(self) -> None:
        self._worker.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping = True
        if (process := self._process) is not None:
            process.terminate()
        self._worker.stop(timeout_s)

    def _turn(self, now: dt.datetime) -> None:
        folder, today = self._archive.folder, day_of(now)
        if days_to_seal(folder, today) and not self._seal(folder):
            self._metrics.archive_seal_failures.inc()
            log.error("days of the archive not sealed; their logs stay, and it is tried again", folder=str(folder))
        oldest = None
        if self._settings.keep_days is not None:
            oldest = oldest_kept(days_of(folder), now, self._settings.keep_days)
        for one in delete_old_days(folder, today, oldest, self._settings.max_gb * 1e9, self._archive.append):
            self._metrics.archive_days_deleted.inc()
            log.warning("day of the archive deleted", day=one.day, bytes=one.bytes, setting=one.reason)
        self._bytes = sum(size_of(folder).values()) - self._archive.bytes

    def _seal(self, folder: Path) -> bool:
        """In a process of its own, since it would hold up the intake's threads."""
        argv = [sys.executable, "-m", "collector.archive", "seal", str(folder)]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            if self._stopping:
                self._process.terminate()
            return self._process.wait(SEAL_LIMIT_S) == 0 or self._stopping
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._process = None
