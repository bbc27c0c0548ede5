"""Where results live. One small protocol; `sqlite` is embedded, `influx` is for a province."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from collector.store.line_id import LineId
from collector.store.points import Point, Rejection
from collector.store.row_types import (
    Download,
    EventRow,
    HealthRow,
    LatencyFigures,
    LatencyRow,
    OutageRow,
    OutageTotal,
    Sample,
    SpeedRow,
    Stamp,
)

Lines = Collection[LineId] | None
"""Some lines, not many: a question names each of them. None: all."""

Agents = Collection[str] | None
"""Some units, not many: a question names each of them. None: all."""


class Added(NamedTuple):
    """What became of results. Those that are in neither are new."""

    rejections: list[Rejection]
    known: Mapping[int, int]
    """id(point) of each that was stored before (or stands twice in the batch) -> the `received_ms` that is stored with
    it; of one that was stored without, its time in milliseconds.
    """
    late: frozenset[int] = frozenset()
    """id(point) of those known that are stored as late."""


class Figures(Protocol):
    """Of all lines together, or of those of some agents.

    Ranges and errors as in `Store`. A line that has nothing of the kind is absent. Late results are left out of
    `latency` and `outages`, which say how many.
    """

    def downloads(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, list[Download]]:
        """Each line's in the order of time."""

    def latency(
        self, since: dt.datetime, until: dt.datetime, agents: Agents = None
    ) -> dict[LineId, LatencyFigures]: ...

    def outages(self, since: dt.datetime, until: dt.datetime, agents: Agents = None) -> dict[LineId, OutageTotal]: ...

    def counts(self, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        """How many downloads, latency results and outages are stored, whether they count or not."""

    def rolled_counts(self, measurement: str, since: dt.datetime, until: dt.datetime) -> dict[LineId, int]:
        """How many of them the points of `line_hour` or `line_day` were made of, or left out."""

    def points(self, measurement: str, since: dt.datetime, until: dt.datetime) -> list[Point]:
        """What the collector itself wrote into a measurement, as it was written, in no order."""


class Store(Protocol):
    """Times are aware; ranges are [since, until); every read raises StoreUnavailable where the database is away.

    `latest` bounds what is read: of each line, or of an agent, at most that many, the latest. What does not count is
    named in rows (`excluded`) only by an `ExcludingStore`, which readers are given.
    """

    @property
    def figures(self) -> Figures: ...

    def add(self, results: Sequence[Point]) -> Added:
        """As `write`, of results that units sent. One that is stored already stays as it is, with its receipt.

        A result is known by agent, line, measurement, microsecond, spool and seq, whatever its tags are.
        """

    def find(self, results: Sequence[Point]) -> Added:
        """As `add`, but writes nothing: which of them are stored already."""

    def write(self, points: Sequence[Point]) -> list[Rejection]:
        """Returns when every point is durable or rejected. Writing a point again changes nothing.

        A rejection holds the very object that was given.
        Raises StoreUnavailable: then nothing is promised of any of them, and all may be written again.
        """

    def rewrite(self, points: Sequence[Point]) -> list[Rejection]:
        """As `write`, of what the collector itself works out: the fields that a point no longer has go."""

    def speed(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[SpeedRow]:
        """Without the raw material of the contract's declaration, unless it is asked for: it is bulky."""

    def latency(
        self, line: LineId, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[LatencyRow]:
        """As `speed`."""

    def outages(
        self, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[OutageRow]: ...

    def samples(
        self, since: dt.datetime, until: dt.datetime, lines: Lines = None, latest: int | None = None
    ) -> dict[LineId, list[Sample]]:
        """Download tests, each line's in the order of time."""

    def last_results(self, since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        """When each line was last measured, by download or latency; late results do not tell."""

    def stamps(
        self, measurement: str, line: LineId, since: dt.datetime, until: dt.datetime, latest: int | None = None
    ) -> list[Stamp]:
        """Of a line's results of one kind, in the order of time; line '' is the unit itself."""

    def health(self, since: dt.datetime, agent: str | None = None, raw: bool = False) -> dict[str, HealthRow]:
        """The last health of one agent or of each; raw material as in `speed`."""

    def healths(
        self, agent: str, since: dt.datetime, until: dt.datetime, raw: bool = False, latest: int | None = None
    ) -> list[HealthRow]:
        """All of an agent, in the order of time; raw material as in `speed`."""

    def events(
        self,
        name: str | None,
        since: dt.datetime,
        until: dt.datetime,
        agent: str | None = None,
        latest: int | None = None,
    ) -> dict[LineId, list[EventRow]]:
        """Events of a name or of all, of one agent or of all, each line's in the order of time; the unit itself is line
        ''.
        """

    def numbers(
        self, agent: str, spool: str, first: int, last: int, since: dt.datetime, until: dt.datetime
    ) -> dict[int, str]:
        """Which results `first` to `last` of a unit's spool are stored, of all kinds: number -> line, '' the unit."""

    def spool_depths(
        self, agents: Collection[str], since: dt.datetime, received_before: dt.datetime
    ) -> dict[str, list[tuple[dt.datetime, int]]]:
        """Of each of some units the least number of waiting results that it reported in each hour, with the hour's
        beginning, in order; without reports of an estimated clock.
        """

    def has_results(self, line: LineId, since: dt.datetime, until: dt.datetime) -> bool:
        """True where anything that a unit sent of a line is stored; line '' is the unit itself."""

    def ping(self) -> None:
        """Raises StoreUnavailable where the database does not answer."""

    def close(self) -> None: ...
