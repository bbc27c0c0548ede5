"""Records as the body of a log's frame: quick to write, quick to read, some four times smaller than they are."""

import zlib
from collections.abc import Iterator, Sequence

import msgspec

from collector.ingest.archive_record import ArchiveRecord

BATCH = b"L"
"""The first byte of such a body."""
MAX_RAW_BYTES = 2**22

_decoder = msgspec.msgpack.Decoder(list[tuple[int, str, bytes, bool]])
_encoder = msgspec.msgpack.Encoder()


def encode_batch(records: Sequence[ArchiveRecord]) -> bytes:
    return BATCH + zlib.compress(_encoder.encode(records), 1)


def decode_batch(body: bytes) -> list[ArchiveRecord]:
    """Raises ValueError where the body is none of ours."""
    try:
        return [ArchiveRecord(*one) for one in _decoder.decode(zlib.decompress(body[1:]))]
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from error


def in_batches(records: Sequence[ArchiveRecord]) -> Iterator[Sequence[ArchiveRecord]]:
    """Of MAX_RAW_BYTES each at most, or of one record."""
    begin = size = 0
    for number, one in enumerate(records):
        if size + len(one.payload) > MAX_RAW_BYTES and number > begin:
            yield records[begin:number]
            begin, size = number, 0
        size += len(one.payload)
    yield records[begin:]
