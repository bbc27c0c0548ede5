"""One HTTP download whose payload the kernel discards."""

import fcntl
import http.client
import io
import mmap
import os
import re
import secrets
import socket
import struct
import sys
import termios
from dataclasses import dataclass
from urllib.parse import SplitResult

from agent.errors import MeasurementError
from agent.measure.captive_portal import check_content_type, check_payload, check_redirect, portal_error
from agent.net.sockets import Address, open_socket, to_measurement_error
from xomnet import __version__
from xomnet.runtime.http_headers import read_headers

CHUNK_MIB = 1024
"""MiB that one request asks for: the most that LibreSpeed servers give."""
HEAD_LIMIT = 32_768
CHECKED_BYTES = 65_536
LOW_WATER_BYTES = 131_072
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |$)")
_WHOLE_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)
SO_MEMINFO = 55
_RCV_OOOPACK = struct.Struct("<I")
_RCV_OOOPACK_AT = 224
_SINK = mmap.mmap(-1, 1 << 20)
"""MSG_TRUNC leaves it untouched, but the kernel needs a buffer as long as what it discards."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data come from: `path`, with a random text after it, below `url`.

    By `test_id` our server counts the streams of one test as one client.
    """

    url: SplitResult
    address: Address
    interface: str | None
    test_id: str
    path: str
    permission: str | None = None

    def request(self) -> bytes:
        """A GET request that no cache can answer."""
        base = self.url.path.rstrip("/")
        permission = "" if self.permission is None else f"Authorization: Bearer {self.permission}\r\n"
        return (
            f"GET {base}/{self.path}{secrets.token_hex(8)} HTTP/1.1\r\n"
            f"Host: {self.url.netloc}\r\n"
            f"User-Agent: xomnet/{__version__}\r\n"
            f"X-Xomnet-Test: {self.test_id}\r\n"
            f"{permission}"
            "Accept-Encoding: identity\r\n"
            "Cache-Control: no-cache\r\n\r\n"
        ).encode()


