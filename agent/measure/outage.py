"""Outages: from the first of several probes that nobody answered to the first that somebody did. Pure.

One that has begun is remembered over a restart of the agent or of the unit.
"""

import datetime as dt
from dataclasses import dataclass, replace

import msgspec

from agent.clock.clock import ClockReading
from agent.clock.timestamps import EPOCH, KERNEL_ERROR_S, Dated
from xomnet.contract.messages import Outage

PROBES = 2
"""Consecutive probes without any answer that make an outage."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered between probes: when the silence began, how many probes it has lasted."""

    since: ClockReading | None = None
    failed: int = 0
    boot: str | None = None
    """Of `since`, where that is another boot than this one."""

    @property
    def is_outage(self) -> bool:
        return self.failed >= PROBES

    @property
    def suspicious(self) -> bool:
        """The last probe had no answer: look again soon, so that the end is known closely."""
        return self.failed > 0


@dataclass(frozen=True, slots=True)
class Ended:
    """An outage that is over; `began` is the instant of its first failed probe."""

    outage: Outage
    began: ClockReading
    error_s: float | None = None
    """How far `began` may be off, where no clock of this boot has seen it."""


def after_probe(watch: Watch, answered: bool, at: ClockReading, anchors: tuple[str, ...]) -> tuple[Watch, Ended | None]:
    """The watch after one more probe, and the outage that it ended, if it did."""
    if not answered:
        return replace(watch, since=watch.since or at, failed=watch.failed + 1), None
    if watch.since is None or not watch.is_outage:
        return Watch(), None
    duration_s = (at.boot_ns - watch.since.boot_ns) / 1e9
    return Watch(), Ended(Outage(duration_s=duration_s, failed_probes=watch.failed, anchors=anchors), watch.since)


def after_reboot(watch: Watch, began: Dated, now: dt.datetime, anchors: tuple[str, ...]) -> Ended:
    """The outage of an earlier boot that an answer at `now` ended; `began` is when its first failed probe was."""
    at = EPOCH + dt.timedelta(microseconds=began[0])
    outage = Outage(duration_s=max(0.0, (now - at).total_seconds()), failed_probes=watch.failed, anchors=anchors)
    return Ended(outage, ClockReading(at, 0, False), began[2] or KERNEL_ERROR_S)


class _Text(msgspec.Struct):
    boot: str
    boot_ns: int
    wall: dt.datetime
    synced: bool
    failed: int


def text_of(watch: Watch, boot: str) -> str | None:
    """An outage that goes on, to be read by `watch_of`; None for a watch without one."""
    if watch.since is None or not watch.is_outage:
        return None
    since = watch.since
    text = _Text(watch.boot or boot, since.boot_ns, since.wall, since.synced, watch.failed)
    return msgspec.json.encode(text).decode()


def watch_of(text: str | None, boot: str) -> Watch:
    """The watch that goes on; one without an outage where `text` is none of ours."""
    try:
        found = msgspec.json.decode(text or "", type=_Text)
    except msgspec.DecodeError:
        return Watch()
    since = ClockReading(found.wall, found.boot_ns, found.synced)
    return Watch(since, found.failed, None if found.boot == boot else found.boot)
