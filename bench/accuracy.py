"""Ours beside speedtest-cli, iperf3, LibreSpeed's and M-Lab's clients on links with delay, in turn.

Links of a constant rate with a drop-tail buffer of 80 ms and a sender with cubic. The error is against the ideal TCP
payload rate of the link. How right ours is elsewhere: `bench.grid`.

A run goes on where the last one ended; `--restart` discards the earlier results.
"""

import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from bench import rivals
from bench.linklab import Lab, Link
from bench.runs import kept, on_a_fresh_link, write
from bench.tools import Inside, Run, Tool, iperf3, iperf3_omitting, speedtest_cli, table, xomnet

TOOLS: dict[str, Tool] = {
    "xomnet": xomnet,
    "speedtest-cli": speedtest_cli,
    "iperf3": iperf3,
    "iperf3 -O 3": iperf3_omitting,
}
CELLS = ((70, 50), (150, 50), (150, 100), (300, 100))
"""Mb/s and ms of round trip."""
ROUNDS = 5

Runs = dict[tuple[int, int], dict[str, list[Run]]]


def measured(link: Link, tool: Tool) -> Run:
    """One run of a tool on a fresh link. Raises Overrun where the laboratory was held up again and again."""

    def run(lab: Lab, url: str, inside: Inside) -> Run:
        serving = rivals.ndt7_serving(lab.server_address)
        lab.popen("server", serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        return tool(url, inside)

    return on_a_fresh_link(link, run)


def main(*arguments: str) -> int:
    """Runs the tools in turn and writes `accuracy.json` and `accuracy.md` after each run."""
    had = rivals.available()
    tools = TOOLS | had
    found: list[dict[str, Any]] = [] if "--restart" in arguments else kept("accuracy")
    done = {(one["rate_mbps"], one["rtt_ms"], one["tool"], one["seed"]) for one in found}
    for seed in range(1, ROUNDS + 1):
        for rate, rtt in CELLS:
            for name, tool in tools.items():
                if (rate, rtt, name, seed) in done:
                    continue
                run = measured(Link(rate_mbps=rate, rtt_ms=rtt, seed=seed), tool)
                found.append({"rate_mbps": rate, "rtt_ms": rtt, "tool": name, "seed": seed, **asdict(run)})
                write("accuracy", found, report(_by_cell(found), rivals.missing(had)))
                print(f"{rate} Mb/s {rtt} ms {name}: {run.down_mbps:.1f} Mb/s", file=sys.stderr)
    print(report(_by_cell(found), rivals.missing(had)))
    return 0


def _by_cell(found: list[dict[str, Any]]) -> Runs:
    runs: Runs = defaultdict(lambda: defaultdict(list))
    where = ("rate_mbps", "rtt_ms", "tool", "seed")
    for one in found:
        fields = {key: value for key, value in one.items() if key not in where}
        runs[one["rate_mbps"], one["rtt_ms"]][one["tool"]].append(Run(**fields))
    return runs


def report(runs: Runs, missing: str) -> str:
    """A table in Markdown for each link."""
    number = min(len(of_tool) for tools in runs.values() for of_tool in tools.values())
    parts = [
        f"Medians of {number} runs in turn (`python -m bench accuracy`); cubic, 80 ms of buffer. The error is against\n"
        "the ideal TCP payload rate; CPU is that of the transfer, without the program's start.\n",
        missing,
    ]
    for (rate, rtt), tools in runs.items():
        parts.append(f"{rate} Mb/s, {rtt} ms:\n\n{table(tools, Link(rate_mbps=rate, rtt_ms=rtt).ideal_mbps)}")
    return "\n".join(part for part in parts if part)
