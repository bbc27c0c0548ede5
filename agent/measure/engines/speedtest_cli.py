"""speedtest-cli as it is, for comparison: in a process of its own, with limits on memory and time."""

import re
import time
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent.errors import MeasurementError
from agent.measure.engines import TestSpec
from agent.measure.engines.child_process import (
    HTTP_STATUS,
    count_failed_bytes,
    run_python,
    to_measurement_error,
    uses_https,
)
from xomnet.contract.messages import Speed

SERVER = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,100}(/[!-~]{0,200})?")
"""The address of a server as Speedtest's list has it: the list comes from a server, and may say anything."""
TIMEOUT_S = 90.0
ABSURD_MS = 10_000.0
"""speedtest-cli reports a round trip of half an hour if a server did not answer."""


class _Server(Struct):
    url: str = ""
    sponsor: str = ""


class _Report(Struct):
    """What `speedtest-cli --json` prints; bits per second and milliseconds."""

    download: Annotated[float, Meta(ge=0)]
    ping: float
    bytes_received: int
    server: _Server


def measure(test: TestSpec) -> Speed:
    """One download by speedtest-cli, its figure as it gives it. Raises MeasurementError."""
    arguments = ["--json", "--no-upload", *(["--secure"] if uses_https() else [])]
    if test.server:
        arguments += ["--mini", test.server]
    start = time.monotonic()
    with count_failed_bytes(test.interface):
        report = _checked_report(*run_python("speedtest", arguments, test, TIMEOUT_S))
    mbps = report.download / 1e6
    return Speed(
        engine="speedtest-cli",
        server=report.server.url if SERVER.fullmatch(report.server.url) else test.server,
        down_mbps=mbps,
        gross_mbps=mbps,
        bytes=report.bytes_received,
        duration_s=time.monotonic() - start,
        stop_reason="engine",
        rtt_idle_ms=report.ping if report.ping < ABSURD_MS else None,
    )


def _checked_report(out: bytes, failures: str) -> _Report:
    """The report, if no request was refused: a refused file would read as a slow line. Raises MeasurementError."""
    files = [line for line in failures.splitlines() if "/random" in line]
    if refused := [line for line in files if HTTP_STATUS.search(line)]:
        raise to_measurement_error("\n".join(refused))
    report = parse_report(out)
    if report.download == 0:
        raise (to_measurement_error(files[-1]) if files else MeasurementError("stalled", "not a byte came"))
    return report


def parse_report(text: bytes) -> _Report:
    """The JSON of speedtest-cli. Raises MeasurementError if it is something else."""
    try:
        return msgspec.json.decode(text, type=_Report)
    except msgspec.DecodeError as error:
        raise MeasurementError("engine_output", "speedtest-cli's report is not what it should be") from error
