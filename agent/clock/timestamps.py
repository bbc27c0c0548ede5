"""Timestamps of results that were taken under an unsynchronised clock, from what is known of this boot and others.
Pure.

The server's time comes with its acknowledgements: the fallback where network time is blocked.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from agent.clock.clock import ClockReading, rebase
from xomnet.contract.messages import ClockState

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DRIFT = 2e-4
"""Seconds a second by which an undisciplined quartz may drift: twice the tolerance of cheap ones."""
KERNEL_ERROR_S = 1.0
"""Error of a synchronised clock when it dates another instant."""
SERVER_ERROR_S = 1.0
"""Error of the server's own clock."""
NEVER_SYNCED_ERROR_S = 86_400.0
EARLIER_BOOT_ERROR_S = 30 * 86_400.0
GOOD_ERROR_S = 3_600.0
"""The error that is tolerated for slots, days and months."""
MAX_BOOTS = 8


class Reference(NamedTuple):
    """An instant of one boot whose time is known: `wall_us` microseconds since 1970, at most `error_s` off."""

    boot_ns: int
    wall_us: int
    error_s: float

    def time_at(self, boot_ns: int) -> tuple[int, float]:
        """The time of another instant of this boot: microseconds since 1970, and the bound of its error in seconds."""
        passed_ns = boot_ns - self.boot_ns
        return self.wall_us + passed_ns // 1000, self.error_s + DRIFT * abs(passed_ns) / 1e9


def to_micros(instant: dt.datetime) -> int:
    """Microseconds since 1970."""
    return (instant - EPOCH) // dt.timedelta(microseconds=1)


def kernel_reference(reading: ClockReading) -> Reference:
    """The reference that a reading of a synchronised clock gives."""
    return Reference(reading.boot_ns, to_micros(reading.wall), KERNEL_ERROR_S)


def server_reference(time: dt.datetime, sent_ns: int, received_ns: int) -> Reference:
    """The reference that an answer with the server's `time` gives: the server wrote it between our two CLOCK_BOOTTIMEs.

    Half of the time between them, and the server's own error, bound the error.
    """
    half_ns = (received_ns - sent_ns) // 2
    return Reference(received_ns, to_micros(time) + half_ns // 1000, half_ns / 1e9 + SERVER_ERROR_S)


@dataclass(frozen=True, slots=True)
class Times:
    """Boot -> the best reference of it, for the last MAX_BOOTS boots that have one."""

    of_boots: Mapping[str, Reference] = field(default_factory=dict)

    def with_reference(self, boot: str, reference: Reference) -> "Times":
        """The times with a reference, which replaces the one of its boot."""
        references = {name: known for name, known in self.of_boots.items() if name != boot} | {boot: reference}
        return Times(dict(list(references.items())[-MAX_BOOTS:]))

    def is_improved_by(self, boot: str, new: Reference) -> bool:
        """Whether a new reference is worth a write: its error is less than half of the one before, and it is not
        before a time that has surely passed.
        """
        if (latest := self.latest_us(but=boot)) is not None and new.wall_us + new.error_s * 1e6 < latest:
            return False
        old = self.of_boots.get(boot)
        return old is None or new.error_s < old.time_at(new.boot_ns)[1] / 2

    def latest_us(self, but: str) -> int | None:
        """A time that has surely passed by the references of other boots than `but`; None if there are none."""
        return max(
            (int(known.wall_us - known.error_s * 1e6) for boot, known in self.of_boots.items() if boot != but),
            default=None,
        )

    def to_text(self) -> str:
        """JSON, to be read by `parse_times`."""
        return msgspec.json.encode(self.of_boots).decode()


def parse_times(text: str | None) -> Times:
    """The times of `Times.to_text`; empty if the text is not valid."""
    try:
        return Times(msgspec.json.decode(text or "{}", type=dict[str, Reference]))
    except (msgspec.DecodeError, UnicodeError):
        return Times()


class Undated(NamedTuple):
    """What a result without a time has instead. `not_before_us`: a time that had surely passed by then."""

    boot: str
    boot_ns: int
    wall_us: int
    not_before_us: int | None = None


Dated = tuple[int, ClockState, float | None]
"""Time in microseconds since 1970, its quality, and the bound of its error in seconds."""


def date_result(undated: Undated, boot: str, now: ClockReading, times: Times, hold_s: float) -> Dated | None:
    """The time of a result of an unsynchronised clock; None while a better time may become known.

    `boot` is this boot. In order: a result of this boot is re-based if the clock is synchronised now; else the
    reference of its boot counts, of the kernel or the server; else, after `hold_s` seconds, its own clock, limited by
    what is known: a result of an earlier boot was taken before this boot began.
    """
    if undated.boot == boot and now.synced:
        return to_micros(rebase(undated.boot_ns, now)), "rebased", None
    if (known := times.of_boots.get(undated.boot)) is not None:
        wall_us, error_s = known.time_at(undated.boot_ns)
        return wall_us, "estimated", error_s
    if undated.boot == boot:
        if (now.boot_ns - undated.boot_ns) / 1e9 < hold_s:
            return None
        return max(undated.wall_us, undated.not_before_us or 0), "estimated", NEVER_SYNCED_ERROR_S
    this_boot = kernel_reference(now) if now.synced else times.of_boots.get(boot)
    if this_boot is None and now.boot_ns / 1e9 < hold_s:
        return None
    wall_us, error_s = clamp_time(
        undated.wall_us, undated.not_before_us, None if this_boot is None else boot_start_us(this_boot)
    )
    return wall_us, "estimated", error_s


def best_estimate(reading: ClockReading, boot: str, times: Times) -> ClockReading:
    """A reading corrected by the reference of its boot; `synced` if its error is below GOOD_ERROR_S."""
    known = times.of_boots.get(boot)
    if reading.synced or known is None:
        return reading
    wall_us, error_s = known.time_at(reading.boot_ns)
    return replace(reading, wall=EPOCH + dt.timedelta(microseconds=wall_us), synced=error_s < GOOD_ERROR_S)


def boot_start_us(known: Reference) -> int:
    """The latest time at which the reference's boot may have begun, in microseconds since 1970."""
    wall_us, error_s = known.time_at(0)
    return int(wall_us + error_s * 1e6)


def clamp_time(wall_us: int, not_before_us: int | None, not_after_us: int | None) -> tuple[int, float]:
    """The time nearest to the clock's that is within the bounds, in microseconds, and the bound of its error in
    seconds.
    """
    wall_us = min(wall_us, wall_us if not_after_us is None else not_after_us)
    wall_us = max(wall_us, 0 if not_before_us is None else not_before_us)
    if not_before_us is None or not_after_us is None or not_after_us < not_before_us:
        return wall_us, EARLIER_BOOT_ERROR_S
    return wall_us, max(wall_us - not_before_us, not_after_us - wall_us) / 1e6
