"""The conditions of a download test, read before, counted during and read after it; they give flags and figures.

The modem is asked before and after only: the question is expensive, and would disturb the test.
"""

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec.structs import replace

from agent.clock.clock import ClockReading, clock_step_s, read_clock
from agent.measure.engines import Progress
from agent.measure.health import THROTTLED, is_throttled, read_throttled
from agent.net import modem
from agent.net.interface import SYS, ReceiveCounter, read_interface
from agent.net.modem import ModemSilent
from agent.settings import LineSettings
from xomnet.contract.messages import Flag, Speed
from xomnet.contract.radio import Radio
from xomnet.runtime.log import Log

log = Log("agent.measure.conditions")

SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Nanoseconds that this thread ran, and that it was ready to run but had to wait for a processor."""
CPU_WAIT_SHARE = 0.4
"""Share of the test's time. With a half 300 Mb/s were still read right; with three quarters 2% low, with nine tenths up
to 80% low, or nothing at all. Beside other busy processes a test waits for 1 to 22% of its time.
"""
INTERRUPT_SHARE = 0.9
"""Share of one processor's time: if it does nothing but receive packets, it can't receive more."""
MIN_S = 0.1
"""Lower bound of both: a test that fails at once had no time to be disturbed."""
STEP_S = 0.5
"""The clock's own corrections are at most 0.5 ms a second: a larger change is a step."""
CROSS_SHARE = 0.02
"""Cross traffic, as a share of the figure, from which it is flagged."""
CROSS_FLOOR_MBPS = 0.1
"""The usual background of a network: ARP, mDNS, our own messages."""
_IP_TCP_BYTES = 52
"""Headers of a segment with timestamps over IPv4, which we use if a server has both; IPv6 has 20 more."""
_ETHERNET_BYTES = 14


