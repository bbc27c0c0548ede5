"""What a link is: plain values, checked when they are made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.linklab.trace import OPPORTUNITY_BYTES, load_trace, mean_mbps

MTU = 1500
TCP_PAYLOAD = 1448
"""Bytes of payload in a full TCP segment with timestamps, of 1500 bytes of IP."""
BUFFER_MS = 80.0
CONGESTION_CONTROLS = ("cubic", "bbr", "reno")
Congestion = Literal["cubic", "bbr", "reno"]
Kind = Literal["tun", "tbf"]


class LinkError(ValueError):
    """A link that can't be: which setting, what was found, what is allowed."""


def check(where: str, value: Any, allowed: str, is_allowed: Callable[[Any], bool]) -> None:
    """Raises LinkError unless the value is allowed."""
    try:
        fine = is_allowed(value)
    except TypeError:
        fine = False
    if not fine:
        raise LinkError(f"{where}: found {value!r}; allowed: {allowed}")


@dataclass(frozen=True)
class BurstLoss:
    """Gilbert and Elliott's loss: whole runs of packets, `length` long on average, a `share` of all packets."""

    share: float
    length: float

    def __post_init__(self) -> None:
        check("burst_loss.share", self.share, "0 to 0.5, without 0", lambda v: 0 < v <= 0.5)
        check("burst_loss.length", self.length, "1 to 10000 packets", lambda v: 1 <= v <= 10_000)


@dataclass(frozen=True)
class Boost:
    """A token bucket: the direction's `rate_mbps` for `seconds` from a full bucket, then `then_mbps`."""

    then_mbps: float
    seconds: float

    def __post_init__(self) -> None:
        check("boost.then_mbps", self.then_mbps, "above 0, at most 1000", lambda v: 0 < v <= 1000)
        check("boost.seconds", self.seconds, "above 0, at most 600", lambda v: 0 < v <= 600)


@dataclass(frozen=True)
class Police:
    """A policer: packets beyond `rate_mbps` with a bucket of `burst_bytes` are dropped, never queued."""

    rate_mbps: float
    burst_bytes: int

    def __post_init__(self) -> None:
        check("police.rate_mbps", self.rate_mbps, "above 0, at most 1000", lambda v: 0 < v <= 1000)
        check("police.burst_bytes", self.burst_bytes, f"{MTU} or more", lambda v: v >= MTU)


@dataclass(frozen=True)
class Reorder:
    """A `share` of the packets comes `late_ms` after its place, overtaken by those behind it."""

    share: float
    late_ms: float

    def __post_init__(self) -> None:
        check("reorder.share", self.share, "0 to 1, without 0", lambda v: 0 < v <= 1)
        check("reorder.late_ms", self.late_ms, "above 0, at most 1000", lambda v: 0 < v <= 1000)


