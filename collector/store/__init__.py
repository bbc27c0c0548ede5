"""Where results live. One small protocol; `sqlite` is embedded, `influx` is for a province."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple, Protocol, Self

from collector.store.points import Point
from xomnet.registry.registry import LineRow
from xomnet.runtime.log import Log

log = Log("collector.store")


class LineId(NamedTuple):
    agent: str
    line: str

    @classmethod
    def of(cls, row: LineRow) -> Self:
        return cls(row.agent, row.line)


Lines = Collection[LineId] | None
"""Some lines, not many: a question names each of them. None: all."""


class Rejection(NamedTuple):
    """A point that the database will never take."""

    point: Point
    reason: str


class StoreUnavailable(Exception):
    """Not now: refused, slow, overloaded (429, 5xx). Keep the points, come back after `retry_after_s` or a back-off."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class StoreRefused(StoreUnavailable):
    """Not with these settings: credentials, database or path are wrong (401, 403, 404). A person must act."""


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """A download test as stored. `down_mbps` is None where it failed; then `error` says why."""

    at: dt.datetime
    engine: str
    server: str
    flags: tuple[str, ...] = ()
    down_mbps: float | None = None
    early_mbps: float | None = None
    gross_mbps: float | None = None
    trimmed_mbps: float | None = None
    bytes: int | None = None
    duration_s: float | None = None
    streams: int | None = None
    stop_reason: str | None = None
    rtt_idle_ms: float | None = None
    rtt_loaded_ms: float | None = None
    error: str | None = None
    error_detail: str | None = None
    link_mbps: float | None = None
    other_bytes: int | None = None
    cpu_wait_s: float | None = None
    radio_technologies: tuple[str, ...] = ()
    radio_bands: tuple[str, ...] = ()
    radio_rsrp_dbm: float | None = None
    radio_rsrq_db: float | None = None
    radio_sinr_db: float | None = None
    radio_operator: str | None = None
    radio_cell: str | None = None
    budget_used_bytes: int | None = None
    budget_bytes: int | None = None
    asked: str | None = None
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class LatencyRow:
    at: dt.datetime
    method: str
    sent: int
    received: int
    loss_percent: float
    rtt_min_ms: float | None = None
    rtt_p50_ms: float | None = None
    rtt_p95_ms: float | None = None
    jitter_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class OutageRow:
    at: dt.datetime
    duration_s: float
    failed_probes: int


@dataclass(frozen=True, slots=True)
class HealthRow:
    """The last health of a unit; None where the unit did not say."""

    at: dt.datetime
    version: str
    cpu_percent: float
    mem_used_percent: float
    disk_free_bytes: int
    uptime_s: float
    spool_depth: int
    clock_synced: bool
    temp_c: float | None = None
    throttled: int | None = None
    overrides: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What judging needs of a download test."""

    at: dt.datetime
    down_mbps: float | None
    flags: tuple[str, ...] = ()
    error: str | None = None
    asked: str | None = None
    """Who wanted it beside the schedule (`Speed.asked`); the verdict of a month leaves such tests out."""


@dataclass(frozen=True, slots=True)
class Download(Sample):
    """What a roll-up needs of a download test."""

    bytes: int | None = None
    rtt_loaded_ms: float | None = None


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """Many probes of a line together: echoes are summed, the rest are the medians of the probes' own figures; None
    where no probe has one.
    """

    probes: int
    sent: int
    received: int
    rtt_p50_ms: float | None = None
    rtt_p95_ms: float | None = None
    jitter_ms: float | None = None

    @classmethod
    def of(cls, probes: Iterable[Sequence[Any]]) -> Self:
        """Each as `PROBE` says. Taken here and not by InfluxDB, whose median costs it twice what giving all the values
        does; SQLite has none.
        """
        sent, received, *figures = zip(*probes, strict=True)
        known = ([value for value in column if value is not None] for column in figures)
        return cls(len(sent), sum(sent), sum(received), *(median(column) if column else None for column in known))

    @property
    def loss_percent(self) -> float | None:
        """Lost of sent; None where nothing was sent."""
        return 100 * (self.sent - self.received) / self.sent if self.sent else None


PROBE = ("sent", "received", "rtt_p50_ms", "rtt_p95_ms", "jitter_ms")


class OutageTotal(NamedTuple):
    """The outages that began in a time, and how long they lasted, also beyond it."""

    outages: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as stored; the numbers are there where the event is about a range of results."""

    at: dt.datetime
    name: str
    spool: str
    seq: int
    first_seq: int | None = None
    last_seq: int | None = None
    count: int | None = None
    digest: str | None = None


Agents = Collection[str] | None
"""Some units, not many: a question names each of them. None: all."""


class Figures(Protocol):
    """Of all lines together, or of those of some agents.

    Ranges and errors as in `Store`. A line that has nothing of the kind is absent.
    """

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        """Each line's in the order of time."""

    def latency(
        self, since: dt.datetime, until: dt.datetime, agents: Agents = None
    ) -> dict[LineId, LatencyFigures]: ...

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]: ...

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        """How many downloads, latency results and outages are stored."""

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        """How many of them the points of `line_hour` or `line_day` were made of."""

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        """What the collector itself wrote into a measurement, as it was written, in no order."""


class Store(Protocol):
    """Times are aware; ranges are [since, until); every read raises StoreUnavailable where the database is away."""

    @property
    def figures(self) -> Figures: ...

    def write(self, points: Sequence[Point]) -> list[Rejection]:
        """Returns when every point is durable or rejected. Writing a point again changes nothing.

        A rejection holds the very object that was given.
        Raises StoreUnavailable: then nothing is promised of any of them, and all may be written again.
        """

    def speed(self, line: LineId, since: dt.datetime, until: dt.datetime) -> list[SpeedRow]: ...

    def latency(self, line: LineId, since: dt.datetime, until: dt.datetime) -> list[LatencyRow]: ...

    def outages(self, line: LineId, since: dt.datetime, until: dt.datetime) -> list[OutageRow]: ...

    def samples(self, since: dt.datetime, until: dt.datetime, lines: Lines = None) -> dict[LineId, list[Sample]]:
        """Download tests, each line's in the order of time."""

    def last_results(self, since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        """When each line was last measured, by download or latency."""

    def health(self, since: dt.datetime) -> dict[str, HealthRow]:
        """The last health of each agent."""

    def events(
        self, name: str, since: dt.datetime, until: dt.datetime, agent: str | None = None
    ) -> dict[LineId, list[EventRow]]:
        """Events of a name, of one agent or of all, each line's in the order of time; the unit itself is line ''."""

    def numbers(
        self, agent: str, spool: str, first: int, last: int, since: dt.datetime, until: dt.datetime
    ) -> dict[int, str]:
        """Which results `first` to `last` of a unit's spool are stored, of all kinds: number -> line, '' the unit."""

    def has_results(self, line: LineId, since: dt.datetime, until: dt.datetime) -> bool:
        """True where anything that a unit sent of a line is stored; line '' is the unit itself."""

    def ping(self) -> None:
        """Raises StoreUnavailable where the database does not answer."""

    def close(self) -> None: ...


def write_own(store: Store, points: Sequence[Point]) -> None:
    """Writes what the collector worked out itself. No unit waits for an answer to it, so what the database refuses is
    said in the log. Raises StoreUnavailable.
    """
    if rejections := store.write(points):
        first = rejections[0]
        log.error(
            "the database refuses points",
            points=len(rejections),
            measurement=first.point.measurement,
            reason=first.reason,
        )