@dataclass(frozen=True, slots=True)
class Reading:
    """The unit at one moment. A value that can't be read on this machine is None."""

    clock: ClockReading
    monotonic_s: float
    cpu_wait_ns: int | None = None
    interrupt_s: tuple[float, ...] = ()
    """Seconds in interrupts since boot, of each processor."""
    throttled: int | None = None
    radio: Radio | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A moment of the transfer: payload bytes so far, and bytes and packets that the interface has received in all."""

    t_s: float
    payload: int
    bytes: int
    packets: int


@dataclass(frozen=True, slots=True)
class CrossTraffic:
    """Bytes that others received during `over_s` seconds of the test."""

    bytes: int
    over_s: float

    def exceeds(self, down_mbps: float | None, limit_mbps: float | None = None) -> bool:
        """Whether it is more than `limit_mbps` (None: 2% of the figure). False if the test has no figure."""
        if down_mbps is None:
            return False
        limit_mbps = limit_mbps or max(CROSS_FLOOR_MBPS, CROSS_SHARE * down_mbps)
        return self.bytes * 8e-6 / self.over_s > limit_mbps


class TestConditions:
    """The conditions of one test; belongs to the thread that receives. Give `on_progress` to the engine, then call
    `annotate` with its result.
    """

    def __init__(self, line: LineSettings, sys: Path = SYS, throttled_file: Path = THROTTLED) -> None:
        self._line, self._sys, self._throttled_file = line, sys, throttled_file
        self._first: Count | None = None
        self._last: Count | None = None
        self._counter: ReceiveCounter | None = None
        if line.interface is not None:
            with contextlib.suppress(OSError):  # the test itself will say that there is no such interface
                self._counter = ReceiveCounter(line.interface, sys)
        self._before = self._read(_radio(line))

    def on_progress(self, progress: Progress) -> None:
        """Counts a moment; a test of another server starts the count again."""
        if self._counter is None:
            return
        try:
            now = Count(progress.t_s, progress.bytes, *self._counter.read())
        except OSError:  # a modem unplugged: the test will say so
            return
        if self._first is None or self._last is None or now.t_s < self._last.t_s:
            self._first = now
        self._last = now

    def annotate(self, result: Speed, cross_traffic_mbps: float | None = None) -> Speed:
        """The result with flags and figures of the conditions. `cross_traffic_mbps` None: 2% of the figure."""
        after = self._read(None)
        if self._before.radio is not None:  # asked last: the question takes time and processor of its own
            after = dataclasses.replace(after, radio=_radio(self._line))
        found = disturbance_flags(self._before, after)
        interface = None if self._line.interface is None else read_interface(self._line.interface, self._sys)
        traffic = cross_traffic(self._first, self._last, interface is None or interface.ethernet)
        # What a receiver without a processor has not read yet looks like cross traffic.
        if traffic is not None and "cpu_bound" not in found and traffic.exceeds(result.down_mbps, cross_traffic_mbps):
            found += ("cross_traffic",)
        wait_ns = _difference(self._before.cpu_wait_ns, after.cpu_wait_ns)
        return replace(
            result,
            flags=tuple(dict.fromkeys((*result.flags, *found))),
            cpu_wait_s=None if wait_ns is None else wait_ns / 1e9,
            other_bytes=None if traffic is None else traffic.bytes,
            link_mbps=result.link_mbps if interface is None else interface.link_mbps,
            radio=after.radio or self._before.radio,
        )

    def close(self) -> None:
        if self._counter is not None:
            self._counter.close()

    def _read(self, radio: Radio | None) -> Reading:
        return Reading(
            clock=read_clock(),
            monotonic_s=time.monotonic(),
            cpu_wait_ns=_cpu_wait_ns(),
            interrupt_s=tuple(one.irq + one.softirq for one in psutil.cpu_times(percpu=True)),
            throttled=read_throttled(self._throttled_file),
            radio=radio,
        )


def disturbance_flags(before: Reading, after: Reading) -> tuple[Flag, ...]:
    """The flags of the time between two readings. Pure."""
    flags: list[Flag] = []
    took_s = after.monotonic_s - before.monotonic_s
    waited_ns = _difference(before.cpu_wait_ns, after.cpu_wait_ns) or 0
    busiest_s = max((b - a for a, b in zip(before.interrupt_s, after.interrupt_s, strict=False)), default=0.0)
    if waited_ns / 1e9 > max(MIN_S, CPU_WAIT_SHARE * took_s) or busiest_s > max(MIN_S, INTERRUPT_SHARE * took_s):
        flags.append("cpu_bound")
    if is_throttled(before.throttled, after.throttled):
        flags.append("throttled")
    if abs(clock_step_s(before.clock, after.clock)) > STEP_S:
        flags.append("clock_unsynced")
    radios = [radio for radio in (before.radio, after.radio) if radio is not None]
    if any(modem.is_weak(radio) for radio in radios):
        flags.append("weak_radio")
    if len(radios) == 2 and modem.has_changed_generation(*radios):
        flags.append("rat_changed")
    return tuple(flags)


def cross_traffic(first: Count | None, last: Count | None, ethernet: bool = True) -> CrossTraffic | None:
    """What the interface received between two moments beside the test: its payload, and headers for every packet.

    None without two moments. `ethernet`: the interface counts Ethernet headers. Pure.
    """
    if first is None or last is None or first.t_s >= last.t_s:
        return None
    headers = (last.packets - first.packets) * (_IP_TCP_BYTES + (_ETHERNET_BYTES if ethernet else 0))
    received = last.bytes - first.bytes - headers - (last.payload - first.payload)
    return CrossTraffic(max(0, received), last.t_s - first.t_s)


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _cpu_wait_ns() -> int | None:
    try:
        return int(SCHEDSTAT.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _radio(line: LineSettings) -> Radio | None:
    """The radio of a mobile line, or of a line with a `modem`; None if it can't be read."""
    if line.modem is None and line.access != "mobile":
        return None
    try:
        found = modem.read_modem(line.interface, line.modem)
    except ModemSilent as silent:
        log.debug("modem silent", line=line.line, reason=str(silent))
        return None
    return None if found is None else found.radio
