"""The tools that are compared, each run as a whole process and accounted by the operating system."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agent.measure.engines.speedtest_cli import parse_report

Inside = Callable[[list[str]], list[str]]
"""Puts a command where it is to run: as it stands, or in a namespace of the laboratory."""

IPERF3_PORT = 5201
LIMIT_S, LOOK_S = 120.0, 0.05
STARTS = 3
"""Before a run, and again after it."""

HEADINGS = ("tool", "error %", "MB", "seconds", "CPU-s a gigabit", "peak MB")
"""Of `row`. The CPU is that of the transfer."""


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement by one tool: what it said, and what it cost.

    `cpu_s` is of the whole process, `start_cpu_s` of the same program's start without a transfer.
    """

    down_mbps: float
    bytes: int
    seconds: float
    cpu_s: float
    start_cpu_s: float
    peak_rss_bytes: int

    @property
    def cpu_s_per_gigabit(self) -> float:
        """CPU-seconds of the transfer alone."""
        return (self.cpu_s - self.start_cpu_s) / (self.bytes * 8e-9)


Tool = Callable[[str, Inside], Run]
"""Measures against our server's address and the servers beside it."""


class Cost(NamedTuple):
    """The last fields of a Run."""

    seconds: float
    cpu_s: float
    start_cpu_s: float
    peak_rss_bytes: int


def accounted(inside: Inside, command: Sequence[str], start: Sequence[str], **environment: str) -> tuple[bytes, Cost]:
    """Standard output of a command and its cost; `start` is the command that only starts the same program.

    The start is measured right before and after each run: what the same start takes of a shared machine's processor
    changes by half within seconds, which is more than a whole transfer takes. Raises CalledProcessError, and
    TimeoutExpired after LIMIT_S.
    """
    starts = [_ended(inside([*start]), {})[1] for _ in range(STARTS)]
    began_at = time.monotonic()
    output, cpu_s, peak_rss_bytes = _ended(inside([*command]), environment)
    seconds = time.monotonic() - began_at
    starts += [_ended(inside([*start]), {})[1] for _ in range(STARTS)]
    return output, Cost(seconds, cpu_s, statistics.median(starts), peak_rss_bytes)


def _ended(command: list[str], environment: Mapping[str, str]) -> tuple[bytes, float, int]:
    """A process at its end: standard output, CPU-seconds, the most memory that it held (0 if seen too late)."""
    given = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment}
    deadline = time.monotonic() + LIMIT_S
    output, peak_rss_bytes = b"", 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=given) as process:
        assert process.stdout is not None
        more = True
        while more:
            if time.monotonic() > deadline:
                process.kill()
                raise subprocess.TimeoutExpired(command, LIMIT_S, output)
            ready, _, _ = select([process.stdout], [], [], LOOK_S)
            # The last look counts, not the highest: before its exec a process still has its parent's memory.
            peak_rss_bytes = _peak_rss_bytes(process.pid) or peak_rss_bytes
            if ready:
                piece = os.read(process.stdout.fileno(), 1 << 16)
                output, more = output + piece, bool(piece)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return output, usage.ru_utime + usage.ru_stime, peak_rss_bytes


def _peak_rss_bytes(pid: int) -> int:
    """VmHWM, which starts again with each exec; `ru_maxrss` begins with the memory of the process that forked."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def xomnet(url: str, inside: Inside) -> Run:
    """Our engine with its defaults, on a line that is not metered."""
    program = [sys.executable, "-m", "bench.once"]
    output, cost = accounted(inside, [*program, url], program)
    said = json.loads(output)
    return Run(said["down_mbps"], said["bytes"], *cost)


def speedtest_cli(url: str, inside: Inside) -> Run:
    """As it is, without the upload; the proxy setting leads it to our server."""
    program = [sys.executable, "-m", "speedtest"]
    command = [*program, "--json", "--no-upload", "--mini", url]
    output, cost = accounted(inside, command, [*program, "--version"], http_proxy=url.rstrip("/"))
    report = parse_report(output)
    return Run(report.download / 1e6, report.bytes_received, *cost)


def iperf3(url: str, inside: Inside) -> Run:
    """Four streams for ten seconds from an `iperf3 -s` on the server's host."""
    return _iperf3(url, inside, "-t", "10")


def iperf3_omitting(url: str, inside: Inside) -> Run:
    """As `iperf3`, with the first three seconds left out of the figure (`-O 3`)."""
    return _iperf3(url, inside, "-t", "10", "-O", "3")


def _iperf3(url: str, inside: Inside, *more: str) -> Run:
    host = urlsplit(url).hostname or ""
    command = ["iperf3", "-c", host, "-p", str(IPERF3_PORT), "-R", "-P", "4", "-J", *more]
    output, cost = accounted(inside, command, ["iperf3", "--version"])
    end: dict[str, Any] = json.loads(output)["end"]
    received = end["sum_received"]
    return Run(received["bits_per_second"] / 1e6, int(received["bytes"]), *cost)


def row(tool: str, runs: Sequence[Run], true_mbps: float) -> str:
    """One row under HEADINGS in Markdown: medians, the error against the true rate."""

    def middle(value: Callable[[Run], float]) -> float:
        return statistics.median(value(run) for run in runs)

    cells = (
        tool,
        f"{middle(lambda run: 100 * (run.down_mbps / true_mbps - 1)):+.2f}",
        f"{middle(lambda run: run.bytes / 1e6):.0f}",
        f"{middle(lambda run: run.seconds):.1f}",
        f"{middle(lambda run: run.cpu_s_per_gigabit):.3f}",
        f"{middle(lambda run: run.peak_rss_bytes / 1e6):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def table(runs: Mapping[str, Sequence[Run]], true_mbps: float) -> str:
    """The medians of each tool's runs as a table in Markdown."""
    head = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    return "\n".join([*head, *(row(tool, of_tool, true_mbps) for tool, of_tool in runs.items())]) + "\n"
