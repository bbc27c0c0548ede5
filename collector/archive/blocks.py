"""Some thousand records as the body of a day file's frame: messages of one shape split into what changes and what not.

Every message is cut at its values (numbers, texts, lists of numbers): what is left is its shape, and joining both gives
the message, whatever it is. Values of one place of a shape are a column. A message whose shape is rare stays whole.
"""

import lzma
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import msgspec

from collector.archive.columns import Buffers, Spec, read_column, read_integers, times_of, write_column, write_integers
from collector.ingest.archive_record import ArchiveRecord

BLOCK = b"D"
"""The first byte of such a body."""
RARE = 4
"""Fewer messages of a shape than that are kept whole."""
_VALUE = re.compile(rb'(?<=:)("[^"\\]*"|-?\d[-+.\deE]*|\[-?\d[-+.\deE,]*\])')
_NUMBERS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 2, "lc": 0, "lp": 0, "pb": 0, "dict_size": 2**20}]
_TEXTS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 3, "lp": 0, "pb": 0, "dict_size": 2**22}]

Shape = tuple[bytes, ...]


class _Group(msgspec.Struct, array_like=True):
    """Messages of one shape: `pieces` around the columns, and the columns of the records themselves."""

    pieces: list[bytes]
    count: int
    columns: list[Spec]
    agents: Spec
    received: Spec
    base: int
    """The column of times from which `received` counts; -1: from 1970."""
    late: Spec


class _Block(msgspec.Struct, array_like=True):
    records: int
    first_ms: int
    last_ms: int
    groups: bytes
    planes: bytes
    texts: bytes


_encoder = msgspec.msgpack.Encoder()
_blocks, _groups = msgspec.msgpack.Decoder(_Block), msgspec.msgpack.Decoder(list[_Group])


def encode_block(records: Sequence[ArchiveRecord]) -> bytes:
    """Of one record at least; smaller where neighbours are of one unit and line, in order of time."""
    by_shape: defaultdict[Shape, list[tuple[ArchiveRecord, list[bytes]]]] = defaultdict(list)
    for one in records:
        parts = _VALUE.split(one.payload)
        by_shape[tuple(parts[::2])].append((one, parts[1::2]))
    rare = [one for some in by_shape.values() if len(some) < RARE for one, _ in some]
    buffers = Buffers()
    groups = [
        _write_group(shape, [one for one, _ in some], _columns([values for _, values in some]), buffers)
        for shape, some in by_shape.items()
        if len(some) >= RARE
    ]
    if rare:
        groups.append(_write_group((b"", b""), rare, [[one.payload for one in rare]], buffers))
    planes, texts = buffers.joined()
    times = [one.received_ms for one in records]
    block = _Block(
        len(records),
        min(times),
        max(times),
        _compress(_encoder.encode(groups), _TEXTS),
        _compress(planes, _NUMBERS),
        _compress(texts, _TEXTS),
    )
    return BLOCK + _encoder.encode(block)


def _columns(rows: Sequence[list[bytes]]) -> list[list[bytes]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _write_group(shape: Shape, records: Sequence[ArchiveRecord], columns: Sequence[list[bytes]], to: Buffers) -> _Group:
    pieces, specs, base, times = [shape[0]], list[Spec](), -1, list[int]()
    for column, after in zip(columns, shape[1:], strict=True):
        if column.count(column[0]) == len(column):
            pieces[-1] += column[0] + after
            continue
        pieces.append(after)
        spec = write_column(column, to)
        if base < 0 and (found := times_of(spec, column)) is not None:
            base, times = len(specs), found
        specs.append(spec)
    received = [one.received_ms for one in records]
    if base >= 0:
        received = [ms - at // 1000 for ms, at in zip(received, times, strict=True)]
    return _Group(
        pieces=pieces,
        count=len(records),
        columns=specs,
        agents=write_column([one.agent.encode() for one in records], to),
        received=write_integers(received, to),
        base=base,
        late=write_integers([int(one.late) for one in records], to),
    )


def decode_block(body: bytes, first_ms: int, end_ms: int) -> list[ArchiveRecord]:
    """The records; none where no record was received from `first_ms` until before `end_ms`. Raises ValueError."""
    try:
        block = _blocks.decode(memoryview(body)[1:])
        if block.last_ms < first_ms or block.first_ms >= end_ms:
            return []
        groups = _groups.decode(_decompress(block.groups, _TEXTS))
        buffers = Buffers(_decompress(block.planes, _NUMBERS), _decompress(block.texts, _TEXTS))
        return [one for group in groups for one in _read_group(group, buffers)]
    except (lzma.LZMAError, msgspec.DecodeError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _read_group(group: _Group, source: Buffers) -> list[ArchiveRecord]:
    columns = [read_column(spec, group.count, source) for spec in group.columns]
    parts: list[Any] = [repeat(group.pieces[0], group.count)]
    for column, after in zip(columns, group.pieces[1:], strict=True):
        parts += [column, repeat(after, group.count)]
    payloads = map(b"".join, zip(*parts, strict=True))
    agents = [one.decode() for one in read_column(group.agents, group.count, source)]
    received = read_integers(group.received, group.count, source)
    if group.base >= 0:
        times = times_of(group.columns[group.base], columns[group.base]) or []
        received = [ms + at // 1000 for ms, at in zip(received, times, strict=True)]
    late = map(bool, read_integers(group.late, group.count, source))
    return list(map(ArchiveRecord, received, agents, payloads, late))


def _compress(data: bytes, filters: list[dict[str, Any]]) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)


def _decompress(data: bytes, filters: list[dict[str, Any]]) -> bytes:
    return lzma.decompress(data, format=lzma.FORMAT_RAW, filters=filters)
