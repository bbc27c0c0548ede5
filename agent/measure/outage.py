"""Outages: from the first of several probes without an answer to the first probe with one. Pure.

An outage that goes on survives a restart of the agent or of the unit.
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
    """The state between probes: when the first probe without an answer was, and how many failed since."""

    since: ClockReading | None = None
    failed: int = 0
    boot: str | None = None
    """The boot of `since` if it is an earlier one; None: this boot."""

    @property
    def is_outage(self) -> bool:
        return self.failed >= PROBES

    @property
    def suspicious(self) -> bool:
        """The last probe had no answer: probe again soon, so that the end is known closely."""
        return self.failed > 0


@dataclass(frozen=True, slots=True)
class EndedOutage:
    """An outage that is over; `began` is the instant of its first failed probe."""

    outage: Outage
    began: ClockReading
    error_s: float | None = None
    """The bound of the error of `began`, if it was in an earlier boot."""


def after_probe(
    watch: Watch, answered: bool, at: ClockReading, anchors: tuple[str, ...]
) -> tuple[Watch, EndedOutage | None]:
    """The watch after one more probe, and the outage that the probe ended; None if it ended none."""
    if not answered:
        return replace(watch, since=watch.since or at, failed=watch.failed + 1), None
    if watch.since is None or not watch.is_outage:
        return Watch(), None
    duration_s = (at.boot_ns - watch.since.boot_ns) / 1e9
    return Watch(), EndedOutage(Outage(duration_s=duration_s, failed_probes=watch.failed, anchors=anchors), watch.since)


def after_reboot(watch: Watch, began: Dated, now: dt.datetime, anchors: tuple[str, ...]) -> EndedOutage:
    """The outage of an earlier boot that an answer at `now` ended; `began` is the time of its first failed probe."""
    at = EPOCH + dt.timedelta(microseconds=began[0])
    outage = Outage(duration_s=max(0.0, (now - at).total_seconds()), failed_probes=watch.failed, anchors=anchors)
    return EndedOutage(outage, ClockReading(at, 0, False), began[2] or KERNEL_ERROR_S)


class _StoredWatch(msgspec.Struct):
    boot: str
    boot_ns: int
    wall: dt.datetime
    synced: bool
    failed: int


def to_text(watch: Watch, boot: str) -> str | None:
    """An outage that goes on as text, to be read by `parse_watch`; None for a watch without an outage."""
    if watch.since is None or not watch.is_outage:
        return None
    since = watch.since
    text = _StoredWatch(watch.boot or boot, since.boot_ns, since.wall, since.synced, watch.failed)
    return msgspec.json.encode(text).decode()


def parse_watch(text: str | None, boot: str) -> Watch:
    """The watch of `to_text`; a watch without an outage if the text is not valid."""
    try:
        found = msgspec.json.decode(text or "", type=_StoredWatch)
    except msgspec.DecodeError:
        return Watch()
    since = ClockReading(found.wall, found.boot_ns, found.synced)
    return Watch(since, found.failed, None if found.boot == boot else found.boot)
