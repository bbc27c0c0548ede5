"""Runs speedtest-cli and its like: in a process of their own, with limits on memory and time, and says why they failed.

`sandbox.py` is what that process runs first.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from agent.errors import MeasurementError
from agent.measure.engines import TestSpec
from agent.net.sockets import open_socket
from xomnet.contract.values import to_text
from xomnet.runtime.log import Log

log = Log("agent.measure.engines")

MEMORY_BYTES = 400_000_000
BUSY_S = 3600.0
"""The wait after HTTP 429 of Speedtest's servers: users report blocks of 15 minutes to two hours."""

HTTP_STATUS = re.compile(r"HTTP Error (\d{3})")
_ERRNO = re.compile(r"\[Errno (\d{1,3})\]")
_BUSY = {"429", "503"}
_RETRY_AFTER = re.compile(r"Retry-After: (\d{1,6})\b")
_NO_NAME = ("dns_failure", "[Errno -2]", "[Errno -3]", "[Errno -5]")
_UNREACHABLE = (
    "urlopen error",
    "Cannot retrieve",
    "RetrievalError",
    "Failed to connect",
    "timed out",
    "Connection re",
    "closed connection",
    "no server answers",
)
_UNREADABLE = ("Malformed", "Unknown location", "Traceback")
_NO_SERVERS = "Unable to connect to servers to test latency"
"""What speedtest-cli says if it has no servers to try: the list is empty, or none of its four URLs gave one."""
_HIDES_CAUSE = (_NO_SERVERS, "Failed to connect")
"""Texts that hide the cause: it is only among the reported failures of requests."""


def uses_https() -> bool:
    """True, as speedtest.net expects, unless there is a proxy for plain HTTP only."""
    proxies = urllib.request.getproxies()
    return "http" not in proxies or "https" in proxies


@contextmanager
def count_failed_bytes(interface: str | None) -> Iterator[None]:
    """Gives a MeasurementError the bytes that were received meanwhile: other people's programs do not count them."""
    before = _received_bytes(interface)
    try:
        yield
    except MeasurementError as failed:
        failed.bytes = max(0, _received_bytes(interface) - before)
        raise


def _received_bytes(interface: str | None) -> int:
    counters = psutil.net_io_counters(pernic=True)
    return sum(one.bytes_recv for name, one in counters.items() if (name == interface if interface else name != "lo"))


def run_python(module: str, arguments: list[str], test: TestSpec, timeout_s: float) -> tuple[bytes, str]:
    """Runs a module as a process with limits on time and memory, pinned to the test's interface.

    Returns its standard output and the failed requests that the sandbox reported. Raises MeasurementError.
    """
    open_socket(socket.AF_INET, test.interface).close()  # if there is no such interface, this raises our own error
    named = "*" if test.named_hosts is None else ",".join(test.named_hosts)
    sandbox = ["-m", "agent.measure.engines.sandbox", str(MEMORY_BYTES), test.interface or "", named, module]
    try:
        popen = subprocess.Popen([sys.executable, *sandbox, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise MeasurementError("memory", f"no process for it: {error.strerror}", ("unit_fault",)) from error
    with popen as process:
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
                        raise MeasurementError("cancelled", "the unit is stopping", ("unit_fault",)) from None
                    raise MeasurementError("timeout", f"no result within {timeout_s:g} s") from None
    failures = err.decode(errors="replace")
    if process.returncode != 0:
        raise to_measurement_error(failures)
    return out, failures


def to_measurement_error(complaint: str) -> MeasurementError:
    """The meaning of speedtest-cli's error text and of the failures of its requests.

    The text may hold what a server sent, so it stays in the unit's log: the error has words and numbers of ours.
    """
    lines = complaint.strip().splitlines()
    last = lines[-1] if lines else ""
    log.warning("speedtest-cli failed", said=to_text(last))
    if "MemoryError" in complaint:
        detail = f"it wanted over {MEMORY_BYTES / 1e6:.0f} MB, as for an answer without end"
        return MeasurementError("memory", detail, ("unit_fault",))
    hidden = any(words in last for words in _HIDES_CAUSE)
    cause = "\n".join(lines if hidden else lines[-2:])
    statuses = HTTP_STATUS.findall(cause if hidden else last)
    if _BUSY & set(statuses):
        waits = [float(wait) for wait in _RETRY_AFTER.findall(complaint)]
        return MeasurementError(
            "server_busy",
            f"HTTP {max(statuses)}",
            ("server_busy",),
            retry_after_s=min(max(waits, default=BUSY_S), BUSY_S),
        )
    if statuses:
        return MeasurementError(f"http_{statuses[0]}", f"a server answered {statuses[0]}")
    if any(words in complaint for words in _UNREADABLE):
        return MeasurementError("engine", "speedtest-cli can't read what it was given; has a page changed?")
    if any(words in cause for words in _NO_NAME):
        return MeasurementError("dns_failure", "the name of a server was not found")
    if any(words in cause for words in _UNREACHABLE):
        return MeasurementError("unreachable", f"a server does not answer, or ends too early{_system_error(cause)}")
    if _NO_SERVERS in last:
        return MeasurementError("engine", "the list of servers is empty, or not the one that speedtest-cli knows")
    return MeasurementError("engine", "speedtest-cli failed; the unit's log has its words")


def _system_error(complaint: str) -> str:
    found = _ERRNO.search(complaint)
    return f": {os.strerror(int(found[1]))}" if found else ""
