"""What the archive holds, read back: the days in order, each record as it came."""

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

from collector.archive.batches import BATCH, decode_batch
from collector.archive.files import DAY, LOG, days_of, path_of
from collector.archive.frames import Damage, Frame, OnDamage, read_frames
from collector.ingest.archive_record import ArchiveRecord
from xomnet.runtime.log import Log

log = Log("collector.archive")


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
    first_ms = -(2**62) if since is None else _ms(since)
    end_ms = 2**62 if until is None else _ms(until)
    for day in days_of(folder):
        for found in _read_day(folder, day, on_damage):
            chosen = [one for one in found if first_ms <= one.received_ms < end_ms]
            if chosen:
                yield chosen


def _ms(when: dt.datetime) -> int:
    return -(-(when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1))


def _read_day(folder: Path, day: str, on_damage: OnDamage) -> Iterator[list[ArchiveRecord]]:
    with contextlib.ExitStack() as stack:
        files: list[tuple[Path, int]] = []
        for suffix in (LOG, DAY):  # in this order: a log goes after its day file has come
            path = path_of(folder, day, suffix)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                files.append((path, descriptor))
        for path, descriptor in reversed(files):
            for one in read_frames(path, descriptor, on_damage):
                yield _decode(path, one, on_damage)


def _decode(path: Path, one: Frame, on_damage: OnDamage) -> list[ArchiveRecord]:
    try:
        if one.body.startswith(BATCH):
            return decode_batch(one.body)
        raise ValueError("of a kind that this version does not know")
    except ValueError:
        on_damage(Damage(path, one.offset, one.end - one.offset))
        return []
