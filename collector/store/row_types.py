"""What a store gives back. A row of a kind of result is the contract's own type, with the instant and the clock of its
envelope: no field is listed again.
"""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Annotated, Any, NamedTuple, Self

from msgspec import Struct

from xomnet.contract.fields import Field
from xomnet.contract.messages import Event, Health, Latency, Outage, Speed

Clock = Annotated[str | None, Field("Clock", "Đồng hồ")]
AtError = Annotated[float | None, Field("Time may be off by", "Thời điểm có thể lệch")]
ReceivedMs = Annotated[int | None, Field("Received by the server", "Máy chủ nhận lúc")]
"""Milliseconds since 1970; None where a version before 0.2 stored it."""
Late = Annotated[bool | None, Field("Later than the unit's reports explain", "Đến muộn chưa rõ lý do")]
Excluded = Annotated[str | None, Field("Reason for not counting", "Lý do không tính")]
"""The reason of an exclusion, or `late`. Not stored with the result: see `collector.store.exclusions`."""

NOT_STORED = frozenset({"at", "excluded"})
"""Attributes of rows that are no fields of the database."""


class SpeedRow(Speed, frozen=True, kw_only=True, omit_defaults=True):
    """A download test as stored. `down_mbps` is None where it failed; then `error` says why."""

    at: dt.datetime
    clock: Clock = None
    at_error_s: AtError = None
    received_ms: ReceivedMs = None
    late: Late = None
    excluded: Excluded = None


class LatencyRow(Latency, frozen=True, kw_only=True, omit_defaults=True):
    at: dt.datetime
    clock: Clock = None
    at_error_s: AtError = None
    received_ms: ReceivedMs = None
    late: Late = None
    excluded: Excluded = None


class OutageRow(Outage, frozen=True, kw_only=True, omit_defaults=True):
    at: dt.datetime
    clock: Clock = None
    at_error_s: AtError = None
    received_ms: ReceivedMs = None
    late: Late = None
    excluded: Excluded = None


class HealthRow(Health, frozen=True, kw_only=True, omit_defaults=True):
    """A health of a unit; None where the unit did not say."""

    at: dt.datetime
    clock: Clock = None
    at_error_s: AtError = None
    received_ms: ReceivedMs = None
    late: Late = None
    excluded: Excluded = None


class EventRow(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An event as stored; the numbers are there where the event is about a range of results."""

    at: dt.datetime
    spool: str
    seq: int
    clock: Clock = None
    at_error_s: AtError = None
    received_ms: ReceivedMs = None
    late: Late = None
    excluded: Excluded = None


StoredRow = SpeedRow | LatencyRow | OutageRow | HealthRow | EventRow
"""A result as a unit sent it."""


class Sample(Struct, frozen=True):
    """What judging needs of a download test."""

    at: dt.datetime
    down_mbps: float | None
    flags: tuple[str, ...] = ()
    error: str | None = None
    asked: str | None = None
    """Who wanted it beside the schedule (`Speed.asked`); the verdict of a month leaves such tests out."""
    received_ms: int | None = None
    late: bool | None = None
    server: str | None = None
    excluded: str | None = None
    """Why it is not counted (`SpeedRow.excluded`)."""


class Download(Sample, frozen=True):
    """What a roll-up needs of a download test."""

    bytes: int | None = None
    rtt_loaded_ms: float | None = None


class LatencyFigures(Struct, frozen=True):
    """Many probes of a line together: echoes are summed, the rest are the medians of the probes' own figures; None
    where no probe has one.
    """

    probes: int
    sent: int
    received: int
    rtt_p50_ms: float | None = None
    rtt_p95_ms: float | None = None
    jitter_ms: float | None = None
    excluded: int = 0
    """Probes beside them that are left out."""

    @classmethod
    def of(cls, probes: Iterable[Sequence[Any]]) -> Self:
        """Each as `PROBE` says, and then whether it is left out. Taken here and not by InfluxDB, whose
        median costs it twice what giving all the values does; SQLite has none.
        """
        made = list(probes)
        counted = [probe for probe in made if not probe[-1]]
        if not counted:
            return cls(0, 0, 0, excluded=len(made))
        sent, received, *figures, _ = zip(*counted, strict=True)
        known = ([value for value in column if value is not None] for column in figures)
        p50, p95, jitter = (median(column) if column else None for column in known)
        return cls(len(sent), sum(sent), sum(received), p50, p95, jitter, len(made) - len(counted))

    @property
    def loss_percent(self) -> float | None:
        """Lost of sent; None where nothing was sent."""
        return 100 * (self.sent - self.received) / self.sent if self.sent else None


PROBE = ("sent", "received", "rtt_p50_ms", "rtt_p95_ms", "jitter_ms")


class OutageTotal(NamedTuple):
    """The outages that began in a time, and how long they lasted, also beyond it."""

    outages: int
    duration_s: float
    excluded: int = 0
    """Outages beside them that are left out."""

    @classmethod
    def of(cls, outages: Iterable[tuple[float, Any]]) -> Self:
        """Each with its duration, and whether it is left out."""
        made = list(outages)
        counted = [duration for duration, left_out in made if not left_out]
        return cls(len(counted), math.fsum(counted), len(made) - len(counted))


class Stamp(NamedTuple):
    """When a result was measured and received, and whether it came late."""

    at: dt.datetime
    received_ms: int | None = None
    late: bool | None = None
