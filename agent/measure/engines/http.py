"""Our engine: several plain-HTTP streams from a LibreSpeed-compatible server, in one thread.

In this order: round trips while idle, streams 50 ms apart, round trips beside them, until a stop rule fires; then the
figures, from the counts of bytes alone.
"""

import secrets
import selectors
import time
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

from agent.errors import MeasurementError
from agent.measure import goodput
from agent.measure.early_stop import is_steady, may_stop
from agent.measure.engines import Progress, TestSpec
from agent.measure.engines.http_stream import CHUNK_MIB, Source, Stream
from agent.measure.engines.loaded_latency import LoadedLatency, idle_ms
from agent.measure.warm_up import BIN_S, WARM_UP_MIN_S, steady_bin
from agent.net.dns import check_reach, resolve
from agent.net.sockets import to_measurement_error
from xomnet.contract.messages import Flag, Speed

TICK_S = 0.05
RECENT_S = 0.5
"""The span of the rate that progress shows."""
STAGGER_S = 0.05
FIRST_BYTE_S = 8.0
MIN_BYTES = 65_536
BYTES_A_STREAM = 1_000_000
"""Bytes that a stream must have brought on average if many had to be opened again."""
LEARN_BYTES = 2_896
"""Two packets: fewer teach little."""

GARBAGE = f"garbage.php?ckSize={CHUNK_MIB}&r="


def measure(test: TestSpec) -> Speed:
    """One download test against a LibreSpeed-compatible server. Raises MeasurementError."""
    return download(test, "http", GARBAGE)


def download(test: TestSpec, engine: str, path: str) -> Speed:
    """One download test of `path` below the test's server, with a random text after it. Raises MeasurementError."""
    cpu = time.thread_time()
    source = _source(test, path)
    idle = idle_ms(source.address, test.interface, source.url.netloc)
    transfer = _Transfer(test, source, idle)
    try:
        transfer.run()
        for stream in transfer.streams:
            stream.check_unchecked()
        found = goodput.figures(transfer.counts, transfer.measured_from)
        if found.down_mbps == 0:
            raise MeasurementError("stalled", f"{transfer.bytes()} bytes, then none for {found.measured_s:.0f} s")
        reordered = [count for s in transfer.streams if (count := s.reordered_packets()) is not None]
    except MeasurementError as failed:
        failed.bytes = transfer.bytes()
        raise
    finally:
        transfer.close()
    loaded, loaded_p95 = transfer.loaded.median_and_p95(transfer.measured_from)
    return Speed(
        engine=engine,
        server=test.server,
        down_mbps=found.down_mbps,
        early_mbps=transfer.early_mbps,
        gross_mbps=found.gross_mbps,
        trimmed_mbps=found.trimmed_mbps,
        bytes=transfer.bytes(),
        duration_s=transfer.counts[-1][0],
        measured_s=found.measured_s,
        streams=len(transfer.streams),
        stop_reason=transfer.stop_reason,
        connect_ms=idle[0],
        rtt_idle_ms=median(idle),
        rtt_loaded_ms=loaded,
        rtt_loaded_p95_ms=loaded_p95,
        flags=transfer.flags(),
        cpu_s=time.thread_time() - cpu,
        reordered_packets=sum(reordered) if reordered else None,
        series_mbps=found.series_mbps,
    )


def _source(test: TestSpec, path: str) -> Source:
    try:
        url = urlsplit(test.server)
        host, port = url.hostname, url.port or 80
    except ValueError:
        host = None
    if not host or url.scheme != "http":
        raise MeasurementError(
            "settings", f"{test.server!r} is no measurement server; write http://HOST:PORT/", ("unit_fault",)
        )
    address = resolve(host, port, test.interface)
    check_reach(host, address, test.named_hosts)
    return Source(url, address, test.interface, secrets.token_hex(8), path, test.permission)


class OutOfOrderBytes:
    """Bytes that have arrived after a lost packet: delivered on the wire, but not yet readable.

    If they were counted only when the gap is filled, a window would read above the rate of the line (by 3 to 16% at
    150 and 300 Mb/s and 100 ms). The kernel says how much memory it holds for them; the memory for a byte is learnt
    from the bytes that are read.
    """

    def __init__(self) -> None:
        self._memory, self._bytes = 0, 0

    def learn(self, memory: int, bytes_: int) -> None:
        """The kernel released `memory` bytes when `bytes_` bytes of payload were read."""
        if memory > 0 and bytes_ >= LEARN_BYTES:
            self._memory += memory
            self._bytes += bytes_

    def payload_bytes(self, memory: int) -> int:
        """The payload in `memory` bytes of kernel memory; 0 before anything was learnt."""
        return memory * self._bytes // self._memory if self._memory else 0


