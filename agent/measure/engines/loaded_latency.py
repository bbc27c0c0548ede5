"""Round trips of a download test: TCP connects to its server, while the line is idle and beside the transfer."""

import errno
import selectors
import socket
import time
from statistics import median, quantiles

from agent.net.sockets import Address, connect_ms, open_socket, to_measurement_error

IDLE_PROBES, IDLE_TIMEOUT_S = 5, 5.0
EVERY_S, GIVE_UP_S = 0.2, 3.0
_ANSWERS = frozenset({0, errno.ECONNREFUSED})
_TOTAL_RETRANS_AT = 100
"""Offset in `struct tcp_info`."""


def idle_ms(address: Address, interface: str | None, host: str) -> list[float]:
    """Round trips before the transfer in ms, five at most. Raises MeasurementError if the first got no answer."""
    times = []
    for _ in range(IDLE_PROBES):
        try:
            times.append(connect_ms(address, interface, IDLE_TIMEOUT_S))
        except OSError as error:
            if not times:
                raise to_measurement_error(error, host) from error
    return times


class LoadedLatency:
    """Round trips under load, one after the other, each on a new socket."""

    def __init__(self, address: Address, interface: str | None, selector: selectors.BaseSelector) -> None:
        self._address, self._interface, self._selector = address, interface, selector
        self._sock: socket.socket | None = None
        self._started_ns = 0
        self._probe_at = 0.0
        self._next_at = 0.0
        self._round_trips: list[tuple[float, float]] = []

    @property
    def ms(self) -> list[float]:
        """All round trips so far."""
        return [ms for _, ms in self._round_trips]

    def median_and_p95(self, since: float) -> tuple[float | None, float | None]:
        """Median and P95 in ms of the probes sent since a moment; None if there were too few."""
        found = [ms for at, ms in self._round_trips if at >= since]
        p95 = quantiles(found, n=20, method="inclusive")[-1] if len(found) > 1 else None
        return median(found) if found else None, p95

    def tick(self, now: float) -> None:
        """Starts a probe if one is due, `now` seconds into the transfer; gives up on a probe after GIVE_UP_S."""
        if self._sock is not None:
            if time.monotonic_ns() - self._started_ns > GIVE_UP_S * 1e9:
                self.close()
            return
        if now < self._next_at:
            return
        self._probe_at, self._next_at = now, now + EVERY_S
        self._sock = open_socket(self._address[0], self._interface)
        self._started_ns = time.monotonic_ns()
        try:
            self._sock.connect(self._address[1])
        except BlockingIOError:
            self._selector.register(self._sock, selectors.EVENT_WRITE, self)
        except OSError:
            self.close()
        else:
            self.on_ready()

    def on_ready(self) -> None:
        """The host has answered, with a connection or a refusal: the time since the start is a round trip.

        It does not count if the first packet was lost: the second until the next packet is TCP's timer (P. Karn and
        C. Partridge, 1987).
        """
        ms = (time.monotonic_ns() - self._started_ns) / 1e6
        if self._sock is not None and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _ANSWERS:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS_AT + 4)
            if not any(info[_TOTAL_RETRANS_AT:]):
                self._round_trips.append((self._probe_at, ms))
        self.close()

    def close(self) -> None:
        """Ends the probe that is under way, if there is one."""
        if self._sock is not None:
            if self._sock in self._selector.get_map():
                self._selector.unregister(self._sock)
            self._sock.close()
            self._sock = None
