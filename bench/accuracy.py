"""How right the figure is on links with delay, and what it costs: ours beside speedtest-cli and iperf3, in turn.

Links of a constant rate with a drop-tail buffer of 80 ms. The error is against the ideal TCP payload rate of the link.
A run that the laboratory could not keep up with is void and done again.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.linklab import Lab, Link, Overrun, laboratory
from bench.tools import Inside, Run, iperf3, iperf3_omitting, speedtest_cli, xomnet

RESULTS = Path(__file__).parent / "results"
PORT = 8099
RIVALS = {"speedtest-cli": speedtest_cli, "iperf3": iperf3, "iperf3 -O 3": iperf3_omitting}
COMPARED = ((70, 50), (150, 50), (150, 100), (300, 100))
"""Mb/s and ms of round trip where all tools are compared; ours alone is on every cell."""
RATES, ROUND_TRIPS = (5, 20, 70, 150, 300), (5, 25, 50, 100, 200)
ROUNDS, TRIES = 3, 10

Tool = Callable[[str, Inside], Run]


def measured(link: Link, tool: Tool) -> Run:
    """One run of a tool on a fresh link. Raises Overrun where the laboratory was held up again and again."""
    for attempt in range(TRIES):
        try:
            with laboratory(link) as lab:
                _serve(lab)
                return tool(f"http://{lab.server_address}:{PORT}/", partial(lab.inside, "client"))
        except Overrun:
            if attempt + 1 == TRIES:
                raise
    raise AssertionError("unreachable")


def _serve(lab: Lab) -> None:
    server = [sys.executable, "-m", "collector.measure_server", "--host", lab.server_address, "--port", str(PORT)]
    process = lab.popen("server", server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    lab.popen("server", ["iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)


def main() -> int:
    """Runs the grid and writes `accuracy.json` and `accuracy.md`."""
    cells: list[dict[str, object]] = []
    rest = [(rate, rtt) for rate in RATES for rtt in ROUND_TRIPS if (rate, rtt) not in COMPARED]
    for rate, rtt in [*COMPARED, *rest]:
        tools: dict[str, Tool] = {"xomnet": xomnet, **(RIVALS if (rate, rtt) in COMPARED else {})}
        ideal = Link(rate_mbps=rate, rtt_ms=rtt).ideal_mbps
        runs: dict[str, list[Run]] = {tool: [] for tool in tools}
        for number in range(ROUNDS):
            for name, tool in tools.items():
                run = measured(Link(rate_mbps=rate, rtt_ms=rtt, seed=number + 1), tool)
                runs[name].append(run)
                print(f"{rate} Mb/s {rtt} ms {name}: {100 * (run.down_mbps / ideal - 1):+.2f} %", file=sys.stderr)
        found = {name: [asdict(run) for run in of_tool] for name, of_tool in runs.items()}
        cells.append({"rate_mbps": rate, "rtt_ms": rtt, "ideal_mbps": ideal, "runs": found})
        _write(cells)
    print((RESULTS / "accuracy.md").read_text())
    return 0


def _write(cells: list[dict[str, object]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "accuracy.json").write_text(json.dumps(cells, indent=1) + "\n")
    (RESULTS / "accuracy.md").write_text(report(cells))


def report(cells: list[dict[str, object]]) -> str:
    """Two tables in Markdown: all tools where they are compared, and ours over the grid."""
    compared = [
        f"Error against the ideal, in percent; medians of {ROUNDS} runs in turn (`python -m bench accuracy`).",
        "Cubic, 80 ms of buffer.",
        "",
        "| line | tool | error % | MB | seconds | CPU-s a gigabit |",
        "|---|---|---|---|---|---|",
    ]
    grid = ["", "Ours over the grid: median error in percent, and the worst of the runs.", ""]
    grid += ["| Mb/s | round trip | median | worst | MB | seconds |", "|---|---|---|---|---|---|"]
    for cell in cells:
        ideal, found = cell["ideal_mbps"], cell["runs"]
        assert isinstance(ideal, float)
        assert isinstance(found, dict)
        for name, of_tool in found.items():
            runs = [Run(**run) for run in of_tool]
            errors = [100 * (run.down_mbps / ideal - 1) for run in runs]
            middle = {
                key: statistics.median(getattr(run, key) for run in runs)
                for key in ("bytes", "seconds", "cpu_s_per_gigabit")
            }
            if len(found) > 1:
                compared.append(
                    f"| {cell['rate_mbps']} Mb/s, {cell['rtt_ms']} ms | {name} | {statistics.median(errors):+.1f} "
                    f"| {middle['bytes'] / 1e6:.0f} | {middle['seconds']:.1f} "
                    f"| {middle['cpu_s_per_gigabit']:.3f} |"
                )
            if name == "xomnet":
                grid.append(
                    f"| {cell['rate_mbps']} | {cell['rtt_ms']} ms | {statistics.median(errors):+.2f} "
                    f"| {max(errors, key=abs):+.2f} | {middle['bytes'] / 1e6:.0f} | {middle['seconds']:.1f} |"
                )
    return "\n".join([*compared, *grid]) + "\n"
