"""What the laboratory promises, each with a measurement that can refute it."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.linklab import probes
from bench.linklab.laboratory import Lab, laboratory, two_paths
from bench.linklab.link import Boost, BurstLoss, Link, Reorder
from bench.linklab.trace import mean_mbps, mobile_trace, write_trace

LATE = 0.25
"""Late packets that a check bears: what it looks at is a rate, a count or a median. Benchmarks bear fewer."""
SIGMAS = 4.0
"""A fair random loss leaves these bounds once in 16,000 checks."""


@dataclass(frozen=True)
class Finding:
    """One promise, what was found, and what is allowed, in `unit`."""

    promise: str
    unit: str
    found: float
    low: float
    high: float
    effort: "Effort | None" = None

    @property
    def holds(self) -> bool:
        return self.low <= self.found <= self.high


@dataclass(frozen=True)
class Check:
    """A measurement of about `seconds`; the quick ones make a subset for every run of the tests."""

    name: str
    seconds: float
    quick: bool
    measure: Callable[[], list[Finding]]


@dataclass(frozen=True)
class Effort:
    """What a measurement took of the emulator: its share of one processor, and the share of packets over 2 ms late."""

    cpu_share: float
    late_share: float


class Watched:
    """The emulator's effort from now on."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._from = lab, lab.statistics()

    def effort(self) -> Effort:
        to = self._lab.statistics()
        cpu_share = (to.cpu_s - self._from.cpu_s) / (to.wall_s - self._from.wall_s)
        return Effort(cpu_share, to.down.late_share)


def delay(rtt_ms: float) -> list[Finding]:
    with laboratory(Link(rate_mbps=100, rtt_ms=rtt_ms), late_share=LATE) as lab:
        found = probes.median_ms(lab, 60)
    return [Finding(f"idle round trip of {rtt_ms:g} ms, median", "ms", found, rtt_ms - 1, rtt_ms + 1)]


def udp(rate_mbps: float, seconds: float) -> list[Finding]:
    with laboratory(Link(rate_mbps=rate_mbps, rtt_ms=50), late_share=LATE) as lab:
        watched = Watched(lab)
        lost = probes.udp_loss(lab, 0.9 * rate_mbps, seconds)
        effort = watched.effort()
    return [Finding(f"iperf3 UDP at 90 % of {rate_mbps:g} Mb/s: lost", "%", lost * 100, 0, 0.1, effort)]


def own_udp(rate_mbps: float, seconds: float) -> list[Finding]:
    with laboratory(Link(rate_mbps=rate_mbps, rtt_ms=50), late_share=LATE) as lab:
        watched = Watched(lab)
        carried = probes.flow(lab, 0.9 * rate_mbps, seconds)
        effort = watched.effort()
    lost = 1 - carried.received_packets / carried.sent_packets
    return [
        Finding(f"our UDP at 90 % of {rate_mbps:g} Mb/s: lost", "%", lost * 100, 0, 0.1, effort),
        Finding(f"the emulator's processor at 90 % of {rate_mbps:g} Mb/s", "%", effort.cpu_share * 100, 0, 90, effort),
    ]


def tcp(rate_mbps: float, rtt_ms: float, seconds: float, kind: str = "tun", congestion: str = "cubic") -> list[Finding]:
    # above 100 %: what waited behind a hole of the ramp is counted when the hole is filled, inside the window
    link = Link(rate_mbps=rate_mbps, rtt_ms=rtt_ms, kind=kind, congestion=congestion)  # type: ignore[arg-type]
    with laboratory(link, late_share=LATE) as lab:
        watched = Watched(lab) if kind == "tun" else None
        found = probes.tcp_share(lab, 6, seconds, 3)
        effort = watched.effort() if watched else None
    name = f"six {congestion} streams at {rate_mbps:g} Mb/s, {rtt_ms:g} ms ({kind}): of the ideal"
    return [Finding(name, "%", found * 100, 97, 103, effort)]


def buffer(rate_mbps: float, rtt_ms: float, buffer_ms: float) -> list[Finding]:
    link = Link(rate_mbps=rate_mbps, rtt_ms=rtt_ms, buffer_ms=buffer_ms)
    with laboratory(link, late_share=LATE) as lab, lab.cross_traffic(1.2 * rate_mbps):
        time.sleep(buffer_ms / 1000 * 8 + 0.2)  # a fifth of the rate fills it
        found = probes.median_ms(lab, 60) - rtt_ms
    allowed = max(0.1 * buffer_ms, 3)
    name = f"a full buffer of {buffer_ms:g} ms at {rate_mbps:g} Mb/s: delay added"
    return [Finding(name, "ms", found, buffer_ms - allowed, buffer_ms + allowed)]


