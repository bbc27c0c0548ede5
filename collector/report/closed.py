"""A closed month as the record and the archive keep it, and how it is put back."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec
from msgspec import Struct

from collector.ingest.archive_record import ArchiveRecord, ArchiveWriter
from collector.judge.verdict import Month, Verdict
from collector.report.gather import lines_within
from collector.report.model import ChangesSince, LineMonth, MonthlyReport
from collector.store.closed_months import ClosedMonthTable, MonthClosing
from collector.store.errors import StoreRefused
from collector.store.exclusions import Exclusion
from collector.store.line_id import LineId
from collector.store.points import milliseconds
from collector.store.record_db import FILE, has_record, open_record
from xomnet.contract.messages import Access
from xomnet.contract.values import Instant
from xomnet.registry.registry import LineRow
from xomnet.targets import Target

VERSION = 1
"""Of the shape below. A later one must still read this one: tests/unit/closed_month_v1.json."""


class ClosedMonth(Struct, frozen=True, kw_only=True, tag_field="record", tag="closed_month"):
    """A month as it was when it was closed, of all lines."""

    version: int = VERSION
    month: Month
    closed_at: Instant
    by: str
    software: str
    """The version of xomnet that computed it."""
    targets: dict[Access, Target]
    """In force at the end of the month."""
    lines: list[LineMonth]
    before_kept: bool
    registry: list[LineRow]
    """Every row that was in force within the month."""
    exclusions: list[Exclusion]
    """Those that could hold for results of the month."""

    @property
    def closing(self) -> MonthClosing:
        return MonthClosing(str(self.month), self.closed_at, self.by)

    def report(self, area: str | None, made_at: dt.datetime, since: ChangesSince | None = None) -> MonthlyReport:
        """Of the lines of an area, as they stood. Raises ReportError."""
        rows = lines_within([line.row for line in self.lines], area, self.month)
        named = {LineId.of(row) for row in rows}
        lines = [line for line in self.lines if LineId.of(line.row) in named]
        return MonthlyReport(
            self.month, area, made_at, self.targets, lines, self.before_kept, closing=self.closing, since=since
        )


class _RecordHead(Struct):
    record: Literal["closed_month"]
    version: int


def encode(closed: ClosedMonth) -> bytes:
    return msgspec.json.encode(closed)


def decode(record: bytes) -> ClosedMonth:
    """Raises StoreRefused."""
    try:
        version = msgspec.json.decode(record, type=_RecordHead).version
        if version > VERSION:
            raise StoreRefused(f"a closed month has version {version} of its record; this xomnet reads {VERSION}")
        return msgspec.json.decode(record, type=ClosedMonth)
    except msgspec.DecodeError as error:
        raise StoreRefused(f"the record of a closed month can't be read: {error}") from error


class ClosedMonths:
    """The closed months of a record. Everything raises StoreUnavailable, StoreRefused where it is damaged."""

    def __init__(self, table: ClosedMonthTable) -> None:
        self._table = table

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """Makes the file where there is none."""
        return cls(ClosedMonthTable(open_record(state_dir / FILE)))

    @classmethod
    def open_existing(cls, state_dir: Path) -> Self | None:
        """For who only reads; None where nothing was ever closed or excluded here."""
        return cls.open(state_dir) if has_record(state_dir / FILE) else None

    def months(self) -> list[Month]:
        return list(self.closings())

    def closings(self) -> Mapping[Month, MonthClosing]:
        return {Month.parse(closing.month): closing for closing in self._table.closings()}

    def read(self, month: Month) -> ClosedMonth | None:
        record = self._table.record(str(month))
        return None if record is None else decode(record)

    def verdicts(self, month: Month) -> list[tuple[LineRow, Verdict]]:
        """Of every line of a closed month, under the row of its place; none of an open one."""
        closed = self.read(month)
        return [] if closed is None else [(line.row, line.verdict) for line in closed.lines]

    def before(self, month: Month) -> dict[LineId, Verdict] | None:
        """The verdicts of the month before, if that is closed."""
        if month.previous not in self.closings():
            return None
        return {LineId.of(row): verdict for row, verdict in self.verdicts(month.previous)}

    def add(self, closed: ClosedMonth) -> bool:
        """False where the month is closed already."""
        return self._table.add(closed.closing, encode(closed))

    def archive(self, archive: ArchiveWriter) -> None:
        """Gives the archive every closing that it may lack; one that is killed in between gives it once more."""
        for month in self._table.not_archived():
            record = self._table.record(month)
            assert record is not None
            closed_at = decode(record).closed_at
            archive.append([ArchiveRecord(milliseconds(closed_at), "", record)])
            self._table.note_archived(month)

    def restore(self, record: bytes) -> bool:
        """Puts back a closing from the archive's payload. The first of a month stands; False for one more of it."""
        closed = decode(record)
        added = self._table.add(closed.closing, record)
        self._table.note_archived(str(closed.month))
        return added

    def close(self) -> None:
        self._table.close()


def is_closing(payload: bytes) -> bool:
    """Whether a record of the server's own in the archive is a closed month."""
    try:
        msgspec.json.decode(payload, type=_RecordHead)
    except msgspec.DecodeError:
        return False
    return True


def lasting(exclusions: Sequence[Exclusion], since: dt.datetime, until: dt.datetime) -> list[Exclusion]:
    """Those that could hold for what was measured in [since, until): it is received then or at any time after."""
    return [one for one in exclusions if one.may_cover(since, until)]
