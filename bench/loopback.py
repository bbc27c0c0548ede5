"""The tools that speak to our measurement server on loopback, at a known rate, in turn.

It shows what each costs and that the pace is read right where there is no delay; what delay does to the figure is the
subject of `bench.accuracy`, and iperf3 and ndt7, whose servers have no pace, are compared there.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench import rivals
from bench.tools import Run, Tool, speedtest_cli, table, xomnet

RESULTS = Path(__file__).parent / "results"
RATE_MBPS, ROUNDS = 150.0, 5
LIBRESPEED = "librespeed-cli"


def main(*_: str) -> int:
    """Runs the tools in turn and writes `loopback.json` and `loopback.md`."""
    theirs = rivals.available(LIBRESPEED)
    tools: dict[str, Tool] = {"xomnet": xomnet, "speedtest-cli": speedtest_cli, **theirs}
    command = [sys.executable, "-m", "measurement_server", "--port", "0", "--rate", str(RATE_MBPS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    runs: dict[str, list[Run]] = {tool: [] for tool in tools}
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip() + "/"
        for number in range(ROUNDS):
            for tool, measure in tools.items():
                runs[tool].append(measure(url, lambda command: command))
                print(f"round {number + 1}: {tool}: {runs[tool][-1].down_mbps:.2f} Mb/s", file=sys.stderr)
    finally:
        server.terminate()
        server.wait(10)
    RESULTS.mkdir(exist_ok=True)
    raw = {tool: [asdict(run) for run in of_tool] for tool, of_tool in runs.items()}
    (RESULTS / "loopback.json").write_text(json.dumps({"rate_mbps": RATE_MBPS, "runs": raw}, indent=1) + "\n")
    head = (
        f"Loopback, {RATE_MBPS:g} Mb/s, medians of {ROUNDS} runs in turn (`make bench`). The CPU is that of the\n"
        "transfer: the start of the program is taken off, and stands beside it in `loopback.json`."
    )
    text = f"{head}\n\n{table(runs, RATE_MBPS)}{rivals.missing(theirs, LIBRESPEED)}"
    (RESULTS / "loopback.md").write_text(text)
    print(text)
    return 0
