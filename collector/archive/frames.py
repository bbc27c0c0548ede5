"""Frames: what every file of the archive is made of, so that damage is noticed and ends at the next frame."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MAGIC = b"\xabXA\xba"
"""No part of a JSON text, since it is no UTF-8."""
_HEAD = struct.Struct(">4sII")
_CHECK = struct.Struct(">I")
HEADER_BYTES = _HEAD.size + _CHECK.size
MAX_BODY_BYTES = 2**28
SEARCH_BYTES = 2**20


class Damage(NamedTuple):
    """Bytes of a file that are no frame. `torn`: they are the beginning of a write that never ended."""

    path: Path
    offset: int
    length: int
    torn: bool = False

    def __str__(self) -> str:
        what = "a torn tail" if self.torn else "damaged"
        return f"{self.path}: {what}, {self.length} bytes from byte {self.offset} on"


OnDamage = Callable[[Damage], object]


class Frame(NamedTuple):
    offset: int
    body: bytes

    @property
    def end(self) -> int:
        return self.offset + HEADER_BYTES + len(self.body)


def frame(body: bytes) -> bytes:
    """Magic, length, CRC-32 of the body, CRC-32 of these three; the body."""
    head = _HEAD.pack(MAGIC, len(body), zlib.crc32(body))
    return head + _CHECK.pack(zlib.crc32(head)) + body


def read_frames(path: Path, descriptor: int, on_damage: OnDamage, start: int = 0) -> Iterator[Frame]:
    """The sound frames of a file, as long as it is when this begins. What lies between them is told to `on_damage`."""
    size = os.fstat(descriptor).st_size
    offset = lost_from = start
    while offset < size:
        found = _frame_at(descriptor, offset, size)
        if isinstance(found, Frame):
            if lost_from < offset:
                on_damage(Damage(path, lost_from, offset - lost_from))
            yield found
            offset = lost_from = found.end
        else:
            offset = _next_magic(descriptor, found, size)
    if lost_from < size:
        torn = _is_torn(descriptor, lost_from, size)
        on_damage(Damage(path, lost_from, size - lost_from, torn))


def _header_at(descriptor: int, offset: int) -> tuple[int, int] | None:
    """Length and CRC-32 of the body."""
    header = os.pread(descriptor, HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    _, length, crc = _HEAD.unpack_from(header)
    (check,) = _CHECK.unpack_from(header, _HEAD.size)
    return (length, crc) if check == zlib.crc32(header[: _HEAD.size]) and length <= MAX_BODY_BYTES else None


def _frame_at(descriptor: int, offset: int, size: int) -> Frame | int:
    """The frame, or where to search on."""
    header = _header_at(descriptor, offset)
    if header is None or offset + HEADER_BYTES + header[0] > size:
        return offset + 1
    length, crc = header
    body = os.pread(descriptor, length, offset + HEADER_BYTES)
    if len(body) == length and zlib.crc32(body) == crc:
        return Frame(offset, body)
    return offset + HEADER_BYTES + length


def _next_magic(descriptor: int, offset: int, size: int) -> int:
    while offset < size:
        chunk = os.pread(descriptor, SEARCH_BYTES, offset)
        found = chunk.find(MAGIC)
        if found >= 0:
            return offset + found
        if len(chunk) < len(MAGIC):
            break
        offset += len(chunk) - len(MAGIC) + 1
    return size


def _is_torn(descriptor: int, offset: int, size: int) -> bool:
    """Whether the rest of a file is the beginning of a frame, or zeros, as a power cut leaves them."""
    if size - offset < HEADER_BYTES:
        rest = os.pread(descriptor, HEADER_BYTES, offset)
        return rest[: len(MAGIC)] == MAGIC[: len(rest)] or not any(rest)
    header = _header_at(descriptor, offset)
    if header is not None:
        return offset + HEADER_BYTES + header[0] > size
    while offset < size:
        chunk = os.pread(descriptor, SEARCH_BYTES, offset)
        if not chunk or any(chunk):
            return False
        offset += len(chunk)
    return True
