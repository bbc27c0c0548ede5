"""One writer at a time for each unit, of all threads and of all processes that share a file.

The units are dealt out to SLOTS; the file has for each who wrote last. Processes whose units are in other slots don't
wait for each other: SLOTS can be divided by what a machine has of cores.
"""

import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.store.errors import StoreUnavailable

SLOTS = 720
_NAME_BYTES = 8
_TRY_S = 0.01


def slot_of(agent: str) -> int:
    return zlib.crc32(agent.encode()) % SLOTS


class WriteTurn:
    """Without a file, or with one that only this process uses, it is always we who wrote last."""

    def __init__(self, path: Path | None, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._lock = threading.Lock()
        self._name = os.urandom(_NAME_BYTES)
        self._file: int | None = None

    @contextmanager
    def hold(self, agents: Collection[str]) -> Iterator[Collection[int]]:
        """Yields the slots of these units that another process may have written to since our last turn.

        Raises StoreUnavailable where the turn of others does not end in time.
        """
        deadline = time.monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=self._timeout_s):
            raise StoreUnavailable(f"another write has not ended within {self._timeout_s:g} s")
        try:
            if self._path is None:
                yield ()
                return
            file = self._open(self._path)
            try:
                slots = sorted({slot_of(agent) for agent in agents})
                for slot in slots:
                    self._wait(file, slot, deadline)
                yield self._take(file, slots)
            finally:
                try:
                    _set_lock(file, fcntl.F_UNLCK, 0, 0)
                except OSError:
                    self.close()  # which unlocks too
        finally:
            self._lock.release()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: Path) -> int:
        if self._file is None:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreUnavailable(f"{path}: {error}") from error
        return self._file

    def _wait(self, file: int, slot: int, deadline: float) -> None:
        while not self._lock_slot(file, slot):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"{self._path}: another process writes, and has not ended within {self._timeout_s:g} s"
                )
            time.sleep(_TRY_S)

    def _lock_slot(self, file: int, slot: int) -> bool:
        try:
            return _set_lock(file, fcntl.F_WRLCK, slot, 1)
        except OSError as error:  # a network's file system may have no locks
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _take(self, file: int, slots: Collection[int]) -> list[int]:
        """Writes our name; the slots that had another one."""
        try:
            names = os.pread(file, SLOTS * _NAME_BYTES, 0)
            others = [slot for slot in slots if names[slot * _NAME_BYTES :][:_NAME_BYTES] != self._name]
            for slot in others:
                os.pwrite(file, self._name, slot * _NAME_BYTES)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        return others


def _set_lock(file: int, kind: int, start: int, length: int) -> bool:
    """A lock that belongs to the open file (`fcntl(2)`, OFD), not to the process; False where it is another's."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))
    except BlockingIOError:
        return False
    return True
