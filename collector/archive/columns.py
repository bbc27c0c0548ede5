"""Columns of texts, as they follow each other in many messages, as few bytes, and back; nothing is lost.

A column of numbers becomes integers where every number is written as msgspec writes it, as a unit does; so do times.
Integers become differences or distances from the least, and these go byte by byte, the lowest bytes of all of them
first: LZMA finds the high bytes alike and does not mix them with the noise of the low ones. Whatever isn't written like
that stays text.
"""

import datetime as dt
import math
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

Spec = list[Any]
"""How a column is written: the name of its way, and what that needs; any msgpack."""

INTEGERS, DECIMALS, DOUBLES, TIMES, ARRAYS, CHOICES, TEXTS = range(7)
LEAST, STEPS = range(2)

MAX_INT = 2**61
MAX_DECIMALS = 9
SAMPLE = 1024
"""Integers by which the better of two ways is chosen."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_TIME_LENGTH = len('"2026-11-30T05:00:00.123456Z"')

_ints = msgspec.json.Decoder(list[int])
_floats = msgspec.json.Decoder(list[float])
_times = msgspec.json.Decoder(list[dt.datetime])
_json = msgspec.json.Encoder()


class Buffers:
    """What columns are written to and read from in the same order: bytes of numbers, and texts."""

    def __init__(self, planes: bytes = b"", texts: bytes = b"") -> None:
        self._planes, self._texts = memoryview(planes), memoryview(texts)
        self._added: tuple[list[bytes], list[bytes]] = ([], [])

    def add_plane(self, plane: bytes) -> None:
        self._added[0].append(plane)

    def add_text(self, text: bytes) -> None:
        self._added[1].append(text)

    def joined(self) -> tuple[bytes, bytes]:
        """The bytes of numbers, the texts."""
        planes, texts = self._added
        return b"".join(planes), b"".join(texts)

    def take_plane(self, size: int) -> memoryview:
        taken, self._planes = self._planes[:size], self._planes[size:]
        return taken

    def take_text(self, size: int) -> bytes:
        taken, self._texts = self._texts[:size], self._texts[size:]
        return bytes(taken)


def write_column(column: Sequence[bytes], to: Buffers) -> Spec:
    """Writes the values; `read_column` needs what is returned, and how many there are."""
    first = column[0][:1]
    if first == b"[":
        spec = _write_arrays(column, to)
    elif first == b'"':
        spec = _write_times(column, to)
    else:
        spec = _write_numbers(column, to)
    return spec or _write_choices(column, to) or _write_texts(column, to)


def read_column(spec: Spec, count: int, source: Buffers) -> list[bytes]:
    """The values that were written. Raises ValueError where the way is unknown."""
    way, *needed = spec
    match way:
        case 0:
            return _split(_json.encode(read_integers(needed[0], count, source)))
        case 1:
            unit = 10 ** needed[0]
            return _split(_json.encode([one / unit for one in read_integers(needed[1], count, source)]))
        case 2:
            bits = array("q", read_integers(needed[0], count, source))
            return _split(_json.encode(array("d", bits.tobytes()).tolist()))
        case 3:
            return _time_texts(read_integers(needed[0], count, source))
        case 4:
            return _read_arrays(needed, count, source)
        case 5:
            choices = _read_texts(needed[1], needed[0], source)
            return [choices[one] for one in read_integers(needed[2], count, source)]
        case 6:
            return _read_texts(needed[0], count, source)
        case _:
            raise ValueError(f"columns of way {way}")


def times_of(spec: Spec, texts: Sequence[bytes]) -> list[int] | None:
    """Microseconds since 1970 of a column of times."""
    return _micros(texts) if spec[0] == TIMES else None


def write_integers(values: Sequence[int], to: Buffers) -> Spec:
    """Of 64 bits each."""
    how, first = LEAST, min(values)
    chosen = [one - first for one in values]
    if max(chosen) <= MAX_INT:
        steps = [0, *((step << 1) ^ (step >> 63) for step in (after - before for before, after in pairwise(values)))]
        if _cost(steps) < _cost(chosen):
            how, first, chosen = STEPS, values[0], steps
    planes = (max(chosen).bit_length() + 7) // 8
    data = _little(array("Q", chosen)).tobytes()
    for plane in range(planes):
        to.add_plane(data[plane::8])
    return [how, first, planes]


def read_integers(spec: Spec, count: int, source: Buffers) -> list[int]:
    how, first, planes = spec
    data = bytearray(8 * count)
    for plane in range(planes):
        data[plane::8] = source.take_plane(count)
    values = array("Q")
    values.frombytes(data)
    if how == LEAST:
        return [one + first for one in _little(values)]
    steps = [(one >> 1) ^ -(one & 1) for one in _little(values)]
    steps[0] = first
    return list(accumulate(steps))


def _little(values: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _cost(values: Sequence[int]) -> float:
    """About how many bits these take, each byte's place by itself."""
    begin = max(0, (len(values) - SAMPLE) // 2)
    sample = values[begin : begin + SAMPLE]
    data = _little(array("Q", sample)).tobytes()
    return sum(_bits(data[plane::8]) for plane in range((max(sample).bit_length() + 7) // 8))


def _bits(plane: bytes) -> float:
    return sum(-times * math.log2(times / len(plane)) for times in Counter(plane).values())


def _split(listed: bytes) -> list[bytes]:
    return listed[1:-1].split(b",")


def _write_numbers(column: Sequence[bytes], to: Buffers) -> Spec | None:
    joined = b"[%b]" % b",".join(column)
    try:
        ints = _ints.decode(joined)
        if len(ints) == len(column) and _json.encode(ints) == joined and max(map(abs, ints)) < MAX_INT:
            return [INTEGERS, write_integers(ints, to)]
    except (msgspec.DecodeError, OverflowError):
        pass
    try:
        floats = _floats.decode(joined)
        if len(floats) != len(column) or _json.encode(floats) != joined:
            return None
    except (msgspec.DecodeError, OverflowError):
        return None
    return _write_decimals(column, floats, to) or _write_doubles(floats, to)


def _write_decimals(column: Sequence[bytes], floats: Sequence[float], to: Buffers) -> Spec | None:
    places = max(len(text) - 1 - text.find(b".") for text in column)
    if places > MAX_DECIMALS:
        return None
    unit = 10**places
    if max(map(abs, floats)) * unit >= MAX_INT:
        return None
    scaled = [round(one * unit) for one in floats]
    if [one / unit for one in scaled] != floats or max(map(abs, scaled)) >= MAX_INT or b"-0.0" in column:
        return None
    return [DECIMALS, places, write_integers(scaled, to)]


def _write_doubles(floats: Sequence[float], to: Buffers) -> Spec | None:
    bits = array("q", array("d", floats).tobytes()).tolist()
    return [DOUBLES, write_integers(bits, to)]


def _micros(column: Sequence[bytes]) -> list[int] | None:
    try:
        times = _times.decode(b"[%b]" % b",".join(column))
        return [(one - _EPOCH) // _MICROSECOND for one in times]
    except (msgspec.DecodeError, TypeError, OverflowError):
        return None


def _time_texts(micros: Sequence[int]) -> list[bytes]:
    """As a unit writes them: always with six digits of a second."""
    texts = _split(_json.encode([_EPOCH + dt.timedelta(microseconds=one) for one in micros]))
    return [text if len(text) == _TIME_LENGTH else text[:-2] + b'.000000Z"' for text in texts]


def _write_times(column: Sequence[bytes], to: Buffers) -> Spec | None:
    if len(column[0]) != _TIME_LENGTH:
        return None
    micros = _micros(column)
    if micros is None or _time_texts(micros) != column:
        return None
    return [TIMES, write_integers(micros, to)]


def _write_arrays(column: Sequence[bytes], to: Buffers) -> Spec | None:
    if not all(text.startswith(b"[") and text.endswith(b"]") and len(text) > 2 for text in column):
        return None
    listed = [text[1:-1].split(b",") for text in column]
    numbers = [number for one in listed for number in one]
    spec = _write_numbers(numbers, to) or _write_texts(numbers, to)
    return [ARRAYS, write_integers([len(one) for one in listed], to), len(numbers), spec]


def _read_arrays(needed: Spec, count: int, source: Buffers) -> list[bytes]:
    lengths, total, spec = needed
    numbers = read_column(spec, total, source)
    ends = list(accumulate(read_integers(lengths, count, source)))
    return [b"[%b]" % b",".join(numbers[begin:end]) for begin, end in pairwise([0, *ends])]


def _write_choices(column: Sequence[bytes], to: Buffers) -> Spec | None:
    """For texts that come again and again."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(column))}
    if len(numbers) > len(column) // 2:
        return None
    (_, texts) = _write_texts(list(numbers), to)
    return [CHOICES, len(numbers), texts, write_integers([numbers[text] for text in column], to)]


def _write_texts(column: Sequence[bytes], to: Buffers) -> Spec:
    to.add_text(b"".join(column))
    return [TEXTS, write_integers([len(text) for text in column], to)]


def _read_texts(lengths: Spec, count: int, source: Buffers) -> list[bytes]:
    ends = list(accumulate(read_integers(lengths, count, source)))
    joined = source.take_text(ends[-1] if ends else 0)
    return [joined[begin:end] for begin, end in pairwise([0, *ends])]
