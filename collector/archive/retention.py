"""What the archive may take: the oldest days go first, today never. What the server itself decided stays: it may hold
for results of later days.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from collector.archive.files import DAMAGED, DAY, LOG, days_of, path_of, sync_folder
from collector.archive.reader import own_records
from collector.ingest.archive_record import ArchiveRecord
from collector.store.errors import StoreUnavailable

KEPT = (DAY, LOG, DAY + DAMAGED, LOG + DAMAGED)


class Deleted(NamedTuple):
    day: str
    bytes: int
    reason: str
    """The setting that wants it."""


def size_of(folder: Path) -> dict[str, int]:
    """Bytes of each day, oldest first. Raises OSError."""
    return {day: sum(_size(path_of(folder, day, suffix)) for suffix in KEPT) for day in days_of(folder, *KEPT)}


def delete_old_days(
    folder: Path,
    today: str,
    oldest: str | None,
    max_bytes: float,
    append: Callable[[Sequence[ArchiveRecord]], object],
) -> list[Deleted]:
    """Deletes days before `oldest`, then the oldest until all take `max_bytes` at most. Raises OSError.

    The server's own records are appended again; a day of which they can't be, stays for now.
    """
    sizes = size_of(folder)
    left, deleted = sum(sizes.values()), list[Deleted]()
    for day, size in sizes.items():
        too_old, too_much = oldest is not None and day < oldest, left > max_bytes
        if day >= today or not (too_old or too_much):
            break
        try:
            append(own_records(folder, day))
        except StoreUnavailable:
            continue
        for suffix in KEPT:
            path_of(folder, day, suffix).unlink(missing_ok=True)
        left -= size
        deleted.append(Deleted(day, size, "archive.keep_days" if too_old else "archive.max_gb"))
    if deleted:
        sync_folder(folder)
    return deleted


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
