"""How right the figure is: every cell of rates, round trips, losses, buffers and senders, ours beside a reference.

The reference is iperf3 with six streams for 20 s on the same link. Where it reaches 98 % of the ideal TCP payload rate
after its first three seconds, the line's rate is the truth; elsewhere the truth is what TCP settles at, its last ten
seconds. The seconds of the reference also say what a test of ten seconds would have moved.

A run goes on where the last one ended, in an order drawn once; `--restart` discards the earlier results.
"""

import dataclasses
import itertools
import json
import random
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from bench.linklab import Lab, Link, Overrun
from bench.runs import iperf3_by_second, kept, on_a_fresh_link, write
from bench.tools import Inside

RATES, ROUND_TRIPS = (5, 20, 70, 150, 300), (5, 25, 50, 100, 200)
LOSSES, BUFFERS, SENDERS = (0.0, 0.001, 0.01), (20, 80, 300), ("cubic", "bbr")
FAST = (500, 900)
REFERENCE_S, RAMP_S, STEADY_FROM_S, FIXED_S, STREAMS = 20, 3, 10, 10, 6
REACHED = 0.98
AT_ONCE, AT_ONCE_MBPS, WAITING = 5, 320, 16
"""How many cells share the machine, and how fast they are in all; a faster one is alone. The next that fits is taken
from those that wait."""
KEPT = ("down_mbps", "bytes", "duration_s", "measured_s", "stop_reason", "rtt_idle_ms", "rtt_loaded_ms", "flags")


@dataclass(frozen=True)
class Cell:
    """Mb/s, ms of round trip, share of packets lost, ms of buffer, the sender's congestion control."""

    rate_mbps: int
    rtt_ms: int
    loss: float
    buffer_ms: int
    congestion: Any

    @property
    def link(self) -> Link:
        """Above the emulator's reach: the kernel's token bucket, without delay or loss."""
        if self.rate_mbps in FAST:
            return Link(rate_mbps=self.rate_mbps, buffer_ms=self.buffer_ms, congestion=self.congestion, kind="tbf")
        return Link(**asdict(self))


@dataclass(frozen=True)
class Found:
    """One cell: ours, and the Mb/s of each second of the reference."""

    cell: Cell
    ours: dict[str, Any]
    reference_mbps: list[float]

    @property
    def steady_mbps(self) -> float:
        return statistics.fmean(self.reference_mbps[STEADY_FROM_S:])

    @property
    def fills(self) -> bool:
        """Whether TCP fills the line: then the line is the truth."""
        return statistics.fmean(self.reference_mbps[RAMP_S:]) >= REACHED * self.cell.link.ideal_mbps

    @property
    def error_percent(self) -> float:
        truth = self.cell.link.ideal_mbps if self.fills else self.steady_mbps
        return float(100 * (self.ours["down_mbps"] / truth - 1))

    @property
    def unsteady_percent(self) -> float:
        """How far the two halves of the reference's steady part are from each other."""
        steady = self.reference_mbps[STEADY_FROM_S:]
        half = len(steady) // 2
        return 100 * abs(statistics.fmean(steady[:half]) / statistics.fmean(steady[half:]) - 1)

    @property
    def early_percent(self) -> float:
        """How far the reference's own first ten seconds are from what it settles at."""
        return 100 * (statistics.fmean(self.reference_mbps[:FIXED_S]) / self.steady_mbps - 1)

    @property
    def bytes_share(self) -> float:
        """Of what the same streams move in ten seconds."""
        return float(self.ours["bytes"] / (sum(self.reference_mbps[:FIXED_S]) * 125_000))


def cells() -> list[Cell]:
    """All, in the order in which they are measured."""
    slow = [Cell(*values) for values in itertools.product(RATES, ROUND_TRIPS, LOSSES, BUFFERS, SENDERS)]
    fast = [Cell(rate, 0, 0.0, buffer, sender) for rate, buffer, sender in itertools.product(FAST, BUFFERS, SENDERS)]
    found = slow + fast
    random.Random(1).shuffle(found)  # noqa: S311  # an order, not a secret
    return found


def measure(cell: Cell) -> Found:
    """Ours, then the reference, on one link. Raises Overrun."""

    def both(lab: Lab, url: str, _: Inside) -> Found:
        ours = json.loads(lab.run("client", [sys.executable, "-m", "bench.once", url]).stdout)
        time.sleep(1)
        return Found(cell, {k: ours[k] for k in KEPT if k in ours}, iperf3_by_second(lab, STREAMS, REFERENCE_S))

    return on_a_fresh_link(cell.link, both)


def main(*arguments: str) -> int:
    """Measures what is not there yet and writes `grid.json` and `grid.md` after each cell."""
    found = [] if "--restart" in arguments else [Found(Cell(**one.pop("cell")), **one) for one in kept("grid")]
    known = {one.cell for one in found}
    turn = threading.Condition()
    running: list[Cell] = []

    def one(cell: Cell) -> None:
        with turn:
            turn.wait_for(lambda: _fits(cell, running))
            running.append(cell)
        try:
            result = measure(cell)
        except (Overrun, ChildProcessError) as error:
            result = None
            print(f"{cell}: {error}", file=sys.stderr)
        with turn:
            running.remove(cell)
            turn.notify_all()
            if result is not None:
                found.append(result)
                write("grid", [dataclasses.asdict(each) for each in found], report(found))
                print(f"{len(found)}: {cell}: {result.error_percent:+.2f} %", file=sys.stderr)

    with ThreadPoolExecutor(WAITING) as pool:
        list(pool.map(one, [cell for cell in cells() if cell not in known]))
    write("grid", [dataclasses.asdict(each) for each in found], report(found))
    print(report(found))
    return 0


