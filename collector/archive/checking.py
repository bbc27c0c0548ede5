"""Everything that an archive holds, read: how much there is, and what of it can't be."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from collector.archive.files import DAMAGED, DAY, LOG, days_of, path_of
from collector.archive.frames import Damage
from collector.archive.reader import read_end, read_file
from collector.archive.sealing import Summary


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds; `damage` in words, one for each place."""

    file: str
    records: int
    late: int
    units: int
    bytes: int
    damage: tuple[str, ...] = ()
    torn_bytes: int = 0
    """Of a write that was never acknowledged; the next one cuts it."""


def check_archive(folder: Path) -> Iterator[FileReport]:
    """File by file, the days in order. Raises OSError."""
    for day in days_of(folder, LOG, DAY, *(suffix + DAMAGED for suffix in (DAY, LOG))):
        for suffix in (DAY, LOG):
            path = path_of(folder, day, suffix)
            if path.exists():
                yield _check_file(path)
            aside = path_of(folder, day, suffix + DAMAGED)
            if aside.exists():
                lost = f"{aside}: was damaged before the day was sealed; its sound parts are in {day}{DAY}"
                size = aside.stat().st_size
                yield FileReport(file=str(aside), records=0, late=0, units=0, bytes=size, damage=(lost,))


def _check_file(path: Path) -> FileReport:
    found, units, late, damage = Summary(), set[str](), 0, list[Damage]()
    for records in read_file(path, damage.append):
        found.add(records)
        units.update(one.agent for one in records if one.agent)
        late += sum(one.late for one in records)
    said = [str(one) for one in damage if not one.torn]
    end = read_end(path)
    if end is not None and not said and end != found.end:
        said.append(f"{path}: its records are not those that were written: {found.records} of {end.records}")
    return FileReport(
        file=str(path),
        records=found.records,
        late=late,
        units=len(units),
        bytes=path.stat().st_size,
        damage=tuple(said),
        torn_bytes=sum(one.length for one in damage if one.torn),
    )
