"""What does not count, and why. Stored results never change; entries of this table say what is left out of figures.

Pure: the entries themselves are in `collector.store.exclusion_table`.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

from msgspec import Struct, structs

from collector.store.line_id import LineId
from collector.store.pages import TICK
from collector.store.points import EPOCH, Point, when
from collector.store.row_types import Sample, StoredRow

Row = TypeVar("Row", bound=StoredRow | Sample)

MEASURED_AHEAD = dt.timedelta(hours=24)
"""No result is accepted that was measured so long after it was received."""
FAR = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


class Exclusion(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="record", tag="exclusion"):
    """One entry. Entries are only added; where several hold for a result, the latest decides."""

    action: Literal["exclude", "count"]
    scope: Literal["unit", "line", "server"]
    agent: str = ""
    line: str = ""
    server: str = ""
    basis: Literal["received", "measured"]
    """Which time of a result `since` and `until` speak of: a thief may write any time of measurement."""
    since: dt.datetime
    until: dt.datetime | None = None
    reason: str
    """A word that pages and reports name in the reader's language: `quarantine`."""
    note: str = ""
    by: str
    at: dt.datetime
    """When it was entered."""

    def is_of(self, line: LineId, server: str | None = None) -> bool:
        """True if results of a line, or the unit's own (line ''), may be meant."""
        if self.scope == "server":
            return server is not None and server == self.server
        return line.agent == self.agent and (self.scope == "unit" or line.line == self.line)

    def covers(self, measured: dt.datetime, received_ms: int | None) -> bool:
        """A result without a time of receipt counts as received when it was measured."""
        of_receipt = self.basis == "received" and received_ms is not None
        time = EPOCH + dt.timedelta(milliseconds=received_ms or 0) if of_receipt else measured
        return self.since <= time and (self.until is None or time < self.until)

    def may_cover(self, since: dt.datetime, until: dt.datetime) -> bool:
        """False if it covers nothing that was measured in [since, until)."""
        if self.basis == "received":
            return self.until is None or since - MEASURED_AHEAD < self.until
        return self.since < until and (self.until is None or since < self.until)


class Exclusions:
    """All entries at a moment, in the order in which the table got them; which is the latest, their `at` says: after a
    loss, the archive may put back old ones after new ones.
    """

    def __init__(self, entries: Iterable[Exclusion] = ()) -> None:
        self.entries: Sequence[Exclusion] = tuple(entries)
        self._of_units: dict[str, list[Exclusion]] = {}
        self._of_servers: list[Exclusion] = []
        made = sorted(self.entries, key=lambda one: one.at)
        self._place = {id(one): place for place, one in enumerate(made)}
        for one in reversed(made):
            of = self._of_servers if one.scope == "server" else self._of_units.setdefault(one.agent, [])
            of.append(one)

    @property
    def version(self) -> int:
        """How many entries there are: they are never taken away."""
        return len(self.entries)

    def next_at(self, now: dt.datetime) -> dt.datetime:
        """When an entry that is made now is entered: after all others, also where the clock was set back."""
        return max((now, *(one.at + TICK for one in self.entries)))

    def after(self, version: int) -> Sequence[Exclusion]:
        """The entries that a version did not have yet."""
        return self.entries[version:]

    def may_touch(self, line: LineId, since: dt.datetime, until: dt.datetime = FAR) -> bool:
        """False if no entry of the unit or line speaks of anything that was measured in a time."""
        return any(one.is_of(line) and one.may_cover(since, until) for one in self._of_units.get(line.agent, ()))

    def reason(
        self, line: LineId, at: dt.datetime, received_ms: int | None, late: bool | None, server: str | None = None
    ) -> str | None:
        """Why a result does not count; None where it does. `at` is when it was measured."""
        candidates: Iterable[Exclusion] = self._of_units.get(line.agent, ())
        if self._of_servers and server is not None:
            candidates = sorted((*candidates, *self._of_servers), key=lambda one: -self._place[id(one)])
        for one in candidates:
            if one.is_of(line, server) and one.covers(at, received_ms):
                return one.reason if one.action == "exclude" else None
        return "late" if late else None

    def of_point(self, point: Point) -> str | None:
        """Why a result that is being stored does not count."""
        line = LineId(point.tags["agent"], point.tags.get("line", ""))
        received, late, server = (point.fields.get(name) for name in ("received_ms", "late", "server"))
        of_server = str(server) if server is not None else None
        return self.reason(
            line, when(point.time_ns), None if received is None else int(received), bool(late), of_server
        )

    def marked(self, line: LineId, rows: Sequence[Row]) -> list[Row]:
        """The rows of a line, each with why it does not count (`excluded`)."""
        if line.agent not in self._of_units and not self._of_servers:
            return [structs.replace(row, excluded="late") if row.late else row for row in rows]
        return [row if (why := self.of_row(line, row)) is None else structs.replace(row, excluded=why) for row in rows]

    def of_row(self, line: LineId, row: StoredRow | Sample) -> str | None:
        """Why a row of a line does not count."""
        return self.reason(line, row.at, row.received_ms, row.late, getattr(row, "server", None))


NO_EXCLUSIONS = Exclusions()
