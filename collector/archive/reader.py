"""What the archive holds, read back: the days in order, each record as it came."""

import contextlib
import datetime as dt
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from collector.archive.batches import BATCH, decode_batch
from collector.archive.blocks import BLOCK, decode_block
from collector.archive.files import DAY, LOG, days_of, path_of
from collector.archive.frames import Damage, OnDamage, read_frames
from collector.ingest.archive_record import ArchiveRecord
from xomnet.runtime.log import Log

log = Log("collector.archive")

FIRST_MS, END_MS = -(2**62), 2**62
END = b"E"
"""The first byte of a day file's last body; what follows is an End."""


class End(msgspec.Struct, array_like=True, frozen=True):
    """What a day file holds, at its end: one that was cut off has none."""

    records: int
    digest: bytes


def log_damage(damage: Damage) -> None:
    """What `read_records` does with damage if not told otherwise."""
    if not damage.torn:
        log.error("archive damaged", file=str(damage.path), offset=damage.offset, bytes=damage.length)


def read_records(
    folder: Path,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    on_damage: OnDamage = log_damage,
) -> Iterator[list[ArchiveRecord]]:
    """Records received from `since` until before `until`, some thousand at a time, by the day they were written on.

    Within a day they come in any order, and one may come twice: whoever writes them elsewhere does so idempotently.
    What can't be read is told to `on_damage` and left out; a torn tail (`Damage.torn`) is a write that was never
    acknowledged, or one that goes on just now. Raises OSError.
    """
    first_ms = FIRST_MS if since is None else _ms(since)
    end_ms = END_MS if until is None else _ms(until)
    for day in days_of(folder):
        for found in _read_day(folder, day, first_ms, end_ms, on_damage):
            chosen = [one for one in found if first_ms <= one.received_ms < end_ms]
            if chosen:
                yield chosen


def own_records(folder: Path, day: str) -> list[ArchiveRecord]:
    """What the server itself put in on a day; of a sealed one only the first blocks are read, where it stands. Raises
    OSError.
    """
    found: list[ArchiveRecord] = []
    for suffix in (DAY, LOG):
        path = path_of(folder, day, suffix)
        for records in read_file(path, log_damage) if path.exists() else ():
            own = [one for one in records if not one.agent]
            found += own
            if suffix == DAY and not own:
                break
    return found


def _ms(when: dt.datetime) -> int:
    return -(-(when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1))


def _read_day(folder: Path, day: str, first_ms: int, end_ms: int, on_damage: OnDamage) -> Iterator[list[ArchiveRecord]]:
    with contextlib.ExitStack() as stack:
        files: list[tuple[Path, int]] = []
        for suffix in (LOG, DAY):  # in this order: a log goes after its day file has come
            path = path_of(folder, day, suffix)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                files.append((path, descriptor))
        for path, descriptor in reversed(files):
            yield from _read(path, descriptor, first_ms, end_ms, on_damage)


def read_file(path: Path, on_damage: OnDamage) -> Iterator[list[ArchiveRecord]]:
    """The records of one file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield from _read(path, descriptor, FIRST_MS, END_MS, on_damage)
    finally:
        os.close(descriptor)


def read_end(path: Path) -> End | None:
    """What a day file says of itself; None of a log, and where the end is missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        last = deque(read_frames(path, descriptor, lambda _: None), maxlen=1)
        return msgspec.msgpack.decode(last[0].body[1:], type=End) if last and last[0].body.startswith(END) else None
    finally:
        os.close(descriptor)


def _read(
    path: Path, descriptor: int, first_ms: int, end_ms: int, on_damage: OnDamage
) -> Iterator[list[ArchiveRecord]]:
    sealed, ended = not path.name.endswith(LOG), False

    def tell(damage: Damage) -> None:
        on_damage(damage._replace(torn=damage.torn and not sealed))

    for one in read_frames(path, descriptor, tell):
        ended = one.body.startswith(END)
        if ended:
            continue
        try:
            if one.body.startswith(BLOCK):
                yield decode_block(one.body, first_ms, end_ms)
            elif one.body.startswith(BATCH):
                yield decode_batch(one.body)
            else:
                raise ValueError("of a kind that this version does not know")
        except ValueError:
            tell(Damage(path, one.offset, one.end - one.offset))
    if sealed and not ended:
        on_damage(Damage(path, os.fstat(descriptor).st_size, 0))
