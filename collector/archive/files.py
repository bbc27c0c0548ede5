"""The archive's files and whose turn it is: `2026-10-31.log` of a day in hand, `2026-10-31.day` of a sealed one.

A day is the province's, like the months of the report: a month is whole files, and a day is sealed at night.
"""

import contextlib
import datetime as dt
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from xomnet.plan import PROVINCE_TIME

LOG, DAY, NEW, DAMAGED = ".log", ".day", ".new", ".damaged"
APPENDING, SEALING = "append.lock", "seal.lock"
_ZONE = ZoneInfo(PROVINCE_TIME)
_NAME = re.compile(r"\d{4}-\d\d-\d\d")


def day_of(when: dt.datetime) -> str:
    """The province's day, as the files are named."""
    return when.astimezone(_ZONE).date().isoformat()


def path_of(folder: Path, day: str, suffix: str) -> Path:
    return folder / (day + suffix)


def days_of(folder: Path, *suffixes: str) -> list[str]:
    """The days of which there is such a file, oldest first. Raises OSError."""
    names = (one for one in os.listdir(folder) if one.endswith(suffixes or (LOG, DAY)))
    return sorted({name[:10] for name in names if _NAME.fullmatch(name[:10]) and name[10:] in (suffixes or (LOG, DAY))})


def kept_aside(folder: Path) -> list[Path]:
    """The files that were damaged when their day was sealed, oldest first. Raises OSError."""
    suffixes = [suffix + DAMAGED for suffix in (DAY, LOG)]
    paths = (path_of(folder, day, suffix) for day in days_of(folder, *suffixes) for suffix in suffixes)
    return [path for path in paths if path.exists()]


def make_folder(folder: Path) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Keeps other processes out. Raises OSError: BlockingIOError where one is in and `wait` is False."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
