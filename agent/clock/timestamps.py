"""When something was taken, of which no synchronised clock told it: what is known of its boot and of others. Pure.

The server's time comes with its answers. It is the way out where the network time is blocked.
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
"""Seconds a second by which a quartz that nothing guides may be off: twice what cheap ones are sold with."""
KERNEL_ERROR_S = 1.0
"""Of a synchronised clock, where it dates something else."""
SERVER_ERROR_S = 1.0
"""Of the server's own clock."""
NEVER_SYNCED_ERROR_S = 86_400.0
EARLIER_BOOT_ERROR_S = 30 * 86_400.0
GOOD_ERROR_S = 3_600.0
"""What plans, months and days may be off by."""
BOOTS_KEPT = 8


class Reference(NamedTuple):
    """An instant of one boot whose time is known: `wall_us` since 1970, `error_s` off at most."""

    boot_ns: int
    wall_us: int
    error_s: float

    def at(self, boot_ns: int) -> tuple[int, float]:
        """The time of another instant of this boot in microseconds, and how far it may be off in seconds."""
        passed_ns = boot_ns - self.boot_ns
        return self.wall_us + passed_ns // 1000, self.error_s + DRIFT * abs(passed_ns) / 1e9


def micros(instant: dt.datetime) -> int:
    """Since 1970."""
    return (instant - EPOCH) // dt.timedelta(microseconds=1)


def of_kernel(reading: ClockReading) -> Reference:
    """What a reading under a synchronised clock tells."""
    return Reference(reading.boot_ns, micros(reading.wall), KERNEL_ERROR_S)


def of_answer(time: dt.datetime, asked_ns: int, answered_ns: int) -> Reference:
    """What an answer tells that carries the server's time: that was between the question and the answer."""
    half_ns = (answered_ns - asked_ns) // 2
    return Reference(answered_ns, micros(time) + half_ns // 1000, half_ns / 1e9 + SERVER_ERROR_S)


@dataclass(frozen=True, slots=True)
class Times:
    """Boot -> what is known of its time, for the last few boots of which something is."""

    of_boots: Mapping[str, Reference] = field(default_factory=dict)

    def knowing(self, boot: str, reference: Reference) -> "Times":
        """With one more, which takes the place of what was known of its boot."""
        found = {name: known for name, known in self.of_boots.items() if name != boot} | {boot: reference}
        return Times(dict(list(found.items())[-BOOTS_KEPT:]))

    def improved_by(self, boot: str, new: Reference) -> bool:
        """Whether it is worth a write: it says more of a boot than is known, and no time before what is known."""
        if (latest := self.latest_us(but=boot)) is not None and new.wall_us + new.error_s * 1e6 < latest:
            return False
        old = self.of_boots.get(boot)
        return old is None or new.error_s < old.at(new.boot_ns)[1] / 2

    def latest_us(self, but: str) -> int | None:
        """A time that has surely passed, as other boots than this one know."""
        return max(
            (int(known.wall_us - known.error_s * 1e6) for boot, known in self.of_boots.items() if boot != but),
            default=None,
        )

    def text(self) -> str:
        return msgspec.json.encode(self.of_boots).decode()


def read_times(text: str | None) -> Times:
    """What `text` gave; nothing where that is no such text."""
    try:
        return Times(msgspec.json.decode(text or "{}", type=dict[str, Reference]))
    except (msgspec.DecodeError, UnicodeError):
        return Times()


class Undated(NamedTuple):
    """What a result without a time has instead. `not_before_us`: a time that had passed by then."""

    boot: str
    boot_ns: int
    wall_us: int
    not_before_us: int | None = None


Dated = tuple[int, ClockState, float | None]
"""Time in microseconds since 1970, its quality, and how far it may be off in seconds."""


def date(taken: Undated, boot: str, now: ClockReading, times: Times, hold_s: float) -> Dated | None:
    """The time of a result that was taken under a clock that was not set; None while more may become known.

    In this boot, by the clock that is set now. Else by what is known of its boot: by the kernel, or by the server. Else
    by the clock's own word after `hold_s`, held against what is known: that of an earlier boot was before this one.
    """
    if taken.boot == boot and now.synced:
        return micros(rebase(taken.boot_ns, now)), "rebased", None
    if (known := times.of_boots.get(taken.boot)) is not None:
        wall_us, error_s = known.at(taken.boot_ns)
        return wall_us, "estimated", error_s
    if taken.boot == boot:
        if (now.boot_ns - taken.boot_ns) / 1e9 < hold_s:
            return None
        return max(taken.wall_us, taken.not_before_us or 0), "estimated", NEVER_SYNCED_ERROR_S
    here = of_kernel(now) if now.synced else times.of_boots.get(boot)
    if here is None and now.boot_ns / 1e9 < hold_s:
        return None
    wall_us, error_s = between(taken.wall_us, taken.not_before_us, None if here is None else start_us(here))
    return wall_us, "estimated", error_s


def best_estimate(reading: ClockReading, boot: str, times: Times) -> ClockReading:
    """A reading put right by what is known of its boot; not synchronised where that is not known within an hour."""
    known = times.of_boots.get(boot)
    if reading.synced or known is None:
        return reading
    wall_us, error_s = known.at(reading.boot_ns)
    return replace(reading, wall=EPOCH + dt.timedelta(microseconds=wall_us), synced=error_s < GOOD_ERROR_S)


def start_us(known: Reference) -> int:
    """A time that had not come when this boot began."""
    wall_us, error_s = known.at(0)
    return int(wall_us + error_s * 1e6)


def between(wall_us: int, not_before_us: int | None, not_after_us: int | None) -> tuple[int, float]:
    """A clock's word held against what is known: the nearest time possible, and how far off it may be."""
    wall_us = min(wall_us, wall_us if not_after_us is None else not_after_us)
    wall_us = max(wall_us, 0 if not_before_us is None else not_before_us)
    if not_before_us is None or not_after_us is None or not_after_us < not_before_us:
        return wall_us, EARLIER_BOOT_ERROR_S
    return wall_us, max(wall_us - not_before_us, not_after_us - wall_us) / 1e6
