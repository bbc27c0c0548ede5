"""The figure on links with delay, in short; the whole of it is `bench/`.

The machine may be a guest that others keep waiting. So a packet may be late here, and what the laboratory itself says
that it lost of the line's capacity is allowed for; the rest of the error is ours.
"""

import json
import sys
from typing import Any, NamedTuple

import pytest

from bench.linklab import Lab, Link
from bench.linklab.link import MTU, TCP_PAYLOAD
from bench.runs import on_a_fresh_link
from bench.tools import Inside

pytestmark = [pytest.mark.usefixtures("root"), pytest.mark.alone]

TRIES = 3


class Found(NamedTuple):
    """What the engine said, what the line delivered of payload in its window (Mb/s), and the capacity that the
    laboratory lost (share).
    """

    said: dict[str, Any]
    carried_mbps: float
    lost: float


def measured(link: Link) -> Found:
    def run(lab: Lab, url: str, _: Inside) -> Found:
        said = json.loads(lab.run("client", [sys.executable, "-m", "bench.once", url]).stdout)
        down = lab.statistics().down
        carried = down.mbps(said["ended_at"] - said["measured_s"], said["ended_at"]) * TCP_PAYLOAD / MTU
        return Found(said, carried, down.starved_s / said["measured_s"])

    return on_a_fresh_link(link, run, TRIES, late_share=1.0)


@pytest.mark.parametrize(("rate_mbps", "rtt_ms"), [(20, 50), (150, 100)])
def test_a_constant_line_is_read_within_four_per_cent_for_a_third_of_the_bytes(rate_mbps: float, rtt_ms: float) -> None:
    link = Link(rate_mbps=rate_mbps, rtt_ms=rtt_ms)
    said, _, lost = measured(link)
    assert -0.04 - lost <= said["down_mbps"] / link.ideal_mbps - 1 <= 0.04
    assert said["bytes"] * 8e-6 < 6 * rate_mbps
    if lost < 0.02:
        assert said["stop_reason"] == "stable"
        assert "flags" not in said
        assert 0 < said["rtt_loaded_ms"] - said["rtt_idle_ms"] < 90  # the buffer is of 80 ms


def test_a_line_that_halves_is_its_mean_in_the_window_or_flagged() -> None:
    said, carried, _ = measured(Link(steps=((0, 40), (2, 20)), rtt_ms=30))
    assert said["down_mbps"] == pytest.approx(carried, rel=0.04) or "no_steady_state" in said["flags"]


def test_the_first_seconds_of_a_lossy_line_are_not_taken_for_its_rate() -> None:
    """Slow start fills the line and its queue once; then random losses keep cubic at about a third."""
    link = Link(rate_mbps=70, rtt_ms=100, loss=0.001)
    said, _, _ = measured(link)
    assert said["down_mbps"] < 0.9 * link.ideal_mbps