class _Transfer:
    """The streams and their counts, until a stop rule fires."""

    def __init__(self, test: TestSpec, source: Source, idle: Sequence[float]) -> None:
        self._test, self._source, self._idle = test, source, idle
        self._selector = selectors.DefaultSelector()
        self.loaded = LoadedLatency(source.address, test.interface, self._selector)
        self.streams: list[Stream] = []
        self.counts: list[tuple[float, int]] = [(0.0, 0)]
        self.stop_reason: str | None = None
        self.early_mbps: float | None = None
        """Of an audit: the figure if the test had stopped early."""
        self._bins: list[float] = []
        self._out_of_order = OutOfOrderBytes()
        self._closed_bytes = 0
        self._reopened = 0
        self._start = 0.0

    def bytes(self) -> int:
        """Payload so far, also of streams that are closed by now."""
        return self._closed_bytes + sum(stream.received for stream in self.streams)

    def run(self) -> None:
        """Transfers until a stop rule fires; then the counts are complete. Raises MeasurementError."""
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
                    key.data.on_ready()
            if time.monotonic() >= next_tick:
                next_tick += TICK_S * (1 + int((time.monotonic() - next_tick) / TICK_S))
                self._tick()

    def _open(self) -> None:
        stream = Stream(self._source)
        self.streams.append(stream)
        self._selector.register(stream.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, stream)

    def _serve(self, stream: Stream) -> None:
        was_connected = stream.connected
        stream.on_ready()
        if stream.connected and not was_connected:
            self._selector.modify(stream.sock, selectors.EVENT_READ, stream)
        if stream.closed:
            self._replace(stream)

    def _replace(self, stream: Stream) -> None:
        """Opens a stream again that the server ended. Raises MeasurementError if it keeps ending them early."""
        self._reopened += 1
        self._closed_bytes += stream.received
        if self._reopened > 2 * self._test.streams and self._closed_bytes < self._reopened * BYTES_A_STREAM:
            stream.received = 0
            raise MeasurementError("reset", f"{self._source.url.netloc} keeps ending its answers early")
        self._selector.unregister(stream.sock)
        stream.close()
        self.streams.remove(stream)
        self._open()

    def _tick(self) -> None:
        waiting = sum(self._drain(stream) for stream in list(self.streams) if stream.discarding)
        t = time.monotonic() - self._start
        self.counts.append((t, self.bytes() + self._out_of_order.payload_bytes(waiting)))
        self.loaded.tick(t)
        mbps = goodput.rate_mbps(self.counts, max(0.0, t - RECENT_S), t)
        self._apply_stop_rules(t, mbps)
        self._test.progress(Progress(t, mbps, self.counts[-1][1], t >= WARM_UP_MIN_S))

    def _drain(self, stream: Stream) -> int:
        """Reads all payload that is in order; returns the kernel memory of what is not."""
        readable, before = stream.readable_bytes(), stream.kernel_memory()
        try:
            stream.drain()
        except OSError as error:
            raise to_measurement_error(error, self._source.url.netloc) from error
        if stream.closed:
            self._replace(stream)
            return 0
        after = stream.kernel_memory()
        self._out_of_order.learn(before - after, readable)
        return after

    def _apply_stop_rules(self, t: float, mbps: float) -> None:
        """Applies the stop rules; called after each count."""
        total = self.counts[-1][1]
        if self._test.cancelled.is_set():
            raise MeasurementError("cancelled", "the unit is stopping", ("unit_fault",))
        if total < MIN_BYTES and t > FIRST_BYTE_S:
            raise MeasurementError("stalled", f"{total} bytes in {t:.0f} s")
        is_capped = total + self._bytes_in_flight(mbps) >= self._test.max_bytes
        new_bins = goodput.add_bins(self._bins, self.counts)
        if total < MIN_BYTES and not is_capped:
            return  # a trickle can be steady, too, and is no figure
        if new_bins and may_stop(self._bins, self._idle, self.loaded.ms):
            if not self._test.full:
                self.stop_reason = "stable"
                return
            if self.early_mbps is None:
                self.early_mbps = goodput.rate_mbps(self.counts, self.measured_from, t)
        if is_capped:
            self.stop_reason = "byte_cap"
        elif t - self.measured_from >= self._test.max_measured_s:
            self.stop_reason = "time_cap"
        elif t >= self._test.max_total_s:
            self.stop_reason = "total_cap"

    def _bytes_in_flight(self, mbps: float) -> float:
        """Bytes that will still arrive if the test stops now: those of a tick, and of a round trip with its queue."""
        last_ms = [*self._idle, *self.loaded.ms][-1]
        return mbps * 125_000 * (TICK_S + last_ms / 1000)

    @property
    def measured_from(self) -> float:
        """Where the steady part begins, in seconds, by the counts so far."""
        if not self._bins:
            return self.counts[-1][0] / 2
        return steady_bin(self._bins) * BIN_S

    def flags(self) -> tuple[Flag, ...]:
        """The flags of the figure, after the transfer."""
        found: list[Flag] = []
        if self.stop_reason == "byte_cap":
            found.append("capped_bytes")
        if not is_steady(self._bins[steady_bin(self._bins) :]):
            found.append("no_steady_state")
        return (*found, "audit") if self._test.full else tuple(found)

    def close(self) -> None:
        self.loaded.close()
        for stream in self.streams:
            stream.close()
        self._selector.close()
