"""What the archive keeps of an accepted message, and the seam between who accepts and who keeps."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collector.ingest.validate import Accepted
from collector.store import Added


class ArchiveRecord(NamedTuple):
    """An accepted message as it came. With `agent` '' it is the server's own word (an exclusion, a closed month)."""

    received_ms: int
    """Milliseconds since 1970, by the server's clock; of a result, when it was stored first."""
    agent: str
    payload: bytes
    late: bool = False
    """It came later than the unit's own reports explain."""


class ArchiveWriter(Protocol):
    def append(self, records: Sequence[ArchiveRecord]) -> None:
        """Returns when they are on the disk. Raises StoreUnavailable: then all may be appended again."""


def archive_record(one: Accepted, payload: bytes, added: Added) -> ArchiveRecord:
    """The record of a result that is stored: of one that was stored before, with the receipt that is stored."""
    received_ms = added.known.get(id(one.point))
    if received_ms is None:
        fields = one.point.fields
        return ArchiveRecord(int(fields["received_ms"]), one.id.agent, payload, bool(fields.get("late")))
    return ArchiveRecord(received_ms, one.id.agent, payload, id(one.point) in added.late)
