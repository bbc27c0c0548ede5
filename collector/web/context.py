"""What every handler is given beside the request."""

from dataclasses import dataclass

from collector.judge.line_states import Snapshot
from collector.services import Services
from collector.web.errors import not_judged_yet
from collector.web.operator import OperatorAccess
from collector.web.store_reads import StoreReads
from xomnet.runtime.clock import UtcClock


@dataclass(frozen=True, slots=True)
class Context:
    services: Services
    reads: StoreReads
    operator: OperatorAccess
    openapi: bytes
    """The OpenAPI document, as JSON."""
    now: UtcClock

    def snapshot(self) -> Snapshot:
        """The lines as last judged. Raises RequestError."""
        snapshot = self.services.lines.latest
        if snapshot is None:
            raise not_judged_yet()
        return snapshot

    @property
    def max_snapshot_age_s(self) -> float:
        """Beyond that a snapshot is old: three were missed."""
        return max(30.0, 3 * self.services.lines.interval_s)