class Stream:
    """A state machine over one non-blocking socket: connect, head, check of the first 64 KiB, discard."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.sock = open_socket(source.address[0], source.interface)
        self.received = 0
        """Payload bytes."""
        self.connected = False
        self.closed = False
        """The server closed it; nothing more will come."""
        self._answered = False
        """An answer began on this connection: the server may close it between two answers."""
        self._head = bytearray()
        self._to_check = bytearray()
        self._check_done = False
        self._left = 0
        self._keep_alive = True
        self._low_water = 1
        try:
            self.sock.connect(source.address[1])
        except BlockingIOError:
            pass
        except OSError as error:
            self.sock.close()
            raise to_measurement_error(error, source.url.netloc) from error

    @property
    def discarding(self) -> bool:
        """True after the head and the check: only counting is left."""
        return self._check_done and self._left > 0

    def on_ready(self) -> None:
        """To be called when the socket can be read, or has connected. Raises MeasurementError."""
        try:
            if not self.connected:
                self._send_request()
            elif self._left == 0:
                self._read_head()
            elif not self._check_done:
                self._read_to_check()
            else:
                self.drain()
        except BlockingIOError:
            return
        except OSError as error:
            raise to_measurement_error(error, self._source.url.netloc) from error

    def drain(self) -> None:
        """Counts and discards all that has arrived. Raises OSError."""
        while self._left > 0:
            try:
                count = self.sock.recv_into(_SINK, min(len(_SINK), self._left), socket.MSG_TRUNC)
            except BlockingIOError:
                return
            self._count_received(count)
            if count == 0:
                return

    def _count_received(self, count: int) -> None:
        if count == 0:
            self.closed = True
            return
        self.received += count
        self._left -= count
        if self._left == 0:
            if self._keep_alive:
                self._send_request()
            else:
                self.closed = True
        self._set_low_water()

    def _send_request(self) -> None:
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self.connected = True
        request = self._source.request()
        try:
            sent = self.sock.send(request)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            if not self._answered:
                raise
            self.closed = True
            return
        if sent != len(request):
            raise MeasurementError("network_error", "the request did not fit the send buffer")

    def _read_head(self) -> None:
        block = self._receive_head()
        if not block:
            if self._answered and not self._head:
                self.closed = True
                return
            raise MeasurementError("reset", f"{self._source.url.netloc} closed before an answer")
        self._head += block
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > HEAD_LIMIT:
                raise portal_error("the answer's head is over 32 KiB")
            return
        body = bytes(self._head[end + 4 :])
        length, self._keep_alive = parse_head(bytes(self._head[: end + 4]))
        self._head.clear()
        self._answered = True
        self._left = CHUNK_MIB << 20 if length is None else length
        if len(body) > self._left:
            raise MeasurementError("payload_mismatch", f"more than the {length} bytes announced", ("payload_mismatch",))
        if body:
            self._add_block(body)
        self._set_low_water()

    def _receive_head(self) -> bytes:
        try:
            return self.sock.recv(CHECKED_BYTES)
        except ConnectionResetError:
            if self._answered and not self._head:
                return b""
            raise

    def _read_to_check(self) -> None:
        self._add_block(self.sock.recv(min(CHECKED_BYTES - len(self._to_check), self._left)))

    def _add_block(self, block: bytes) -> None:
        """Counts a block; keeps the first 64 KiB, or the first answer if it is shorter, for the check."""
        if not self._check_done:
            self._to_check += block
        self._count_received(len(block))
        if not self._check_done:
            self._check_if_complete()

    def _check_if_complete(self) -> None:
        if len(self._to_check) < CHECKED_BYTES and self._left > 0 and not self.closed:
            return
        self.check_unchecked()

    def check_unchecked(self) -> None:
        """Checks what has come, if it is not checked yet. Raises MeasurementError."""
        if self._check_done:
            return
        check_payload(bytes(self._to_check))
        self._to_check.clear()
        self._check_done = True
        self._set_low_water()

    def _set_low_water(self) -> None:
        """While discarding, avoids a wake-up for each packet; the loop drains at every tick all the same."""
        low_water = min(LOW_WATER_BYTES, self._left) if self.discarding else 1
        if low_water != self._low_water and not self.closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
            self._low_water = low_water

    def readable_bytes(self) -> int:
        """Bytes that have arrived in order and wait to be read."""
        return int.from_bytes(fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)), sys.byteorder)

    def kernel_memory(self) -> int:
        """Bytes of memory that the kernel holds for what has arrived, in order or not; 0 if it does not say."""
        try:
            info = self.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 64)
        except OSError:
            return 0
        return int.from_bytes(info[:4], sys.byteorder)

    def reordered_packets(self) -> int | None:
        """Packets that arrived out of order (TCP_INFO); None if the kernel does not count them."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 280)
        if len(info) < _RCV_OOOPACK_AT + _RCV_OOOPACK.size:
            return None
        return int(_RCV_OOOPACK.unpack_from(info, _RCV_OOOPACK_AT)[0])

    def close(self) -> None:
        self.sock.close()


def parse_head(head: bytes) -> tuple[int | None, bool]:
    """The length of the body (None: not known), and whether the connection may be used again.

    Raises MeasurementError: `portal`, `server_busy`, `http_…`, `payload_mismatch`.
    """
    first, _, rest = head.partition(b"\r\n")
    found = _STATUS.match(first)
    if found is None:
        raise portal_error("the answer is not HTTP")
    version, status = found[1], int(found[2])
    try:
        headers = read_headers(io.BytesIO(rest))
    except http.client.HTTPException as error:
        raise portal_error("the answer's head is not HTTP") from error
    if status in {429, 503}:
        raise MeasurementError("server_busy", f"HTTP {status}", ("server_busy",), retry_after_s=_retry_after(headers))
    check_redirect(status, headers)
    if status != 200:
        raise MeasurementError(f"http_{status}", f"the server answered {status}; is its URL right?")
    check_content_type(headers)
    length = headers.get("Content-Length", "").strip()
    if not _WHOLE_NUMBER.fullmatch(length) or "Transfer-Encoding" in headers:
        return None, False
    if int(length) == 0:
        raise MeasurementError("payload_mismatch", "an empty answer", ("payload_mismatch",))
    connection = headers.get("Connection", "").strip().lower()
    return int(length), connection == "keep-alive" if version == b"0" else connection != "close"


def _retry_after(headers: http.client.HTTPMessage) -> float | None:
    text = headers.get("Retry-After", "").strip()
    return min(float(text), 3600.0) if _WHOLE_NUMBER.fullmatch(text) else None