def loss(share: float) -> list[Finding]:
    with laboratory(Link(rate_mbps=100, rtt_ms=10, loss=share), late_share=LATE) as lab:
        carried = probes.flow(lab, 80, 3)
    found = 1 - carried.received_packets / carried.sent_packets
    off = SIGMAS * math.sqrt(share * (1 - share) / carried.sent_packets)
    return [Finding(f"random loss of {share:.1%}", "%", found * 100, (share - off) * 100, (share + off) * 100)]


def burst_loss(share: float, length: float) -> list[Finding]:
    with laboratory(Link(rate_mbps=100, rtt_ms=10, burst_loss=BurstLoss(share, length)), late_share=LATE) as lab:
        carried = probes.flow(lab, 80, 4)
    found = 1 - carried.received_packets / carried.sent_packets
    off = SIGMAS * math.sqrt(share * (1 - share) / carried.sent_packets * (2 * length - 1))  # runs are correlated
    name = f"loss of {share:.1%} in runs of {length:g}"
    return [Finding(name, "%", found * 100, (share - off) * 100, (share + off) * 100)]


def plateau(lab: Lab, since_s: float, until_s: float, start_s: float) -> float:
    """Mean rate that arrived between two times after the start of the load."""
    return lab.statistics().down.mbps(start_s + since_s, start_s + until_s)


def trace() -> list[Finding]:
    times = mobile_trace(40, seconds=3)
    with tempfile.TemporaryDirectory() as folder:
        link = Link(trace=write_trace(Path(folder) / "trace", times), rtt_ms=40, buffer_ms=500)
        with laboratory(link, late_share=LATE) as lab, lab.cross_traffic(80):
            start = time.monotonic() + 0.5
            time.sleep(7)
            found = plateau(lab, 0, 6, start)  # the trace twice
    mean = mean_mbps(times)
    return [
        Finding(f"an LTE-like trace of {mean:.1f} Mb/s, looping: delivered", "Mb/s", found, 0.98 * mean, 1.02 * mean)
    ]


def boost() -> list[Finding]:
    link = Link(rate_mbps=120, rtt_ms=20, boost=Boost(then_mbps=60, seconds=2))
    with laboratory(link, late_share=LATE) as lab, lab.cross_traffic(140):
        time.sleep(4.5)
        start = lab.statistics().down.clock_start_s or 0.0
        high, low = plateau(lab, 0.3, 1.9, start), plateau(lab, 2.3, 4.2, start)
    return [
        Finding("a boost to 120 Mb/s for 2 s: before its end", "Mb/s", high, 0.98 * 120, 1.02 * 120),
        Finding("and to 60 Mb/s after it", "Mb/s", low, 0.98 * 60, 1.02 * 60),
    ]


def steps() -> list[Finding]:
    with (
        laboratory(Link(steps=((0, 80), (2, 40)), rtt_ms=20, buffer_ms=40), late_share=LATE) as lab,
        lab.cross_traffic(90),
    ):
        time.sleep(4)
        start = lab.statistics().down.clock_start_s or 0.0
        high, low = plateau(lab, 0.3, 1.9, start), plateau(lab, 2.3, 3.8, start)
    return [
        Finding("80 Mb/s that halve after 2 s: before", "Mb/s", high, 0.98 * 80, 1.02 * 80),
        Finding("and after", "Mb/s", low, 0.98 * 40, 1.02 * 40),
    ]


def jitter() -> list[Finding]:
    found: list[Finding] = []
    # deciles: 80 % of a uniform ±10 ms is 16 ms; a drift between such draws stays nearer to the middle
    for reorders, low, high in ((False, 9, 15), (True, 13.5, 18.5)):
        with laboratory(Link(rate_mbps=100, rtt_ms=60, jitter_ms=10, jitter_reorders=reorders), late_share=LATE) as lab:
            deciles = statistics.quantiles(probes.round_trips_ms(lab, 300, 0.01), n=10)
        name = f"jitter of ±10 ms at 60 ms, {'re' if reorders else 'in '}order{'ing' if reorders else ''}"
        found.append(Finding(f"{name}: median", "ms", deciles[4], 57.5, 63.5))
        found.append(Finding("and between its first and last decile", "ms", deciles[-1] - deciles[0], low, high))
    return found