def _fits(cell: Cell, running: list[Cell]) -> bool:
    together = [*running, cell]
    return not running or (len(together) <= AT_ONCE and sum(one.rate_mbps for one in together) <= AT_ONCE_MBPS)


def report(found: list[Found]) -> str:
    """The bars, what each setting does, and the worst cells, in Markdown."""
    lines = [
        f"{len(found)} of {len(cells())} cells of the grid, in an order drawn once (`python -m bench grid`).",
        "Error of `down_mbps` in percent: against the ideal where the reference (iperf3, six streams, 20 s) fills the",
        "line, else against its last ten seconds. Unsteady: by how much the two halves of those differ themselves, in",
        "the median: no test can be nearer to them than they are to each other. Bytes: share of what ten seconds move.",
        "",
        "| cells | number | median of the error's size | worst | mean (bias) | unsteady | bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    filled, other = [one for one in found if one.fills], [one for one in found if not one.fills]
    lines[5:5] = [*_bars(found, filled, other), ""]
    rows = {"TCP fills the line": filled, "it does not": other, "all": found}
    for kind, cells_of in (("filled", filled), ("not", other)):
        for name in ("congestion", "loss", "buffer_ms", "rate_mbps", "rtt_ms"):
            for value in sorted({getattr(one.cell, name) for one in cells_of}):
                rows[f"{kind}, {name} {value}"] = [one for one in cells_of if getattr(one.cell, name) == value]
    for name, part in rows.items():
        if part:
            lines.append(_row(name, part))
    lines += ["", "The ten cells with the largest errors:", "", "| cell | fills | Mb/s | error % | stop |"]
    lines.append("|---|---|---|---|---|")
    for one in sorted(found, key=lambda one: -abs(one.error_percent))[:10]:
        cell = one.cell
        where = f"{cell.rate_mbps} Mb/s, {cell.rtt_ms} ms, loss {cell.loss:.1%}, {cell.buffer_ms} ms, {cell.congestion}"
        lines.append(
            f"| {where} | {'yes' if one.fills else 'no'} | {one.ours['down_mbps']:.1f} "
            f"| {one.error_percent:+.1f} | {one.ours['stop_reason']} |"
        )
    return "\n".join(lines) + "\n"


def _bars(found: list[Found], filled: list[Found], other: list[Found]) -> list[str]:
    """What was asked for, what was found, and why some of it can't be had."""
    if not filled or not other:
        return []
    sure = [one for one in filled if "no_steady_state" not in one.ours.get("flags", ())]
    asked = (
        ("TCP fills the line: error, median", 1.5, statistics.median(abs(one.error_percent) for one in filled)),
        ("… worst of those without `no_steady_state`", 4, max(abs(one.error_percent) for one in sure)),
        ("… worst of all", 4, max(abs(one.error_percent) for one in filled)),
        ("it does not: error, median", 3, statistics.median(abs(one.error_percent) for one in other)),
        ("… worst", 8, max(abs(one.error_percent) for one in other)),
        ("bias (mean) where it fills the line", 0.7, abs(statistics.fmean(one.error_percent for one in filled))),
        ("bias of all cells", 0.7, abs(statistics.fmean(one.error_percent for one in found))),
        ("bytes, of a test of ten seconds, median", 40, 100 * statistics.median(one.bytes_share for one in found)),
    )
    rows = [f"| {what} | {bar:g} | {is_:.2f} | {'yes' if is_ <= bar else '**no**'} |" for what, bar, is_ in asked]
    apart = [one.unsteady_percent for one in other]
    return [
        "| percent | bar | found | reached |",
        "|---|---|---|---|",
        *rows,
        "",
        "Where TCP does not fill the line, nearly all of it cubic under random loss, the bar is out of reach of any",
        "test that ends within 15 s. The two halves of the reference's last ten seconds are "
        f"{statistics.median(apart):.1f} % apart in the",
        f"median and {max(apart):.0f} % at worst, and cubic has not settled after 15 s. The reference's own first ten",
        "seconds, which a common test reports, are "
        f"{statistics.median(one.early_percent for one in other):+.1f} % off in the median and"
        f" {max((one.early_percent for one in other), key=abs):+.0f} % at worst. The nearest",
        f"honest bars: a median of 6 %, and `no_steady_state` on what is more than 8 % off ({_told(other)}).",
    ]


def _told(other: list[Found]) -> str:
    off = [one for one in other if abs(one.error_percent) > 8]
    told = [one for one in off if "no_steady_state" in one.ours.get("flags", ())]
    return f"{len(told)} of {len(off)} carry it"


def _row(name: str, part: list[Found]) -> str:
    errors = [one.error_percent for one in part]
    share = statistics.median(one.bytes_share for one in part)
    return (
        f"| {name} | {len(part)} | {statistics.median(map(abs, errors)):.2f} | {max(errors, key=abs):+.2f} "
        f"| {statistics.fmean(errors):+.2f} | {statistics.median(one.unsteady_percent for one in part):.2f} "
        f"| {share:.0%} |"
    )
