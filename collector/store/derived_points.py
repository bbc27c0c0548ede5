"""Writing what the collector worked out itself."""

from collections.abc import Sequence

from collector.store import Store
from collector.store.points import Point
from xomnet.runtime.log import Log

log = Log("collector.store")


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
