"""A thief: one client that publishes as fast as the broker reads, past every library."""

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self

from tests.support.mqtt_packets import variable_byte_integer

TIMEOUT_S = 30.0


class Flood:
    """Sends `payloads` again and again (MQTT 3.1.1) to one topic, at most `per_s` a second, until `close`."""

    def __init__(
        self,
        port: int,
        topic: str,
        payloads: Iterable[bytes],
        qos: int = 1,
        name: str = "thief",
        per_s: float = 5_000.0,
        host: str = "127.0.0.1",
    ) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._socket.sendall(_connect(name))
        self._socket.recv(4)
        self._blocks = list(_blocks(topic, payloads, qos))
        self._ended, self._per_s = threading.Event(), per_s
        self.sent = 0
        """Messages, about."""
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        began = time.monotonic()
        for count, block in itertools.cycle(self._blocks):
            if self._ended.wait(max(0.0, began + self.sent / self._per_s - time.monotonic())):
                return
            with suppress(OSError):
                self._socket.sendall(block)
                self.sent += count

    def _receive(self) -> None:
        with suppress(OSError):
            while self._socket.recv(65_536):
                pass

    def close(self) -> None:
        self._ended.set()
        self._threads[0].join(TIMEOUT_S)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._threads[1].join(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(name: str) -> bytes:
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name.encode()
    return b"\x10" + variable_byte_integer(len(body)) + body


def _blocks(topic: str, payloads: Iterable[bytes], qos: int) -> Iterator[tuple[int, bytes]]:
    head = struct.pack(">H", len(topic)) + topic.encode()
    numbers = itertools.cycle(range(1, 65_536))
    packets = (_publish(head, payload, qos, next(numbers)) for payload in payloads)
    while batch := list(itertools.islice(packets, 50)):
        yield len(batch), b"".join(batch)


def _publish(head: bytes, payload: bytes, qos: int, number: int) -> bytes:
    body = head + (struct.pack(">H", number) if qos else b"") + payload
    return bytes([0x30 | qos << 1]) + variable_byte_integer(len(body)) + body
