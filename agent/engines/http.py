"""Our engine: several plain-HTTP streams from a LibreSpeed-compatible server, in one thread.

The order of METHOD.md: connect times while idle, streams 50 ms apart, warm-up discarded, an early stop that looks only
at stability, round trips beside the transfer from sockets of their own.
"""

import errno
import secrets
import selectors
import socket
import time
from statistics import median, quantiles
from urllib.parse import urlsplit

from agent import estimate
from agent.dns import resolve
from agent.engines import Progress, Test, TestFailed
from agent.engines.stream import CHUNK_MIB, Source, Stream
from agent.sockets import Address, connect_ms, failure, open_socket
from xomnet.messages import Flag, Speed

TICK_S = 0.05
STAGGER_S = 0.05
IDLE_PROBES, IDLE_TIMEOUT_S = 5, 5.0
PROBE_EVERY_S = 0.2
FIRST_BYTE_S = 8.0
MIN_BYTES = 65_536
BYTES_A_STREAM = 1_000_000
"""What a stream must have brought on average where many had to be opened again."""
LEARN_BYTES = 2_896
"""Two packets: fewer teach little."""
_ANSWERS = frozenset({0, errno.ECONNREFUSED})

GARBAGE = f"garbage.php?ckSize={CHUNK_MIB}&r="


def measure(test: Test) -> Speed:
    """One download test against a LibreSpeed-compatible server. Raises TestFailed."""
    return download(test, "http", GARBAGE)


def download(test: Test, engine: str, path: str) -> Speed:
    """One download test of `path` under the test's server; a random text is put after it. Raises TestFailed."""
    cpu = time.thread_time()
    source = _source(test, path)
    idle = _idle_ms(source.address, test.interface, source.url.netloc)
    transfer = _Transfer(test, source)
    try:
        transfer.run()
        found = estimate.figures(transfer.counts, transfer.measured_from)
        if found.down_mbps == 0:
            raise TestFailed("stalled", f"{transfer.bytes()} bytes, then none for {found.measured_s:.0f} s")
        reordered = [count for s in transfer.streams if (count := s.reordered_packets()) is not None]
    except TestFailed as failed:
        failed.bytes = transfer.bytes()
        raise
    finally:
        transfer.close()
    loaded = transfer.probes.rtts_ms
    return Speed(
        engine=engine,
        server=test.server,
        down_mbps=found.down_mbps,
        gross_mbps=found.gross_mbps,
        trimmed_mbps=found.trimmed_mbps,
        bytes=transfer.bytes(),
        duration_s=transfer.counts[-1][0],
        measured_s=found.measured_s,
        streams=len(transfer.streams),
        stop_reason=transfer.stop_reason,
        connect_ms=idle[0],
        rtt_idle_ms=median(idle),
        rtt_loaded_ms=median(loaded) if loaded else None,
        rtt_loaded_p95_ms=quantiles(loaded, n=20, method="inclusive")[-1] if len(loaded) > 1 else None,
        flags=tuple(transfer.flags) + (("audit",) if test.full else ()),
        cpu_s=time.thread_time() - cpu,
        reordered_packets=sum(reordered) if reordered else None,
        series_mbps=found.series_mbps,
    )


def _source(test: Test, path: str) -> Source:
    try:
        url = urlsplit(test.server)
        host, port = url.hostname, url.port or 80
    except ValueError:
        host = None
    if not host or url.scheme != "http":
        raise TestFailed(
            "settings", f"{test.server!r} is no measurement server; write http://HOST:PORT/", ("unit_fault",)
        )
    return Source(url, resolve(host, port, test.interface), test.interface, secrets.token_hex(8), path)


def _idle_ms(address: Address, interface: str | None, host: str) -> list[float]:
    times = []
    for _ in range(IDLE_PROBES):
        try:
            times.append(connect_ms(address, interface, IDLE_TIMEOUT_S))
        except OSError as error:
            if not times:
                raise failure(error, host) from error
    return times


class _Probes:
    """Round trips under load: TCP connects, one after the other, from sockets of their own."""

    def __init__(self, address: Address, interface: str | None, selector: selectors.BaseSelector) -> None:
        self._address, self._interface, self._selector = address, interface, selector
        self._sock: socket.socket | None = None
        self._started_ns = 0
        self._next_at = 0.0
        self.rtts_ms: list[float] = []

    def tick(self, now: float) -> None:
        """Starts a probe where one is due; gives up on one that has had three seconds."""
        if self._sock is not None:
            if (time.monotonic_ns() - self._started_ns) > 3e9:
                self._end()
            return
        if now < self._next_at:
            return
        self._next_at = now + PROBE_EVERY_S
        self._sock = open_socket(self._address[0], self._interface)
        self._started_ns = time.monotonic_ns()
        try:
            self._sock.connect(self._address[1])
        except BlockingIOError:
            self._selector.register(self._sock, selectors.EVENT_WRITE, self)
        except OSError:
            self._end()
        else:
            self.ready()

    def ready(self) -> None:
        """The host has answered, with a connection or a refusal: that time is a round trip."""
        if self._sock is not None and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _ANSWERS:
            self.rtts_ms.append((time.monotonic_ns() - self._started_ns) / 1e6)
        self._end()

    def _end(self) -> None:
        if self._sock is not None:
            if self._sock in self._selector.get_map():
                self._selector.unregister(self._sock)
            self._sock.close()
            self._sock = None

    def close(self) -> None:
        self._end()


