"""Acknowledgements of the collector that this process has received, counted."""

import time
from dataclasses import dataclass, replace
from uuid import UUID

from xomnet.contract.messages import Ack


@dataclass(frozen=True, slots=True)
class AckStats:
    """Counts of results since the start of the process; sequence numbers are those of `spool`."""

    spool: UUID
    stored_count: int = 0
    rejected_count: int = 0
    highest_seq: int = 0
    """The highest number that was acknowledged, stored or rejected."""
    last_rejection: str | None = None
    """The reason of the last rejection."""
    last_rejected_seq: int = 0
    last_ack_s: float | None = None
    """time.monotonic() of the last acknowledgement; None before the first."""

    def with_ack(self, ack: Ack, spool: UUID) -> "AckStats":
        """The counts with one more acknowledgement, received now. `spool` is the id that the spool has now."""
        stored = [seq for one in ack.stored if one.spool == spool for seq in one.seqs]
        rejected = [one for one in ack.rejected if one.spool == spool]
        before = self if self.spool == spool else AckStats(spool)
        return replace(
            before,
            stored_count=self.stored_count + sum(len(one.seqs) for one in ack.stored),
            rejected_count=self.rejected_count + len(ack.rejected),
            highest_seq=max([before.highest_seq, *stored, *(one.seq for one in rejected)]),
            last_rejection=ack.rejected[-1].reason if ack.rejected else self.last_rejection,
            last_rejected_seq=rejected[-1].seq if rejected else before.last_rejected_seq,
            last_ack_s=time.monotonic(),
        )
