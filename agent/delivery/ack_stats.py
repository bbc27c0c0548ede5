"""What the collector has answered to this process."""

import time
from dataclasses import dataclass, replace
from uuid import UUID

from xomnet.contract.messages import Ack


@dataclass(frozen=True, slots=True)
class AckStats:
    """Counts are of results; `spool` is the one whose numbers these are."""

    spool: UUID
    stored: int = 0
    rejected: int = 0
    newest_seq: int = 0
    """The highest number that was answered."""
    rejection: str | None = None
    """Why the last rejected one was."""
    rejected_seq: int = 0
    at_s: float | None = None
    """time.monotonic() of the last answer."""

    def after(self, ack: Ack, spool: UUID) -> "AckStats":
        """With one more answer; pure but for the time."""
        stored = [seq for one in ack.stored if one.spool == spool for seq in one.seqs]
        rejected = [one for one in ack.rejected if one.spool == spool]
        before = self if self.spool == spool else AckStats(spool)
        return replace(
            before,
            stored=self.stored + sum(len(one.seqs) for one in ack.stored),
            rejected=self.rejected + len(ack.rejected),
            newest_seq=max([before.newest_seq, *stored, *(one.seq for one in rejected)]),
            rejection=ack.rejected[-1].reason if ack.rejected else self.rejection,
            rejected_seq=rejected[-1].seq if rejected else before.rejected_seq,
            at_s=time.monotonic(),
        )