class _Overtook:
    """Bytes that have arrived ahead of a lost packet: on the wire they are delivered, to us they are not yet readable.

    Counted only when the hole is filled, they would make a window read above the rate of the line (by 3 to 16 % at
    150 and 300 Mb/s and 100 ms). The kernel says how much memory it holds for them; what it holds for a byte is learnt
    from what is read.
    """

    def __init__(self) -> None:
        self._memory, self._bytes = 0, 0

    def learn(self, memory: int, bytes_: int) -> None:
        """So much memory was given back for so many bytes read."""
        if memory > 0 and bytes_ >= LEARN_BYTES:
            self._memory += memory
            self._bytes += bytes_

    def bytes_of(self, memory: int) -> int:
        """The payload in so much memory; 0 as long as nothing was learnt."""
        return memory * self._bytes // self._memory if self._memory else 0


class _Transfer:
    """The streams and their counts, until a stop rule fires."""

    def __init__(self, test: Test, source: Source) -> None:
        self._test, self._source = test, source
        self._selector = selectors.DefaultSelector()
        self.probes = _Probes(source.address, test.interface, self._selector)
        self.streams: list[Stream] = []
        self.counts: list[tuple[float, int]] = [(0.0, 0)]
        self.measured_from = 0.0
        self.stop_reason: str | None = None
        self.flags: list[Flag] = []
        self._overtook = _Overtook()
        self._gone_bytes = 0
        self._reopened = 0
        self._start = 0.0

    def bytes(self) -> int:
        """Payload so far, also of streams that are closed by now."""
        return self._gone_bytes + sum(stream.received for stream in self.streams)

    def run(self) -> None:
        """Transfers until a stop rule fires; the figures are in the attributes then. Raises TestFailed."""
        self._open()
        self._start = time.monotonic()
        next_tick = self._start + TICK_S
        while self.stop_reason is None:
            now = time.monotonic()
            while len(self.streams) < self._test.streams and now - self._start >= len(self.streams) * STAGGER_S:
                self._open()
            for key, _ in self._selector.select(max(0.0, next_tick - now)):
                if isinstance(key.data, Stream):
                    self._serve(key.data)
                else:
                    key.data.ready()
            if time.monotonic() >= next_tick:
                next_tick += TICK_S * (1 + int((time.monotonic() - next_tick) / TICK_S))
                self._tick()

    def _open(self) -> None:
        stream = Stream(self._source)
        self.streams.append(stream)
        self._selector.register(stream.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, stream)

    def _serve(self, stream: Stream) -> None:
        was_connected = stream.connected
        stream.ready()
        if stream.connected and not was_connected:
            self._selector.modify(stream.sock, selectors.EVENT_READ, stream)
        if stream.closed:
            self._replace(stream)

    def _replace(self, stream: Stream) -> None:
        """A stream that the server ended is opened again, unless it does so after next to nothing again and again."""
        self._reopened += 1
        self._gone_bytes += stream.received
        if self._reopened > 2 * self._test.streams and self._gone_bytes < self._reopened * BYTES_A_STREAM:
            stream.received = 0
            raise TestFailed("reset", f"{self._source.url.netloc} keeps ending its answers early")
        self._selector.unregister(stream.sock)
        stream.close()
        self.streams.remove(stream)
        self._open()

    def _tick(self) -> None:
        waiting = sum(self._drain(stream) for stream in list(self.streams) if stream.discarding)
        t = time.monotonic() - self._start
        self.counts.append((t, self.bytes() + self._overtook.bytes_of(waiting)))
        self.probes.tick(t)
        self._follow(t)
        mbps = estimate.rate_mbps(self.counts, max(0.0, t - 0.5), t)
        self._test.progress(Progress(t, mbps, self.bytes(), self.measured_from > 0))

    def _drain(self, stream: Stream) -> int:
        """Reads all that is in order; returns the memory held by what is not."""
        readable, before = stream.readable(), stream.held()
        try:
            stream.drain()
        except OSError as error:
            raise failure(error, self._source.url.netloc) from error
        if stream.closed:
            self._replace(stream)
            return 0
        after = stream.held()
        self._overtook.learn(before - after, readable)
        return after

    def _follow(self, t: float) -> None:
        """The stop rules, after each count."""
        total = self.counts[-1][1]
        if self._test.cancelled.is_set():
            raise TestFailed("cancelled", "the unit is stopping", ("unit_fault",))
        if total < MIN_BYTES and t > FIRST_BYTE_S:
            raise TestFailed("stalled", f"{total} bytes in {t:.0f} s")
        if self.measured_from == 0.0:
            if estimate.warmed_up(self.counts):
                self.measured_from = t
            elif t >= estimate.WARM_UP_MAX_S:
                self.measured_from = t
                self.flags.append("no_steady_state")
        measured = t - self.measured_from if self.measured_from else 0.0
        if self.measured_from and not self._test.full and estimate.stable(self.counts, self.measured_from):
            self.stop_reason = "stable"
        elif measured >= self._test.max_measured_s:
            self.stop_reason = "time_cap"
        elif total >= self._test.max_bytes:
            self._stop_at_byte_cap(measured)
        elif t >= self._test.max_total_s:
            self.stop_reason = "total_cap"

    def _stop_at_byte_cap(self, measured: float) -> None:
        """A line too fast for its byte cap is judged by the second half of what was moved, and says so."""
        self.stop_reason = "byte_cap"
        self.flags.append("capped_bytes")
        if measured < 1.0:
            self.measured_from = self.counts[-1][0] / 2
            if "no_steady_state" not in self.flags:
                self.flags.append("no_steady_state")

    def close(self) -> None:
        self.probes.close()
        for stream in self.streams:
            stream.close()
        self._selector.close()
