"""Ours beside speedtest-cli on loopback, against our measurement server at a known rate, in turn.

It shows what each costs and that the pace is read right where there is no delay; what delay does to the figure is the
subject of `bench.accuracy`.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench.tools import Run, speedtest_cli, xomnet

RESULTS = Path(__file__).parent / "results"
RATE_MBPS, ROUNDS = 150.0, 5
TOOLS = {"xomnet": xomnet, "speedtest-cli": speedtest_cli}


def table(runs: dict[str, list[Run]]) -> str:
    """Medians as Markdown."""
    lines = ["| tool | error % | MB | seconds | CPU-s a gigabit |", "|---|---|---|---|---|"]
    for tool, found in runs.items():
        cells = [
            f"{100 * (statistics.median(run.down_mbps for run in found) / RATE_MBPS - 1):+.2f}",
            f"{statistics.median(run.bytes for run in found) / 1e6:.0f}",
            f"{statistics.median(run.seconds for run in found):.1f}",
            f"{statistics.median(run.cpu_s_per_gigabit for run in found):.3f}",
        ]
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the tools in turn and writes `loopback.json` and `loopback.md`."""
    command = [sys.executable, "-m", "collector.measure_server", "--port", "0", "--rate", str(RATE_MBPS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    runs: dict[str, list[Run]] = {tool: [] for tool in TOOLS}
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip() + "/"
        for number in range(ROUNDS):
            for tool, measure in TOOLS.items():
                runs[tool].append(measure(url, lambda command: command))
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
