"""What the archive keeps of an accepted message, and the seam between who accepts and who keeps."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collector.store.points import Point


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


def record_of(payload: bytes, point: Point, agent: str) -> ArchiveRecord:
    """Of an accepted message and the point that became of it."""
    received, late = point.fields["received_ms"], point.fields.get("late")
    assert isinstance(received, int)
    return ArchiveRecord(received, agent, payload, late is True)
