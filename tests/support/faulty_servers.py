"""Servers that lie, stall, drip or break off, on real sockets."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

RANDOM = os.urandom(5 << 20)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"

Behaviour = Callable[["Visit"], None]


class Visit:
    """One connection of a client; reads and writes end when the server does."""

    def __init__(self, sock: socket.socket, ending: threading.Event) -> None:
        self.sock, self.ending = sock, ending

    def request(self) -> bytes:
        """The next request's head; empty where the client is gone."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            block = self.sock.recv(4096)
            if not block:
                return b""
            head += block
        return head

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, every_s: float, piece: int = 1) -> None:
        for start in range(0, len(data), piece):
            self.send(data[start : start + piece])
            if self.ending.wait(every_s):
                return

    def pour(self, until_bytes: int = 1 << 40) -> None:
        """Random bytes, as fast as they go."""
        sent = 0
        while sent < until_bytes and not self.ending.is_set():
            piece = min(len(RANDOM), until_bytes - sent)
            self.send(RANDOM[:piece])
            sent += piece

    def data(self, length: int) -> None:
        """The head of an answer that promises this many bytes."""
        self.send(data_of(length))

    def hold(self) -> None:
        """Says nothing more."""
        self.ending.wait()

    def reset(self) -> None:
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    """Does one thing with every connection that asks for something; connects that only look are left alone."""

    def __init__(self, behaviour: Behaviour, read_request: bool = True) -> None:
        self._behaviour, self._read_request = behaviour, read_request
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self.requests: list[bytes] = []
        self.times: list[float] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(sock)
            visit = Visit(sock, self._ending)
            self._start(lambda visit=visit: self._serve(visit))  # type: ignore[misc]

    def _serve(self, visit: Visit) -> None:
        with contextlib.suppress(OSError), visit.sock:
            if self._read_request:
                request = visit.request()
                if not request:
                    return
                self.requests.append(request)
                self.times.append(time.monotonic())
            self._behaviour(visit)


def says(answer: bytes) -> Behaviour:
    """Answers once and closes."""
    return lambda visit: visit.send(answer)


def portal_page(content_type: str, length: int = 3000) -> Behaviour:
    page = b"<!DOCTYPE html><html><title>Login</title>".ljust(length, b" ")
    return says(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n".encode() + page)


def data_of(length: int, *headers: str) -> bytes:
    """The head of an answer that promises this many bytes."""
    more = "".join(f"{header}\r\n" for header in headers).encode()
    return OK + more + f"Content-Length: {length}\r\n\r\n".encode()


def answers_then(body_bytes: int, then: Callable[[Visit], None]) -> Behaviour:
    """Promises a GiB, gives some, then does something else."""

    def behave(visit: Visit) -> None:
        visit.send(data_of(1 << 30))
        visit.pour(body_bytes)
        then(visit)

    return behave


def in_small_answers(length: int, last: int = 1 << 30) -> Behaviour:
    """Keep-alive, each answer `length` bytes; closes without a word after `last` answers."""

    def behave(visit: Visit) -> None:
        for _ in range(last):
            visit.send(data_of(length) + RANDOM[:length])
            if not visit.request():
                return

    return behave


def chunked(visit: Visit) -> None:
    """As PHP gives what it flushes itself: no length."""
    visit.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    chunks = b"".join(b"2000\r\n" + RANDOM[at : at + 0x2000] + b"\r\n" for at in range(0, len(RANDOM), 0x2000))
    while not visit.ending.is_set():
        visit.send(chunks)


def zeros(visit: Visit) -> None:
    visit.send(data_of(1 << 30))
    while not visit.ending.is_set():
        visit.send(bytes(1 << 20))


def drip(visit: Visit) -> None:
    visit.data(1 << 30)
    visit.drip(RANDOM, 0.05, 100)


def trickle(piece: int) -> Behaviour:
    """Promises a GiB and gives `<` at a steady pace, 20 pieces a second."""

    def behave(visit: Visit) -> None:
        visit.send(data_of(1 << 30))
        visit.drip(b"<" * (1 << 20), 0.05, piece)

    return behave


def endless_head(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\n")
    while not visit.ending.is_set():
        visit.send(b"X-Filler: " + b"y" * 1000 + b"\r\n")