@dataclass(frozen=True)
class Direction:
    """One direction of a link. Rates are those of IP packets: a TCP transfer has 1448 of 1500 bytes of them.

    A packet meets, in this order: the policer, loss, the drop-tail queue, the bottleneck, the delay. So lost packets
    cost no capacity, as with netem. Exactly one of `rate_mbps`, `trace`, `steps` sets the bottleneck.

    `steps` are (second, Mb/s) pairs from second 0 on; the clock starts with the first packet of 1000 bytes or more,
    that is with the first transfer. `jitter_ms` is the half-width of a uniform distribution around `delay_ms`; without
    reordering the delay drifts between values drawn every `jitter_every_ms`.
    `buffer_ms` of a trace or of steps is taken at the mean rate or the first rate.
    """

    rate_mbps: float | None = None
    trace: Path | None = None
    steps: tuple[tuple[float, float], ...] = ()
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    jitter_reorders: bool = False
    jitter_every_ms: float = 20.0
    loss: float = 0.0
    burst_loss: BurstLoss | None = None
    buffer_ms: float | None = None
    buffer_bytes: int | None = None
    boost: Boost | None = None
    police: Police | None = None
    reorder: Reorder | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("rate_mbps", "trace", "steps") if getattr(self, name)]
        check("rate_mbps, trace, steps", given, "exactly one of them, above 0", lambda v: len(v) == 1)
        check("rate_mbps", self.rate_mbps, "0.1 to 1000", lambda v: v is None or 0.1 <= v <= 1000)
        check("delay_ms", self.delay_ms, "0 to 2000", lambda v: 0 <= v <= 2000)
        check("jitter_ms", self.jitter_ms, f"0 to delay_ms ({self.delay_ms:g})", lambda v: 0 <= v <= self.delay_ms)
        check("jitter_every_ms", self.jitter_every_ms, "1 to 1000", lambda v: 1 <= v <= 1000)
        check("loss", self.loss, "a share of the packets, 0 to 0.5", lambda v: 0 <= v <= 0.5)
        self._check_steps()
        if self.boost is not None:
            check("boost", given, "only with rate_mbps", lambda v: v == ["rate_mbps"])
            allowed = f"less than rate_mbps ({self.rate_mbps:g})"
            check("boost.then_mbps", self.boost.then_mbps, allowed, lambda v: v < self.rate_mbps)
        check("buffer_ms", self.buffer_ms, "1 to 5000", lambda v: v is None or 1 <= v <= 5000)
        both = (self.buffer_ms, self.buffer_bytes)
        check("buffer_ms, buffer_bytes", both, "one of them at most", lambda v: None in v)
        check("buffer", self.buffer, f"{MTU} bytes (one packet) or more", lambda v: v >= MTU)

    def _check_steps(self) -> None:
        if not self.steps:
            return
        check("steps", self.steps, "at most 256 pairs", lambda v: len(v) <= 256)
        times = [at for at, _ in self.steps]
        check("steps", times, "seconds that begin with 0 and rise", lambda v: v[0] == 0 and sorted(set(v)) == v)
        rates = [rate for _, rate in self.steps]
        check("steps", rates, "0 to 1000 Mb/s, not 0 at first or last", lambda v: 0 <= min(v) <= max(v) <= 1000)
        check("steps", rates, "0 to 1000 Mb/s, not 0 at first or last", lambda v: v[0] > 0 < v[-1])

    @property
    def nominal_mbps(self) -> float:
        """The constant rate, the trace's mean, or the first step."""
        if self.trace is not None:
            return mean_mbps(load_trace(self.trace))
        return self.steps[0][1] if self.rate_mbps is None else self.rate_mbps

    @property
    def buffer(self) -> int:
        """The size of the queue in bytes."""
        if self.buffer_bytes is not None:
            return self.buffer_bytes
        return round(self.nominal_mbps * 125 * (BUFFER_MS if self.buffer_ms is None else self.buffer_ms))

    def settings(self) -> dict[str, str]:
        """What the emulator is told: bytes and bytes a second."""
        told: dict[str, object] = {"buffer": self.buffer, "delay_ms": self.delay_ms, "loss": self.loss}
        if self.trace is not None:
            told["trace"] = self.trace.resolve()
        elif self.steps:
            told["steps"] = ",".join(f"{at}:{rate * 125_000}" for at, rate in self.steps)
        elif self.rate_mbps is not None:
            told["rate"] = self.rate_mbps * 125_000
        if self.jitter_ms:
            told |= {"jitter_ms": self.jitter_ms, "jitter_every_ms": self.jitter_every_ms}
            told["jitter_reorders"] = int(self.jitter_reorders)
        if self.burst_loss is not None:
            leave = 1 / self.burst_loss.length
            told["burst_leave"] = leave
            told["burst_enter"] = leave * self.burst_loss.share / (1 - self.burst_loss.share)
        if self.boost is not None and self.rate_mbps is not None:
            size = (self.rate_mbps - self.boost.then_mbps) * 125_000 * self.boost.seconds
            told["boost"] = f"{self.boost.then_mbps * 125_000},{max(size, OPPORTUNITY_BYTES)}"
        if self.police is not None:
            told["police"] = f"{self.police.rate_mbps * 125_000},{self.police.burst_bytes}"
        if self.reorder is not None:
            told |= {"reorder": self.reorder.share, "reorder_late_ms": self.reorder.late_ms}
        return {key: str(value) for key, value in told.items()}


