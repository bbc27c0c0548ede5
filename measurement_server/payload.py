"""Bytes that no line can compress, sent by the kernel from memory."""

import os
import secrets
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO

from measurement_server.pacing import MAX_CHUNK_BYTES, Pacer

BLOCK_BYTES = 16 * 1024 * 1024
"""Longer than the window of any compressor on the way."""


class Payload:
    """One block of random bytes, made once and sent over and over from random places in it."""

    def __init__(self) -> None:
        # the file object closes the descriptor only when nobody can send from it any more
        self._file: BinaryIO = os.fdopen(os.memfd_create("payload", os.MFD_CLOEXEC), "w+b", buffering=0)
        for _ in range(BLOCK_BYTES // 2**20):
            self._file.write(os.urandom(2**20))

    def send(
        self,
        connection: socket.socket,
        size: int,
        pacer: Pacer | None,
        stopping: threading.Event,
        on_sent: Callable[[int], None],
    ) -> None:
        """Sends `size` bytes at the pacer's rate, telling `on_sent` the bytes of each chunk. Raises OSError."""
        chunk_bytes = pacer.chunk_bytes if pacer else MAX_CHUNK_BYTES
        offset = secrets.randbelow(BLOCK_BYTES)
        while size:
            count = min(size, chunk_bytes, BLOCK_BYTES - offset)
            if pacer and (wait_s := pacer.reserve(count)):
                stopping.wait(wait_s)
            if stopping.is_set():
                raise ConnectionAbortedError("the server stops")
            sent = os.sendfile(connection.fileno(), self._file.fileno(), offset, count)
            if not sent:
                raise ConnectionAbortedError("the payload is shorter than it was made")
            on_sent(sent)
            size -= sent
            offset = (offset + sent) % BLOCK_BYTES

    def close(self) -> None:
        """Frees the memory. Nobody may be sending."""
        self._file.close()
