"""A moment for every connection by which it must have got on, or is cut."""

import socket
import struct
import threading
import time
from dataclasses import dataclass

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class _ConnectionDeadline:
    life_ends_at: float
    due_at: float


class Deadlines:
    """The open connections and their deadlines, in seconds from now, never past the connection's whole life.

    A deadline outside the sockets, rather than a timeout on each call: a peer that sends or takes one byte a minute
    never lets a call time out.
    """

    def __init__(self, life_s: float) -> None:
        self._life_s = life_s
        self._open: dict[socket.socket, _ConnectionDeadline] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def start(self, connection: socket.socket, within_s: float) -> None:
        """A new connection."""
        now = time.monotonic()
        with self._lock:
            self._open[connection] = _ConnectionDeadline(now + self._life_s, now + min(within_s, self._life_s))

    def renew(self, connection: socket.socket, within_s: float) -> None:
        """The connection got on; the next step has `within_s`."""
        due_at = time.monotonic() + within_s
        with self._lock:
            life = self._open.get(connection)
            if life is not None:
                life.due_at = min(due_at, life.life_ends_at)

    def end(self, connection: socket.socket) -> None:
        """The connection is closed."""
        with self._lock:
            self._open.pop(connection, None)

    def cut_overdue(self) -> None:
        """Breaks the connections whose deadline has passed."""
        now = time.monotonic()
        self.cut([connection for connection, life in self._items() if life.due_at <= now])

    def cut_all(self) -> None:
        """Breaks every connection."""
        self.cut([connection for connection, _ in self._items()])

    def _items(self) -> list[tuple[socket.socket, _ConnectionDeadline]]:
        with self._lock:
            return list(self._open.items())

    def cut(self, connections: list[socket.socket]) -> None:
        """Breaks these connections; whoever waits on them wakes up."""
        for connection in connections:
            try:
                # without this the kernel keeps megabytes for a peer that never reads, long after the close
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone by itself in the meantime
                self.end(connection)
