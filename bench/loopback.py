"""Ours beside speedtest-cli on loopback, against our measurement server at a known rate, in turn.

It shows what each costs and that the pace is read right where there is no delay; what delay and loss do to the figure
is the laboratory's subject. CPU and memory are those of the whole process, by the operating system's account.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.engines.speedtest_cli import parse_report

RESULTS = Path(__file__).parent / "results"
RATE_MBPS, ROUNDS = 150.0, 5


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement by one tool: what it said, and what it cost."""

    down_mbps: float
    bytes: int
    seconds: float
    cpu_s: float
    peak_mb: float

    @property
    def error_percent(self) -> float:
        return 100 * (self.down_mbps / RATE_MBPS - 1)

    @property
    def cpu_s_per_gigabit(self) -> float:
        return self.cpu_s / (self.bytes * 8e-9)


def accounted(command: Sequence[str], environment: dict[str, str]) -> tuple[bytes, float, float, float]:
    """Standard output, seconds, CPU-seconds and peak MB of a process. Raises CalledProcessError."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return output, time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ours(url: str) -> Run:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-m", "bench.once", url]
    output, seconds, cpu_s, peak_mb = accounted(command, environment)
    said = json.loads(output)
    return Run(said["down_mbps"], said["bytes"], seconds, cpu_s, peak_mb)


def speedtest_cli(url: str) -> Run:
    """As it is, without the upload; the proxy setting leads it to our server."""
    environment = {**os.environ, "http_proxy": url.rstrip("/"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-m", "speedtest", "--json", "--no-upload", "--mini", url]
    output, seconds, cpu_s, peak_mb = accounted(command, environment)
    report = parse_report(output)
    return Run(report.download / 1e6, report.bytes_received, seconds, cpu_s, peak_mb)


TOOLS = {"xomnet": ours, "speedtest-cli": speedtest_cli}


def table(runs: dict[str, list[Run]]) -> str:
    """Medians as Markdown."""
    lines = ["| tool | error % | MB | seconds | CPU-s a gigabit | peak MB |", "|---|---|---|---|---|---|"]
    for tool, found in runs.items():
        cells = [
            f"{statistics.median(run.error_percent for run in found):+.2f}",
            f"{statistics.median(run.bytes for run in found) / 1e6:.0f}",
            f"{statistics.median(run.seconds for run in found):.1f}",
            f"{statistics.median(run.cpu_s_per_gigabit for run in found):.3f}",
            f"{statistics.median(run.peak_mb for run in found):.0f}",
        ]
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the tools in turn and writes `loopback.json` and `loopback.md`."""
    command = [sys.executable, "-m", "collector.measure_server", "--port", "0", "--rate", str(RATE_MBPS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    runs: dict[str, list[Run]] = {tool: [] for tool in TOOLS}
    try:
        assert server.stdout is not None
        url = re.sub(r"\s+", "", server.stdout.readline()) + "/"
        for number in range(ROUNDS):
            for tool, measure in TOOLS.items():
                runs[tool].append(measure(url))
                print(f"round {number + 1}: {tool}: {runs[tool][-1].down_mbps:.2f} Mb/s", file=sys.stderr)
    finally:
        server.terminate()
        server.wait(10)
    RESULTS.mkdir(exist_ok=True)
    found = {tool: [asdict(run) for run in of_tool] for tool, of_tool in runs.items()}
    (RESULTS / "loopback.json").write_text(json.dumps({"rate_mbps": RATE_MBPS, "runs": found}, indent=1) + "\n")
    head = f"Loopback, {RATE_MBPS:g} Mb/s, medians of {ROUNDS} runs in turn (`make bench`). CPU with Python's start."
    (RESULTS / "loopback.md").write_text(f"{head}\n\n{table(runs)}")
    print(table(runs))
    return 0
