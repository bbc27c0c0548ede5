"""speedtest-cli as it is, for comparison: a process of its own, so that its memory and its waits have a limit."""

import subprocess
import sys
import time
import urllib.request
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.engines import Test, TestFailed
from xomnet.messages import Speed

TIMEOUT_S = 90.0
MEMORY_BYTES = 400_000_000
BUSY_S = 3600.0
"""What Speedtest's servers want after HTTP 429: users report blocks of 15 minutes to two hours."""


_UNREACHABLE = ("Unable to connect", "Cannot retrieve", "RetrievalError", "URLError")


class _Server(Struct):
    url: str = ""
    sponsor: str = ""


class _Report(Struct):
    """What `speedtest-cli --json` prints; bits per second and milliseconds."""

    download: Annotated[float, Meta(gt=0)]
    ping: float
    bytes_received: int
    server: _Server


def measure(test: Test) -> Speed:
    """One download by speedtest-cli, its figure as it gives it. Raises TestFailed."""
    arguments = ["--json", "--no-upload", *(["--secure"] if over_https() else [])]
    if test.server:
        arguments += ["--mini", test.server]
    start = time.monotonic()
    report = parse_report(run_python(["-m", "speedtest", *arguments], test, TIMEOUT_S))
    mbps = report.download / 1e6
    return Speed(
        engine="speedtest-cli",
        server=(report.server.url or test.server)[:512],
        down_mbps=mbps,
        gross_mbps=mbps,
        bytes=report.bytes_received,
        duration_s=time.monotonic() - start,
        stop_reason="engine",
        rtt_idle_ms=report.ping,
    )


def over_https() -> bool:
    """As speedtest.net wants to be asked, unless there is a proxy for plain HTTP alone: then that one is asked."""
    proxies = urllib.request.getproxies()
    return "http" not in proxies or "https" in proxies


def parse_report(text: bytes) -> _Report:
    """Its JSON. Raises TestFailed where it is something else."""
    try:
        return msgspec.json.decode(text, type=_Report)
    except msgspec.DecodeError as error:
        raise TestFailed("engine_output", f"speedtest-cli said something else: {error}") from error


def run_python(arguments: list[str], test: Test, timeout_s: float) -> bytes:
    """Standard output of a Python process with limits on time and memory. Raises TestFailed with its complaint."""
    if test.interface is not None:
        raise TestFailed("settings", "this engine can't be pinned to an interface; use engine: http", ("unit_fault",))
    limited = (
        "import resource, runpy, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))\n"
        "sys.argv = sys.argv[2:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", limited, *arguments]
    try:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise TestFailed("memory", f"no process for it: {error.strerror}", ("unit_fault",)) from error
    with started as process:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                out, err = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if test.cancelled.is_set() or time.monotonic() > deadline:
                    process.kill()
                    process.communicate()
                    if test.cancelled.is_set():
                        raise TestFailed("cancelled", "the unit is stopping", ("unit_fault",)) from None
                    raise TestFailed("timeout", f"no result within {timeout_s:g} s") from None
    if process.returncode != 0:
        raise explain(err.decode(errors="replace"))
    return out


def explain(complaint: str) -> TestFailed:
    """What speedtest-cli's error text means."""
    lines = complaint.strip().splitlines()
    last = lines[-1][:300] if lines else "no word"
    if "HTTP Error 429" in complaint:
        return TestFailed("server_busy", last, ("server_busy",), retry_after_s=BUSY_S)
    if "HTTP Error 403" in complaint:
        return TestFailed("http_403", last)
    if "MemoryError" in complaint:
        return TestFailed("memory", last, ("unit_fault",))
    if any(words in complaint for words in _UNREACHABLE):
        return TestFailed("unreachable", last)
    return TestFailed("engine", last)
