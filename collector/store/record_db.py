"""The file of what was decided about results: exclusions and closed months. It is small, never pruned, backed up."""

import sqlite3
from contextlib import suppress
from pathlib import Path

from collector.store.errors import StoreRefused, StoreUnavailable

FILE = "record.db"


def has_record(path: Path) -> bool:
    """For who only reads, and makes no file. Raises StoreUnavailable where it can't be seen."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}; run this as the collector's user") from error
    return True


def open_record(path: Path) -> sqlite3.Connection:
    """For any number of processes and threads; whoever uses it makes its own tables. Raises StoreUnavailable.

    A damaged file is not set aside: without it, what was excluded would count again.
    """
    try:
        db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreRefused(f"{path} is damaged ({error}): stop the collector and put back the last backup") from error
    with suppress(PermissionError):  # another user's
        path.chmod(0o600)
    return db
