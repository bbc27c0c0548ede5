"""The emulator's process, and what it says about itself."""

import contextlib
import json
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import Any

from bench.linklab.build import built
from bench.linklab.link import Link

ANSWER_S = 5.0
LATE_SHARE = 0.05
"""A larger share of the packets delivered over 2 ms late, and the 95th percentile of a delay is the laboratory's."""
PIPE_BYTES = 1 << 20


class Overrun(RuntimeError):
    """The laboratory could not keep up: what was measured on it is not a measurement."""


class EmulatorError(RuntimeError):
    """A program of the laboratory did not start or died; with what it said."""


@dataclass(frozen=True)
class Traffic:
    """What went through one direction since the start. Bytes are those of IP packets.

    `lost` is random and burst loss, `overflowed` what the full queue dropped, `late` what came over 2 ms after its
    time. `starved_s` bounds the capacity that a saturating flow lost because the emulator did not run: for so long its
    queue was empty while packets waited to be read.
    The `bin_…` series has 100 ms a value, for the last minute, beginning at `bins_start_s` of CLOCK_MONOTONIC: bytes
    that arrived, and the mean time that they spent in the queue. `clock_start_s`: when the rate steps began, if so.
    """

    read_packets: int
    read_bytes: int
    delivered_packets: int
    delivered_bytes: int
    lost: int
    policed: int
    overflowed: int
    reordered: int
    late: int
    starved_s: float
    no_slot: int
    write_errors: int
    device_drops: int
    lateness_mean_ms: float
    lateness_max_ms: float
    queued_mean_ms: float
    queued_max_ms: float
    bins_start_s: float
    bin_bytes: tuple[int, ...]
    bin_queued_ms: tuple[float, ...]
    clock_start_s: float | None = None

    @property
    def late_share(self) -> float:
        """Share of the packets that were delivered over 2 ms after they were due."""
        return self.late / self.delivered_packets if self.delivered_packets else 0.0

    def overrun(self, late_share: float = LATE_SHARE) -> str | None:
        """What went wrong in this direction, or None."""
        if self.late_share > late_share and self.late > 1:
            worst = f"the worst by {self.lateness_max_ms:.1f} ms"
            return f"{self.late_share:.2%} of the packets were over 2 ms late, {worst}; allowed: {late_share:.2%}"
        for name in ("device_drops", "no_slot", "write_errors"):
            if count := getattr(self, name):
                return f"{name}: {count}"
        return None

    def mbps(self, start_s: float, end_s: float) -> float:
        """Mean rate of IP packets that arrived between two times of CLOCK_MONOTONIC, by whole bins inside."""
        first = max(0, -int((self.bins_start_s - start_s) // 0.1))
        last = min(len(self.bin_bytes), int((end_s - self.bins_start_s) // 0.1))
        window = self.bin_bytes[first:last]
        return sum(window) * 8 / (len(window) * 0.1) / 1e6 if window else 0.0


@dataclass(frozen=True)
class Statistics:
    """What the emulator counted, and whether it kept up."""

    wall_s: float
    cpu_s: float
    real_time: bool
    rounds: int
    stalls: int
    stall_max_ms: float
    down: Traffic
    up: Traffic

    def overrun(self, late_share: float = LATE_SHARE) -> str | None:
        """Why what was measured is void, or None."""
        for name, traffic in (("down", self.down), ("up", self.up)):
            if reason := traffic.overrun(late_share):
                return f"{name}: {reason}"
        return None

    @property
    def cpu_share(self) -> float:
        """Share of one processor since the start, the kernel's work of delivering the packets included."""
        return self.cpu_s / self.wall_s


def _traffic(told: dict[str, Any]) -> Traffic:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return Traffic(**plain)


def statistics_from(line: str) -> Statistics:
    told = json.loads(line)
    return Statistics(**{**told, "down": _traffic(told["down"]), "up": _traffic(told["up"])})


class Program:
    """One of our C programs: it says "ready", answers SIGUSR1 with a line of JSON, and ends with one."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.last: str | None = None
        self._process = subprocess.Popen(
            [built(name), *arguments],
            stdin=subprocess.PIPE,  # closed when we die: then it ends too
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            fcntl(self._process.stdout.fileno(), F_SETPIPE_SZ, PIPE_BYTES)  # a line never makes it wait for us
        try:
            if self._line() != "ready":
                raise EmulatorError(f"{name} did not say ready")
        except BaseException:
            self._kill()
            raise

    def _line(self) -> str:
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        deadline = time.monotonic() + ANSWER_S
        if not select.select([out], [], [], deadline - time.monotonic())[0]:
            raise EmulatorError(f"{self.name} said nothing for {ANSWER_S:g} s")
        line = out.readline()
        if not line:
            self._process.wait(ANSWER_S)
            raise EmulatorError(f"{self.name} died with status {self._process.returncode}: {err.read().strip()}")
        return line.strip()

    def ask(self) -> str:
        """The counts so far. Raises EmulatorError."""
        if self.last is not None:
            return self.last
        self._process.send_signal(signal.SIGUSR1)
        return self._line()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def end(self) -> str:
        """The last counts; idempotent. Raises EmulatorError when it died before."""
        if self.last is None:
            try:
                self._process.terminate()
                self.last = self._line()
                self._process.wait(ANSWER_S)
            finally:
                self._kill()
        return self.last


class Emulator:
    """A running link between a device in one namespace and a device in another."""

    def __init__(self, link: Link, server: tuple[Path, str], client: tuple[Path, str]) -> None:
        arguments = [f"server={server[0]}:{server[1]}", f"client={client[0]}:{client[1]}", f"seed={link.seed}"]
        arguments += [f"down.{key}={value}" for key, value in link.down.settings().items()]
        arguments += [f"up.{key}={value}" for key, value in link.way_up.settings().items()]
        self._program = Program("emulator", arguments)

    def statistics(self) -> Statistics:
        return statistics_from(self._program.ask())

    def restart_clock(self) -> None:
        """The rate steps start again with the next packet of 1000 bytes or more."""
        self._program.signal(signal.SIGUSR2)

    def end(self) -> Statistics:
        return statistics_from(self._program.end())

    def discard(self) -> None:
        """Ends it, whatever it has to say."""
        with contextlib.suppress(EmulatorError):
            self._program.end()
