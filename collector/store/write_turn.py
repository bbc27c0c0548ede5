"""One writer at a time, of all threads and of all processes that share a file."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.store.errors import StoreUnavailable

_TRY_S = 0.01


class WriteTurn:
    """The file holds who wrote last. Without a file, or with one that only this process uses, it is always we."""

    def __init__(self, path: Path | None, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._lock = threading.Lock()
        self._name = os.urandom(16)
        self._file: int | None = None

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Yields whether another process may have written since our last turn. Raises StoreUnavailable where the turn
        of others does not end in time.
        """
        deadline = time.monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=self._timeout_s):
            raise StoreUnavailable(f"another write has not ended within {self._timeout_s:g} s")
        try:
            if self._path is None:
                yield False
                return
            file = self._wait(self._path, deadline)
            try:
                others = os.pread(file, len(self._name), 0) != self._name
                if others:
                    os.pwrite(file, self._name, 0)
                yield others
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _wait(self, path: Path, deadline: float) -> int:
        """The file, locked."""
        try:
            if self._file is None:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            while True:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(
                            f"{path}: another process writes, and has not ended within {self._timeout_s:g} s"
                        ) from None
                    time.sleep(_TRY_S)
                else:
                    return self._file
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error}") from error
