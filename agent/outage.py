"""Outages: from the first of several probes that nobody answered to the first that somebody did. Pure."""

from dataclasses import dataclass, replace

from agent.clock import ClockReading
from xomnet.messages import Outage

PROBES = 2
"""Consecutive probes without any answer that make an outage."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered between probes: when the silence began, how many probes it has lasted."""

    since: ClockReading | None = None
    failed: int = 0

    @property
    def suspicious(self) -> bool:
        """The last probe had no answer: look again soon, so that the end is known closely."""
        return self.failed > 0


@dataclass(frozen=True, slots=True)
class Ended:
    """An outage that is over; `began` is the instant of its first failed probe."""

    outage: Outage
    began: ClockReading


def after_probe(watch: Watch, answered: bool, at: ClockReading, anchors: tuple[str, ...]) -> tuple[Watch, Ended | None]:
    """The watch after one more probe, and the outage that it ended, if it did."""
    if not answered:
        return replace(watch, since=watch.since or at, failed=watch.failed + 1), None
    if watch.since is None or watch.failed < PROBES:
        return Watch(), None
    duration_s = (at.boot_ns - watch.since.boot_ns) / 1e9
    return Watch(), Ended(Outage(duration_s=duration_s, failed_probes=watch.failed, anchors=anchors), watch.since)
