"""What went on beside a download test: taken before, counted during, taken after; it gives flags and figures.

The expensive questions (the modem) are asked before and after only: asked during, they would be part of what disturbs.
"""

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec.structs import replace

from agent.clock.clock import ClockReading, read_clock, stepped_s
from agent.measure.engines import Progress
from agent.measure.health import THROTTLED, throttled, throttled_between
from agent.net import modem
from agent.net.interface import SYS, Received, read_interface
from agent.net.modem import ModemSilent
from agent.settings import LineSettings
from xomnet.contract.messages import Flag, Speed
from xomnet.contract.radio import Radio
from xomnet.runtime.log import Log

log = Log("agent.measure.conditions")

SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Nanoseconds that this thread ran, and that it was ready to run and had to wait: for others or for its quota."""
CPU_WAIT_SHARE = 0.4
"""Of the test's time. With a half of it 300 Mb/s were still read right; three quarters read 2 % low, nine tenths up to
80 %, or nothing at all. Beside other busy processes a test waits for 1 to 22 %."""
INTERRUPT_SHARE = 0.9
"""Of one processor: where it does nothing but take packets off the wire, it can't take more."""
LEAST_S = 0.1
"""Of either: a test that fails at once has had no time to be disturbed."""
STEP_S = 0.5
"""The clock's own corrections are 0.5 ms a second at most: more was a jump."""
CROSS_SHARE = 0.02
"""Of the figure: others had as much."""
CROSS_FLOOR_MBPS = 0.1
"""The murmur of a network: ARP, mDNS, our own messages."""
_IP_TCP_BYTES = 52
"""Headers of a segment with timestamps over IPv4, which is taken where a server has both; IPv6 has 20 more."""
_ETHERNET_BYTES = 14


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the unit. What can't be read here is None."""

    clock: ClockReading
    monotonic_s: float
    cpu_wait_ns: int | None = None
    interrupt_s: tuple[float, ...] = ()
    """Of each processor, since boot."""
    throttled: int | None = None
    radio: Radio | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A moment of the transfer: payload that has arrived, and what the interface has received in all."""

    t_s: float
    payload: int
    bytes: int
    packets: int


@dataclass(frozen=True, slots=True)
class Others:
    """What others received while the test did."""

    bytes: int
    over_s: float

    def crossed(self, down_mbps: float | None, limit_mbps: float | None = None) -> bool:
        """More than the limit; None: 2 % of the figure. A test without a figure has none to be spoilt."""
        if down_mbps is None:
            return False
        limit_mbps = limit_mbps or max(CROSS_FLOOR_MBPS, CROSS_SHARE * down_mbps)
        return self.bytes * 8e-6 / self.over_s > limit_mbps


class TestConditions:
    """Of one test, in the thread that receives. Give `progress` to the engine, then ask `tell`."""

    def __init__(self, line: LineSettings, sys: Path = SYS, throttled_file: Path = THROTTLED) -> None:
        self._line, self._sys, self._throttled_file = line, sys, throttled_file
        self._first: Count | None = None
        self._last: Count | None = None
        self._received: Received | None = None
        if line.interface is not None:
            with contextlib.suppress(OSError):  # the test itself will say that there is no such interface
                self._received = Received(line.interface, sys)
        self._before = self._read(_radio(line))

    def progress(self, told: Progress) -> None:
        """Counts; another server's test begins anew."""
        if self._received is None:
            return
        try:
            now = Count(told.t_s, told.bytes, *self._received.read())
        except OSError:  # a modem unplugged: the test will say so
            return
        if self._first is None or self._last is None or now.t_s < self._last.t_s:
            self._first = now
        self._last = now

    def tell(self, result: Speed, cross_traffic_mbps: float | None = None) -> Speed:
        """The result with what was seen beside it. `cross_traffic_mbps` None: 2 % of the figure."""
        after = self._read(None)
        if self._before.radio is not None:  # asked last: the question takes time and processor of its own
            after = dataclasses.replace(after, radio=_radio(self._line))
        found = flags(self._before, after)
        interface = None if self._line.interface is None else read_interface(self._line.interface, self._sys)
        seen = others(self._first, self._last, interface is None or interface.ethernet)
        # What a starved receiver has not read yet looks like others' traffic.
        if seen is not None and "cpu_bound" not in found and seen.crossed(result.down_mbps, cross_traffic_mbps):
            found += ("cross_traffic",)
        wait_ns = _since(self._before.cpu_wait_ns, after.cpu_wait_ns)
        return replace(
            result,
            flags=tuple(dict.fromkeys((*result.flags, *found))),
            cpu_wait_s=None if wait_ns is None else wait_ns / 1e9,
            other_bytes=None if seen is None else seen.bytes,
            link_mbps=result.link_mbps if interface is None else interface.link_mbps,
            radio=after.radio or self._before.radio,
        )

    def close(self) -> None:
        if self._received is not None:
            self._received.close()

    def _read(self, radio: Radio | None) -> Reading:
        return Reading(
            clock=read_clock(),
            monotonic_s=time.monotonic(),
            cpu_wait_ns=_cpu_wait_ns(),
            interrupt_s=tuple(one.irq + one.softirq for one in psutil.cpu_times(percpu=True)),
            throttled=throttled(self._throttled_file),
            radio=radio,
        )


def flags(before: Reading, after: Reading) -> tuple[Flag, ...]:
    """What two readings say of the time between them. Pure."""
    found: list[Flag] = []
    took_s = after.monotonic_s - before.monotonic_s
    waited_ns = _since(before.cpu_wait_ns, after.cpu_wait_ns) or 0
    busiest_s = max((b - a for a, b in zip(before.interrupt_s, after.interrupt_s, strict=False)), default=0.0)
    if waited_ns / 1e9 > max(LEAST_S, CPU_WAIT_SHARE * took_s) or busiest_s > max(LEAST_S, INTERRUPT_SHARE * took_s):
        found.append("cpu_bound")
    if throttled_between(before.throttled, after.throttled):
        found.append("throttled")
    if abs(stepped_s(before.clock, after.clock)) > STEP_S:
        found.append("clock_unsynced")
    radios = [radio for radio in (before.radio, after.radio) if radio is not None]
    if any(modem.weak(radio) for radio in radios):
        found.append("weak_radio")
    if len(radios) == 2 and modem.changed(*radios):
        found.append("rat_changed")
    return tuple(found)


def others(first: Count | None, last: Count | None, ethernet: bool = True) -> Others | None:
    """What the interface received between two moments beside the test's payload and its headers, which every packet
    is taken to have; None without two moments. Pure.
    """
    if first is None or last is None or first.t_s >= last.t_s:
        return None
    headers = (last.packets - first.packets) * (_IP_TCP_BYTES + (_ETHERNET_BYTES if ethernet else 0))
    received = last.bytes - first.bytes - headers - (last.payload - first.payload)
    return Others(max(0, received), last.t_s - first.t_s)


def _since(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _cpu_wait_ns() -> int | None:
    try:
        return int(SCHEDSTAT.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _radio(line: LineSettings) -> Radio | None:
    """Of a mobile line, or of one whose modem is named."""
    if line.modem is None and line.access != "mobile":
        return None
    try:
        found = modem.ask(line.interface, line.modem)
    except ModemSilent as silent:
        log.debug("modem silent", line=line.line, reason=str(silent))
        return None
    return None if found is None else found.radio
