"""A name server of a few names, on a real socket: over UDP, and over TCP where it is told to truncate.

As a process: `python -m tests.support.name_server ADDRESS NAME=IP…` serves port 53 and prints
`CLIENT NAME` for each query.
"""

import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Self

from agent.net.dns_message import AAAA, NO_ERROR, NO_SUCH_NAME, A

Told = Callable[[str, str], None]
SILENCE = -1
"""As `rcode`: hears and says nothing."""


def _both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A port of UDP and the same of TCP; a free one of the first may be taken of the second."""
    for _ in range(50):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, port))
        try:
            return udp, socket.create_server((address, int(udp.getsockname()[1])))
        except OSError:
            udp.close()
            if port != 0:
                raise
    raise OSError("no port that is free for both")


class NameServer:
    """`names`: name → address. `asked`: each query's client and name, and its type over UDP or TCP (`udp 1`)."""

    def __init__(
        self,
        names: Mapping[str, str],
        address: str = "127.0.0.1",
        port: int = 0,
        rcode: int = NO_ERROR,
        truncates: bool = False,
        told: Told = lambda _client, _name: None,
    ) -> None:
        self._names, self._rcode, self._truncates, self._told = names, rcode, truncates, told
        self.asked: list[tuple[str, str]] = []
        self.ways: list[str] = []
        self._udp, self._tcp = _both(address, port)
        self.address, self.port = address, int(self._udp.getsockname()[1])
        self._threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address, self.port))
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        self._udp.close()

    def wait(self) -> None:
        """Until the process is ended."""
        self._threads[0].join()

    def _serve_udp(self) -> None:
        while True:
            query, client = self._udp.recvfrom(4096)
            if not query:
                return
            if answer := self._answer(query, client[0], "udp"):
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, client = self._tcp.accept()
            except OSError:
                return
            with connection:
                length = struct.unpack("!H", connection.recv(2))[0]
                answer = self._answer(connection.recv(length), client[0], "tcp")
                connection.sendall(struct.pack("!H", len(answer)))
                for at in range(len(answer)):  # as slowly as TCP may deliver it
                    connection.sendall(answer[at : at + 1])

    def _answer(self, query: bytes, client: str, way: str) -> bytes:
        name, kind = asked_for(query)
        self.asked.append((client, name))
        self.ways.append(f"{way} {kind}")
        self._told(client, name)
        if self._rcode == SILENCE:
            return b""
        if way == "udp" and self._truncates:
            return answer_to(query, NO_ERROR, truncated=True)
        if self._rcode != NO_ERROR or name not in self._names:
            return answer_to(query, self._rcode or NO_SUCH_NAME)
        found = self._names[name]
        return answer_to(query, NO_ERROR, [found] if (AAAA if ":" in found else A) == kind else [])


def asked_for(query: bytes) -> tuple[str, int]:
    """The name and the type of record that a query asks for."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), struct.unpack_from("!H", query, at + 1)[0]


def answer_to(query: bytes, rcode: int, addresses: list[str] | None = None, truncated: bool = False) -> bytes:
    """An answer with these addresses, their name as a pointer to the question's."""
    records = b""
    for address in addresses or []:
        family, kind = (socket.AF_INET6, AAAA) if ":" in address else (socket.AF_INET, A)
        data = socket.inet_pton(family, address)
        records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    flags = 0x8180 | rcode | (0x0200 if truncated else 0)
    return query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses or []), 0, 0) + query[12:] + records


def main() -> None:
    address, *names = sys.argv[1:]
    given = dict(name.split("=") for name in names)
    with NameServer(given, address, 53, told=lambda client, name: print(client, name, flush=True)) as server:
        print("ready", flush=True)
        server.wait()


if __name__ == "__main__":
    main()
