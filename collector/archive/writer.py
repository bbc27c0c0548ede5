"""Appends records to the log of the day. Several processes may do so at once: each append holds a lock."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from collector.archive.batches import encode_batch, in_batches
from collector.archive.files import APPENDING, LOG, day_of, locked, make_folder, path_of, sync_folder
from collector.archive.frames import Damage, frame, read_frames
from collector.ingest.archive_record import ArchiveRecord
from collector.store.errors import StoreUnavailable
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log

log = Log("collector.archive")


class Archive:
    """An ArchiveWriter, for any number of threads and processes. Raises StoreUnavailable if the disk refuses.

    `on_appended` is called with the number of records.
    """

    def __init__(self, folder: Path, now: UtcClock, on_appended: Callable[[int], object] = lambda _: None) -> None:
        self.folder, self._now, self._on_appended = folder, now, on_appended
        self._lock = threading.Lock()
        self._end: tuple[Path | None, int, int] = (None, 0, 0)
        """The log that was written last, its inode (another file may get it again), and where its last sound frame
        ends.
        """
        self.bytes = 0
        """Appended by this process."""
        try:
            make_folder(folder)
        except OSError as error:
            raise _refused(folder, error) from error

    def append(self, records: Sequence[ArchiveRecord]) -> None:
        """Returns when they are on the disk. Raises StoreUnavailable: then all may be appended again."""
        if not records:
            return
        frames = b"".join(frame(encode_batch(batch)) for batch in in_batches(records))
        path = path_of(self.folder, day_of(self._now()), LOG)
        try:
            with self._lock, locked(self.folder / APPENDING):
                self._append(path, frames)
        except OSError as error:
            raise _refused(path, error) from error
        self.bytes += len(frames)
        self._on_appended(len(records))

    def _append(self, path: Path, frames: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            inode, (known, known_inode, known_end) = os.fstat(descriptor).st_ino, self._end
            same = (known, known_inode) == (path, inode)
            end = self._cut_tail(path, descriptor, known_end if same else 0)
            try:
                _write(descriptor, frames)
                os.fsync(descriptor)
                if not same:
                    sync_folder(self.folder)
            except OSError:
                with contextlib.suppress(OSError):  # after a failed fsync, pages count as written: write them again
                    os.ftruncate(descriptor, end)
                raise
            self._end = (path, inode, end + len(frames))
        finally:
            os.close(descriptor)

    def _cut_tail(self, path: Path, descriptor: int, start: int) -> int:
        """Cuts what the death of a writer left of its last write, which was never acknowledged. Returns the size then.

        What is damaged otherwise may have been acknowledged: it stays, for the reader to report.
        """
        size = os.fstat(descriptor).st_size
        if start > size:
            start = 0
        torn: list[Damage] = []
        for _ in read_frames(path, descriptor, lambda damage: torn.append(damage) if damage.torn else None, start):
            pass
        if not torn:
            return size
        log.warning(
            "torn tail of the archive cut; it was never acknowledged",
            file=str(path),
            offset=torn[-1].offset,
            bytes=torn[-1].length,
        )
        os.ftruncate(descriptor, torn[-1].offset)
        return torn[-1].offset


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _refused(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the archive can't be written: {path}: {error.strerror or error}; free some space")
