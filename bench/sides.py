"""How often a test lands on the wrong side of the target: lines at 0.95 and 1.05 times 70 and 150 Mb/s.

The lines' TCP payload rate is the multiple of the target. 70 Mb/s is measured as a mobile line is (metered: 6 s and
40 MB at most), 150 Mb/s as a fixed one.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from bench.linklab import Lab, Link
from bench.linklab.link import MTU, TCP_PAYLOAD
from bench.runs import on_a_fresh_link, write
from bench.tools import Inside

TARGETS = {"mobile": (70.0, 50.0), "fixed": (150.0, 25.0)}
"""Mb/s, and ms of round trip."""
MULTIPLES, TESTS, AT_ONCE = (0.95, 1.05), 20, 2


@dataclass(frozen=True)
class Test:
    """One test of a line whose payload rate is `multiple` of its target."""

    access: str
    multiple: float
    down_mbps: float
    bytes: int

    @property
    def wrong(self) -> bool:
        return (self.down_mbps >= TARGETS[self.access][0]) != (self.multiple >= 1)


def _test(access: str, multiple: float, seed: int) -> Test:
    target, rtt_ms = TARGETS[access]
    line = Link(rate_mbps=round(multiple * target * MTU / TCP_PAYLOAD, 3), rtt_ms=rtt_ms, seed=seed)

    def run(lab: Lab, url: str, _: Inside) -> Test:
        said = json.loads(lab.run("client", [sys.executable, "-m", "bench.once", url, access]).stdout)
        return Test(access, multiple, said["down_mbps"], said["bytes"])

    return on_a_fresh_link(line, run)


def main(*_: str) -> int:
    """Runs all and writes `sides.json` and `sides.md`."""
    wanted = [(access, multiple, seed) for seed in range(TESTS) for access in TARGETS for multiple in MULTIPLES]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tests = list(pool.map(lambda one: _test(*one), wanted))
    text = "\n".join(_report(tests)) + "\n"
    write("sides", [asdict(test) for test in tests], text)
    print(text)
    return 0


def _report(tests: list[Test]) -> Iterator[str]:
    yield "Tests on the wrong side of the target (`python -m bench sides`); cubic, 80 ms of buffer.\n"
    yield "| line | true Mb/s | tests | lowest | highest | MB | wrong side |"
    yield "|---|---|---|---|---|---|---|"
    for access, (target, rtt_ms) in TARGETS.items():
        for multiple in MULTIPLES:
            part = [test for test in tests if (test.access, test.multiple) == (access, multiple)]
            figures = [test.down_mbps for test in part]
            yield (
                f"| {access}, {rtt_ms:g} ms | {multiple * target:.1f} | {len(part)} | {min(figures):.2f} "
                f"| {max(figures):.2f} | {sum(test.bytes for test in part) / len(part) / 1e6:.0f} "
                f"| {sum(test.wrong for test in part)} |"
            )
