"""Whether the server is backed up: each backup that succeeds writes a file, whose age is watched."""

import datetime as dt
from pathlib import Path

MAX_AGE = dt.timedelta(hours=36)
"""A backup is made every night."""


def backup_age(stamp: Path, now: dt.datetime) -> dt.timedelta | None:
    """Since the last backup; None where there was none."""
    try:
        return now - dt.datetime.fromtimestamp(stamp.stat().st_mtime, dt.UTC)
    except OSError:
        return None


class BackupWatch:
    """Tells once that the backup is overdue, and again after the next one has come."""

    def __init__(self, stamp: Path) -> None:
        self._stamp, self._told = stamp, False

    def age_s(self, now: dt.datetime) -> float:
        """NaN where there was no backup."""
        age = backup_age(self._stamp, now)
        return float("nan") if age is None else age.total_seconds()

    def is_newly_overdue(self, now: dt.datetime) -> bool:
        told, self._told = self._told, not self.age_s(now) <= MAX_AGE.total_seconds()
        return self._told and not told
