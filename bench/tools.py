"""The tools that are compared, each run as a whole process and accounted by the operating system."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agent.engines.speedtest_cli import parse_report

Inside = Callable[[list[str]], list[str]]
"""Puts a command where it is to run: as it stands, or in a namespace of the laboratory."""

IPERF3_PORT = 5201


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement by one tool: what it said, and what it cost. CPU with the start of its program."""

    down_mbps: float
    bytes: int
    seconds: float
    cpu_s: float

    @property
    def cpu_s_per_gigabit(self) -> float:
        return self.cpu_s / (self.bytes * 8e-9)


def accounted(command: Sequence[str], **environment: str) -> tuple[bytes, float, float]:
    """Standard output, seconds and CPU-seconds of a process. Raises CalledProcessError."""
    start = time.monotonic()
    given = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=given)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return output, time.monotonic() - start, usage.ru_utime + usage.ru_stime


def xomnet(url: str, inside: Inside) -> Run:
    """Our engine with its defaults, on a line that is not metered."""
    output, *costs = accounted(inside([sys.executable, "-m", "bench.once", url]))
    said = json.loads(output)
    return Run(said["down_mbps"], said["bytes"], *costs)


def speedtest_cli(url: str, inside: Inside) -> Run:
    """As it is, without the upload; the proxy setting leads it to our server."""
    command = [sys.executable, "-m", "speedtest", "--json", "--no-upload", "--mini", url]
    output, *costs = accounted(inside(command), http_proxy=url.rstrip("/"))
    report = parse_report(output)
    return Run(report.download / 1e6, report.bytes_received, *costs)


def iperf3(url: str, inside: Inside) -> Run:
    """Four streams for ten seconds from an `iperf3 -s` on the server's host."""
    return _iperf3(url, inside, "-t", "10")


def iperf3_omitting(url: str, inside: Inside) -> Run:
    """As `iperf3`, with the first three seconds left out of the figure (`-O 3`)."""
    return _iperf3(url, inside, "-t", "10", "-O", "3")


def _iperf3(url: str, inside: Inside, *more: str) -> Run:
    host = urlsplit(url).hostname or ""
    output, *costs = accounted(inside(["iperf3", "-c", host, "-p", str(IPERF3_PORT), "-R", "-P", "4", "-J", *more]))
    end: dict[str, Any] = json.loads(output)["end"]
    received = end["sum_received"]
    return Run(received["bits_per_second"] / 1e6, int(received["bytes"]), *costs)