def reorder() -> list[Finding]:
    with laboratory(Link(rate_mbps=100, rtt_ms=10, reorder=Reorder(share=0.05, late_ms=3)), late_share=LATE) as lab:
        carried = probes.flow(lab, 50, 3)
        late = lab.statistics().down.reordered / carried.sent_packets
    off = SIGMAS * math.sqrt(0.05 * 0.95 / carried.sent_packets)
    lost = carried.sent_packets - carried.received_packets
    return [
        Finding("5 % of the packets out of order", "%", late * 100, (0.05 - off) * 100, (0.05 + off) * 100),
        Finding("and lost of them", "packets", lost, 0, 0.001 * carried.sent_packets),
    ]


def cross_traffic() -> list[Finding]:
    with laboratory(Link(rate_mbps=100, rtt_ms=20), late_share=LATE) as lab:
        cross = lab.cross_traffic(40, on_s=0.5, off_s=0.5)
        time.sleep(4)
        carried = cross.end()
    sent = carried.sent_bytes * 8 / 1e6 / 4
    return [
        Finding("cross traffic of 40 Mb/s, half of the time: sent", "Mb/s", sent, 19, 21),
        Finding("and arrived", "%", carried.received_bytes / carried.sent_bytes * 100, 99.9, 100),
    ]


def paths() -> list[Finding]:
    found: list[Finding] = []
    with two_paths(Link(rate_mbps=50, rtt_ms=10), Link(rate_mbps=20, rtt_ms=30), late_share=LATE) as lab:
        for way in lab.ways:
            end = probes.iperf3(lab, "--parallel", "4", "--omit", "1", "--bind-dev", way.client_interface, seconds=2)
            share = end["sum_received"]["bits_per_second"] / 1e6 / way.link.ideal_mbps
            found.append(Finding(f"pinned to {way.client_interface} of two: of its ideal", "%", share * 100, 97, 103))
    return found


CHECKS = (
    *(Check(f"delay {rtt:g} ms", 2, rtt == 50, lambda rtt=rtt: delay(rtt)) for rtt in (5.0, 25.0, 50.0, 100.0, 200.0)),  # type: ignore[misc]
    Check("UDP 20 Mb/s", 5, False, lambda: udp(20, 4)),
    Check("UDP 150 Mb/s", 5, True, lambda: udp(150, 3)),
    Check("UDP 300 Mb/s", 5, False, lambda: udp(300, 4)),
    Check("UDP 500 Mb/s", 6, True, lambda: own_udp(500, 3)),
    Check("TCP 70 Mb/s", 7, True, lambda: tcp(70, 50, 2)),
    Check("TCP 150 Mb/s", 9, False, lambda: tcp(150, 50, 5)),
    Check("TCP 150 Mb/s, BBR", 9, False, lambda: tcp(150, 100, 5, congestion="bbr")),
    Check("TCP 300 Mb/s", 9, False, lambda: tcp(300, 50, 5)),
    Check("TCP 500 Mb/s", 9, False, lambda: tcp(500, 50, 5)),
    Check("tbf 500 Mb/s", 9, False, lambda: tcp(500, 0, 5, kind="tbf")),
    Check("tbf 900 Mb/s", 9, False, lambda: tcp(900, 0, 5, kind="tbf")),
    Check("buffer 20 ms", 3, False, lambda: buffer(70, 25, 20)),
    Check("buffer 80 ms", 3, True, lambda: buffer(70, 25, 80)),
    Check("buffer 300 ms", 5, False, lambda: buffer(70, 50, 300)),
    Check("loss 0.1 %", 5, False, lambda: loss(0.001)),
    Check("loss 1 %", 5, True, lambda: loss(0.01)),
    Check("burst loss", 5, False, lambda: burst_loss(0.01, 8)),
    Check("trace", 8, False, trace),
    Check("boost", 5, True, boost),
    Check("steps", 5, False, steps),
    Check("jitter", 7, False, jitter),
    Check("reordering", 4, False, reorder),
    Check("cross traffic", 5, False, cross_traffic),
    Check("two paths", 8, True, paths),
)
