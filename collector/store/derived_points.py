"""Writing what the collector worked out itself."""

from collections.abc import Sequence

from collector.store import Store
from collector.store.points import Point, Rejection
from xomnet.runtime.log import Log

log = Log("collector.store")


def write_own(store: Store, points: Sequence[Point]) -> None:
    """Writes what the collector worked out itself. No unit waits for an answer to it, so what the database refuses is
    said in the log. Raises StoreUnavailable.
    """
    _log_refused(store.write(points))


def rewrite_own(store: Store, points: Sequence[Point]) -> None:
    """As `write_own`, where points may have fields no longer."""
    _log_refused(store.rewrite(points))


def _log_refused(rejections: Sequence[Rejection]) -> None:
    if rejections:
        first = rejections[0]
        log.error(
            "the database refuses points",
            points=len(rejections),
            measurement=first.point.measurement,
            reason=first.reason,
        )