@dataclass(frozen=True)
class Link:
    """A line as a household has it. What is not said of the way up is taken from `up`, or is a plain way: the rate of
    the way down (`up_mbps`), half the round trip, no loss. All other settings are of the way down; see Direction.

    `kind="tbf"` is a veth pair with the kernel's token bucket, for rates that no delay is wanted at (500, 900 Mb/s):
    only `rate_mbps`, `buffer_ms`, `congestion` apply.
    """

    rate_mbps: float | None = None
    rtt_ms: float = 0.0
    trace: Path | None = None
    steps: tuple[tuple[float, float], ...] = ()
    jitter_ms: float = 0.0
    jitter_reorders: bool = False
    jitter_every_ms: float = 20.0
    loss: float = 0.0
    burst_loss: BurstLoss | None = None
    buffer_ms: float | None = None
    buffer_bytes: int | None = None
    boost: Boost | None = None
    police: Police | None = None
    reorder: Reorder | None = None
    up_mbps: float | None = None
    up: Direction | None = None
    congestion: Congestion = "cubic"
    kind: Kind = "tun"
    seed: int = 1

    def __post_init__(self) -> None:
        check("kind", self.kind, "tun, tbf", lambda v: v in ("tun", "tbf"))
        check("congestion", self.congestion, ", ".join(CONGESTION_CONTROLS), lambda v: v in CONGESTION_CONTROLS)
        check("rtt_ms", self.rtt_ms, "0 to 4000", lambda v: 0 <= v <= 4000)
        check("seed", self.seed, "a whole number, 0 or more", lambda v: isinstance(v, int) and v >= 0)
        check("up, up_mbps", (self.up, self.up_mbps), "one of them at most", lambda v: None in v)
        _ = self.down, self.way_up  # each checks itself
        if self.kind == "tbf":
            plain = Link(self.rate_mbps, buffer_ms=self.buffer_ms, congestion=self.congestion, seed=self.seed)
            other = [name for name in vars(self) if name != "kind" and getattr(self, name) != getattr(plain, name)]
            check(
                "kind='tbf'",
                other,
                "only rate_mbps, buffer_ms and congestion; for the rest kind='tun'",
                lambda v: not v,
            )
            check("rate_mbps", self.rate_mbps, "0.1 to 1000 with kind='tbf'", lambda v: v is not None)

    @property
    def down(self) -> Direction:
        return Direction(
            rate_mbps=self.rate_mbps,
            trace=self.trace,
            steps=self.steps,
            delay_ms=self.rtt_ms / 2,
            jitter_ms=self.jitter_ms,
            jitter_reorders=self.jitter_reorders,
            jitter_every_ms=self.jitter_every_ms,
            loss=self.loss,
            burst_loss=self.burst_loss,
            buffer_ms=self.buffer_ms,
            buffer_bytes=self.buffer_bytes,
            boost=self.boost,
            police=self.police,
            reorder=self.reorder,
        )

    @property
    def way_up(self) -> Direction:
        """The way up, as given or plain."""
        if self.up is not None:
            return self.up
        rate_mbps = self.down.nominal_mbps if self.up_mbps is None else self.up_mbps
        return Direction(rate_mbps=rate_mbps, delay_ms=self.rtt_ms / 2)

    @property
    def ideal_mbps(self) -> float:
        """What TCP can carry of payload: 1448 of 1500 bytes of the nominal rate, where nothing else limits it."""
        return self.down.nominal_mbps * TCP_PAYLOAD / MTU
