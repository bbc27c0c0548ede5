"""Sealing: a day that is over becomes a small file, and its log goes.

Whenever this is killed, the log is there or the day file is, or both, which say the same. The new file is written
beside, read back and compared before it takes its name.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from collector.archive.blocks import encode_block
from collector.archive.files import (
    APPENDING,
    DAMAGED,
    DAY,
    LOG,
    NEW,
    SEALING,
    days_of,
    locked,
    path_of,
    sync_folder,
)
from collector.archive.frames import Damage, frame
from collector.archive.reader import END, End, read_file
from collector.ingest.archive_record import ArchiveRecord
from collector.store.points import time_ns
from xomnet.contract.messages import decode_with
from xomnet.contract.values import Instant
from xomnet.runtime.atomic_file import put_in_place
from xomnet.runtime.log import Log

log = Log("collector.archive")

GROUP_BYTES = 90_000_000
"""Payloads that are held in memory at once; a unit's day is held whole."""
BLOCK_RECORDS, BLOCK_BYTES = 8_000, 8_000_000
Rest = Callable[[], object]
_LINE = re.compile(rb'"line":"([^"]*)"')


class SealError(Exception):
    """The day stays a log; the text says why."""


class Sealed(NamedTuple):
    day: str
    records: int
    bytes: int
    damage: tuple[Damage, ...]
    """What could not be read; the file is kept aside then."""


class Summary:
    """How many records, and a digest of them in whatever order they come."""

    def __init__(self) -> None:
        self.records = self._sum = 0

    def add(self, records: Iterable[ArchiveRecord]) -> None:
        for one in records:
            self.records += 1
            head = b"%d %d %b " % (one.received_ms, one.late, one.agent.encode())
            self._sum += int.from_bytes(hashlib.blake2b(head + one.payload, digest_size=16).digest())

    @property
    def end(self) -> End:
        return End(self.records, (self._sum % 2**128).to_bytes(16))


def days_to_seal(folder: Path, today: str) -> list[str]:
    """The logs of days that are over. Raises OSError."""
    return [day for day in days_of(folder, LOG) if day < today]


def seal(folder: Path, day: str, rest: Rest = lambda: None) -> Sealed | None:
    """Rewrites the log of a day; None where another process does so, or did. Raises SealError or OSError.

    `rest` is called after each piece of work.
    """
    try:
        with locked(folder / SEALING, wait=False):
            return _seal(folder, day, rest) if path_of(folder, day, LOG).exists() else None
    except BlockingIOError:
        return None


def _seal(folder: Path, day: str, rest: Rest) -> Sealed:
    log_path, path = (path_of(folder, day, suffix) for suffix in (LOG, DAY))
    new = path_of(folder, day, DAY + NEW)
    for left in folder.glob(f"*{NEW}"):
        left.unlink()
    size = log_path.stat().st_size
    sources = [one for one in (path, log_path) if one.exists()]
    damage: list[Damage] = []
    try:
        written = _write(new, sources, damage, rest)
        lost = tuple(one for one in damage if not one.torn)
        with locked(folder / APPENDING):
            if log_path.stat().st_size != size:
                raise SealError(f"{log_path} has grown meanwhile")
            for damaged in {one.path for one in lost}:
                _keep_aside(damaged)
            put_in_place(new, path)
            log_path.unlink()
            sync_folder(folder)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return Sealed(day, written.records, path.stat().st_size, lost)


def _write(new: Path, sources: Sequence[Path], damage: list[Damage], rest: Rest) -> End:
    """The new file, on the disk and read back. Raises SealError or OSError."""
    weights, written = Counter[str](), Summary()
    for records in _all(sources, damage, rest):
        for one in records:
            weights[one.agent] += len(one.payload)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for agents in _groups(weights):
            for block in _blocks(_unique(_all(sources, [], rest), agents)):
                written.add(block)
                file.write(frame(encode_block(block)))
                rest()
        file.write(frame(END + msgspec.msgpack.encode(written.end)))
        file.flush()
        os.fsync(file.fileno())
    _verify(new, written.end, rest)
    return written.end


def _keep_aside(damaged: Path) -> None:
    """For a person to look at; its sound parts are in the new file."""
    aside = damaged.with_name(damaged.name + DAMAGED)
    aside.unlink(missing_ok=True)
    os.link(damaged, aside)


def _verify(new: Path, expected: End, rest: Rest) -> None:
    found, damage = Summary(), list[Damage]()
    for records in _all([new], damage, rest):
        found.add(records)
    if damage or found.end != expected:
        raise SealError(f"{new} does not read back as it was written; {damage[0] if damage else 'its digest differs'}")


def _all(sources: Sequence[Path], damage: list[Damage], rest: Rest) -> Iterator[list[ArchiveRecord]]:
    for path in sources:
        for records in read_file(path, damage.append):
            yield records
            rest()


def _groups(weights: Counter[str]) -> Iterator[set[str]]:
    """Neighbouring units, as many as may be held in memory."""
    group, size = set[str](), 0
    for agent in sorted(weights):
        if group and size + weights[agent] > GROUP_BYTES:
            yield group
            group, size = set(), 0
        group.add(agent)
        size += weights[agent]
    if group:
        yield group


class _Result(msgspec.Struct):
    """What of a message says which result it is."""

    kind: str
    spool: UUID
    seq: int
    at: Instant
    line: str | None = None


_results = msgspec.json.Decoder(_Result)


def _identity(one: ArchiveRecord) -> bytes:
    """Short, as many are held; the message itself where it is no result."""
    try:
        found = decode_with(_results, one.payload)
    except msgspec.DecodeError:
        return one.payload
    line = None if found.kind == "health" else found.line
    name = f"{found.kind}\0{line}\0{found.spool}\0{found.seq}\0{time_ns(found.at)}"
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _unique(batches: Iterable[list[ArchiveRecord]], agents: set[str]) -> list[ArchiveRecord]:
    """The results of these units, each once, as it was received and written first: like the database, which takes no
    other words for one that it has.
    """
    found: dict[str, dict[bytes, ArchiveRecord]] = {agent: {} for agent in agents}
    for records in batches:
        for one in records:
            if one.agent in agents:
                identity = _identity(one)
                known = found[one.agent].setdefault(identity, one)
                if one.received_ms < known.received_ms:
                    found[one.agent][identity] = one
    return sorted((one for of_agent in found.values() for one in of_agent.values()), key=_place)


def _place(one: ArchiveRecord) -> tuple[str, bytes, int]:
    """Beside its neighbours in time of the same unit and line."""
    line = _LINE.search(one.payload)
    return one.agent, line[1] if line else b"", one.received_ms


def _blocks(records: list[ArchiveRecord]) -> Iterator[list[ArchiveRecord]]:
    begin = size = 0
    for number, one in enumerate(records):
        if number - begin == BLOCK_RECORDS or (size + len(one.payload) > BLOCK_BYTES and number > begin):
            yield records[begin:number]
            begin, size = number, 0
        size += len(one.payload)
    if begin < len(records):
        yield records[begin:]
