"""Lines that are not constant, and round trips under load: the figure beside what the laboratory carried.

The truth is what the emulator delivered within the test's measured window, less the traffic of others. The figure is to
be that mean, or to carry the flag that says why not. Beside it: the round trip that the load added, and what packets
waited in the emulator's queue in the same window.
"""

import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.linklab import Boost, BurstLoss, Lab, Link, Reorder, mobile_trace, write_trace
from bench.linklab.link import MTU, TCP_PAYLOAD
from bench.runs import on_a_fresh_link, write
from bench.tools import Inside

TESTS = 5


@dataclass(frozen=True)
class Variation:
    """A link, and others' traffic on it: Mb/s, seconds on, seconds off."""

    name: str
    link: dict[str, Any]
    cross: tuple[float, float, float] | None = None
    trace: tuple[float, float] | None = None
    """Mean and variation of a mobile trace."""


VARIATIONS = (
    Variation("constant, 20 Mb/s, 25 ms, 80 ms of buffer", {"rate_mbps": 20, "rtt_ms": 25}),
    Variation("constant, 70 Mb/s, 50 ms, 300 ms of buffer", {"rate_mbps": 70, "rtt_ms": 50, "buffer_ms": 300}),
    Variation("constant, 150 Mb/s, 25 ms, 80 ms of buffer", {"rate_mbps": 150, "rtt_ms": 25}),
    Variation("constant, 5 Mb/s, 100 ms, 20 ms of buffer", {"rate_mbps": 5, "rtt_ms": 100, "buffer_ms": 20}),
    Variation("mobile trace, 40 Mb/s, variation 0.3", {"rtt_ms": 50, "buffer_ms": 300}, trace=(40, 0.3)),
    Variation("mobile trace, 40 Mb/s, variation 0.6", {"rtt_ms": 50, "buffer_ms": 300}, trace=(40, 0.6)),
    Variation("100 Mb/s, half of it from 3 s on", {"steps": ((0, 100), (3, 50)), "rtt_ms": 30}),
    Variation("100 Mb/s, half of it from 2 s on", {"steps": ((0, 100), (2, 50)), "rtt_ms": 30}),
    Variation("100 Mb/s for 3 s, then 50", {"rate_mbps": 100, "boost": Boost(50, 3), "rtt_ms": 30}),
    Variation("100 Mb/s, others 40 Mb/s, 1 s on, 1 s off", {"rate_mbps": 100, "rtt_ms": 30}, cross=(40, 1, 1)),
    Variation("70 Mb/s, burst loss of 0.1 %", {"rate_mbps": 70, "rtt_ms": 25, "burst_loss": BurstLoss(0.001, 20)}),
    Variation("70 Mb/s, 1 % reordered by 5 ms", {"rate_mbps": 70, "rtt_ms": 50, "reorder": Reorder(0.01, 5)}),
    Variation("70 Mb/s, jitter of 10 ms", {"rate_mbps": 70, "rtt_ms": 50, "jitter_ms": 10}),
)


@dataclass(frozen=True)
class Test:
    """One test: the figure and the truth of its window in Mb/s, what load added in ms, flags."""

    down_mbps: float
    carried_mbps: float
    added_ms: float
    queued_ms: float
    measured_s: float
    stop_reason: str
    flags: tuple[str, ...]

    @property
    def error_percent(self) -> float:
        return 100 * (self.down_mbps / self.carried_mbps - 1)


Carried = list[tuple[float, int]]
"""Moments of CLOCK_MONOTONIC and the bytes that others had received by then."""


@contextlib.contextmanager
def _others(lab: Lab, variation: Variation) -> Iterator[Carried]:
    """Others' traffic while the `with` lasts, counted ten times a second."""
    found: Carried = []
    if variation.cross is None:
        yield found
        return
    ended = threading.Event()
    with lab.cross_traffic(*variation.cross) as cross:

        def count() -> None:
            while not ended.wait(0.1):
                found.append((time.monotonic(), cross.carried().received_bytes))

        counting = threading.Thread(target=count)
        counting.start()
        try:
            yield found
        finally:
            ended.set()
            counting.join()


def _mbps(others: Carried, since: float, until: float) -> float:
    inside = [one for one in others if since <= one[0] <= until]
    if len(inside) < 2:
        return 0.0
    (first, before), (last, after) = inside[0], inside[-1]
    return (after - before) * 8e-6 / (last - first)


def _test(variation: Variation, seed: int, folder: Path) -> Test:
    link = dict(variation.link)
    if variation.trace is not None:
        mean, spread = variation.trace
        link["trace"] = write_trace(folder / "trace", mobile_trace(mean, variation=spread, seed=seed))

    def run(lab: Lab, url: str, _: Inside) -> Test:
        with _others(lab, variation) as others:
            said = json.loads(lab.run("client", [sys.executable, "-m", "bench.once", url]).stdout)
            seen = lab.statistics().down
        end = said["ended_at"]
        since = end - said["measured_s"]
        bins = range(int((since - seen.bins_start_s) * 10) + 1, int((end - seen.bins_start_s) * 10))
        carried = (seen.mbps(since, end) - _mbps(others, since, end)) * TCP_PAYLOAD / MTU
        return Test(
            down_mbps=said["down_mbps"],
            carried_mbps=carried,
            added_ms=said["rtt_loaded_ms"] - said["rtt_idle_ms"],
            queued_ms=statistics.median(seen.bin_queued_ms[i] for i in bins if i < len(seen.bin_queued_ms)),
            measured_s=said["measured_s"],
            stop_reason=said["stop_reason"],
            flags=tuple(said.get("flags", ())),
        )

    return on_a_fresh_link(Link(seed=seed, **link), run)


def main(*_: str) -> int:
    """Runs all and writes `variations.json` and `variations.md`."""
    with tempfile.TemporaryDirectory() as folder:
        found = {v.name: [_test(v, seed, Path(folder)) for seed in range(1, TESTS + 1)] for v in VARIATIONS}
    text = "\n".join(_report(found)) + "\n"
    write("variations", {name: [asdict(test) for test in tests] for name, tests in found.items()}, text)
    print(text)
    return 0


def _report(found: dict[str, list[Test]]) -> Iterator[str]:
    yield f"Medians of {TESTS} tests a line (`python -m bench variations`); the worst error in brackets. Carried: what"
    yield "the line delivered to the test in its measured window. Added: median round trip under load less the idle"
    yield "one; queue: what packets waited in the emulator in that window.\n"
    yield "| line | Mb/s | carried | error % | measured s | added ms | queue ms | no_steady_state |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, tests in found.items():
        errors = [test.error_percent for test in tests]
        middle = {
            key: statistics.median(getattr(test, key) for test in tests)
            for key in ("down_mbps", "carried_mbps", "measured_s", "added_ms", "queued_ms")
        }
        flagged = sum("no_steady_state" in test.flags for test in tests)
        yield (
            f"| {name} | {middle['down_mbps']:.1f} | {middle['carried_mbps']:.1f} "
            f"| {statistics.median(errors):+.2f} ({max(errors, key=abs):+.2f}) | {middle['measured_s']:.1f} "
            f"| {middle['added_ms']:.0f} | {middle['queued_ms']:.0f} | {flagged} of {len(tests)} |"
        )
