"""Reads a request's body to its end and forgets it."""

import io
import re
from collections.abc import Callable
from email.message import Message

MAX_LINE_BYTES = 256
BUFFER_BYTES = 256 * 1024

_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?\r?\n", re.DOTALL)


class BodyError(Exception):
    """A body whose end can't be found; the text says what is allowed."""


def discard_body(stream: io.BufferedIOBase, headers: Message, on_progress: Callable[[], None]) -> int:
    """The length of the body, now read, in bytes. Raises BodyError, and OSError where the client goes away."""
    coding, length = headers.get_all("Transfer-Encoding", []), headers.get_all("Content-Length", [])
    if coding:
        if length or [c.strip().lower() for c in coding] != ["chunked"]:
            raise BodyError("allowed: Content-Length, or Transfer-Encoding: chunked, and not both")
        return _discard_chunks(stream, on_progress)
    if not length:
        return 0
    if len(length) > 1 or not _LENGTH.fullmatch(length[0].strip(" \t")):
        raise BodyError("Content-Length: allowed: one whole number of bytes")
    return _discard_bytes(stream, int(length[0]), on_progress)


def _discard_bytes(stream: io.BufferedIOBase, size: int, on_progress: Callable[[], None]) -> int:
    buffer = memoryview(bytearray(min(size, BUFFER_BYTES)))
    left = size
    while left:
        count = stream.readinto1(buffer[: min(left, BUFFER_BYTES)])
        if not count:
            raise ConnectionResetError("the client closed before the end of its body")
        left -= count
        on_progress()
    return size


def _discard_chunks(stream: io.BufferedIOBase, on_progress: Callable[[], None]) -> int:
    total = 0
    while True:
        head = _CHUNK_HEAD.fullmatch(stream.readline(MAX_LINE_BYTES))
        if not head:
            raise BodyError("allowed: chunks that begin with their length in hexadecimal digits")
        size = int(head[1], 16)
        if not size:
            break
        total += _discard_bytes(stream, size, on_progress)
        if stream.readline(MAX_LINE_BYTES).strip(b"\r\n"):
            raise BodyError("allowed: chunks that end where their length says")
    for _ in range(16):
        if stream.readline(MAX_LINE_BYTES) in (b"\r\n", b"\n", b""):
            return total
    raise BodyError("allowed: 16 trailer fields")
