"""A stranger's process: connections that begin a request and never end it.

`python -m tests.security.half_requests PORT COUNT RATE SOURCE [--tls]` keeps COUNT of them open and, where the server
closes them, opens others, RATE a second at most. It says `opened` when it has opened COUNT, and the sums at the end of
its input.
"""

import resource
import select
import socket
import sys
import time
from contextlib import suppress

HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "
TLS_HALF = bytes.fromhex("16030102000100")
"""The beginning of a ClientHello."""


class Flood:
    def __init__(self, port: int, source: str, half: bytes) -> None:
        self._target, self._source, self._half = ("127.0.0.1", port), source, half
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self.opened = self.failed = self.closed = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> None:
        sock = socket.socket()
        sock.settimeout(2)
        try:
            sock.bind((self._source, 0))
            sock.connect(self._target)
            sock.sendall(self._half)
        except OSError:
            self.failed += 1
            sock.close()
            return
        self.opened += 1
        self._open[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)

    def sweep(self) -> None:
        """Forgets what the server has closed."""
        for number, _ in self._poll.poll(0, 4096):
            self.closed += 1
            self._open.pop(number).close()


def main() -> None:
    port, count, rate, source, *more = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    flood = Flood(int(port), source, TLS_HALF if "--tls" in more else HALF)
    began, said = time.monotonic(), False
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        flood.sweep()
        allowed = int((time.monotonic() - began) * float(rate)) - flood.opened - flood.failed
        for _ in range(min(allowed, int(count) - len(flood), 500)):
            flood.open()
        if flood.opened >= int(count) and not said:
            said = True
            print("opened", flush=True)
    with suppress(BrokenPipeError):
        print(f"opened={flood.opened} closed={flood.closed} failed={flood.failed} open={len(flood)}", flush=True)


if __name__ == "__main__":
    main()
