"""What the server itself put into the archive, back into the record: exclusions and closed months, where they lack."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.ingest.archive_record import ArchiveRecord
from collector.report.closed import ClosedMonths, decode, is_closing
from collector.store.errors import StoreRefused
from collector.store.exclusion_table import ExclusionTable
from collector.store.exclusions import Exclusion
from collector.store.record_db import FILE


class RestoredRecord(NamedTuple):
    """How much was put back, or would be."""

    exclusions: int
    months: int
    unknown: int
    """Of a kind that this version does not know."""


class Record:
    """The record of a state folder; made where there is none. Everything raises StoreUnavailable."""

    def __init__(self, state_dir: Path) -> None:
        self.exclusions = ExclusionTable(state_dir / FILE)
        self.closed = ClosedMonths.open(state_dir)

    def restore(self, records: Iterable[ArchiveRecord], dry_run: bool) -> RestoredRecord:
        """Adds what is not there yet, in the order in which it was decided."""
        present, months = set(self.exclusions.current().entries), set(self.closed.months())
        exclusions = closings = unknown = 0
        for record in sorted(records, key=lambda one: one.received_ms):
            if is_closing(record.payload):
                try:
                    month = decode(record.payload).month
                except StoreRefused:  # of a later version
                    unknown += 1
                    continue
                if month not in months:
                    months.add(month)
                    closings += 1
                    if not dry_run:
                        self.closed.restore(record.payload)
            elif (entry := _exclusion(record.payload)) is None:
                unknown += 1
            elif entry not in present:
                present.add(entry)
                exclusions += 1
                if not dry_run:
                    self.exclusions.add(entry)
        return RestoredRecord(exclusions, closings, unknown)

    def close(self) -> None:
        self.exclusions.close()
        self.closed.close()


def _exclusion(payload: bytes) -> Exclusion | None:
    try:
        return msgspec.json.decode(payload, type=Exclusion)
    except msgspec.DecodeError:
        return None
