"""Receipts: what a spool took in, reported once a day, so that the collector can tell a gap from silence. Pure.

On the wire a receipt is the event `manifest`; in the spool's file the results that no receipt has counted are `untold`.
"""

import datetime as dt
import random
from collections.abc import Iterator, Sequence

from agent.delivery.spool_file import SKIPPED_SEQS
from xomnet.contract.messages import Event
from xomnet.contract.receipt_digest import digest

MAX_ROWS = 5_000
"""Results that may wait for a receipt; then a round is due before its day."""
DAY_S = 86_400


def receipt_day(agent: str, now: dt.datetime) -> int:
    """The number of the unit's own day: it begins at a random time of day that is always the same for this unit."""
    begins_s = random.Random(f"{agent}/manifest").randrange(DAY_S)  # noqa: S311
    return int(now.timestamp() - begins_s) // DAY_S


def spool_receipts(rows: Sequence[tuple[int, str | None]], first: int, last: int) -> Iterator[tuple[str | None, Event]]:
    """A receipt for each line, and one for the unit itself (None), over the numbers `first` to `last`.

    `rows` are the results that no receipt has counted: number and line, rising. Numbers that a boot skipped are in no
    round: the collector could not tell them from lost ones.
    """
    part: list[tuple[int, str | None]] = []
    for row in rows:
        if row[0] - (part[-1][0] if part else first - 1) > SKIPPED_SEQS[0]:
            yield from _receipts_of_round(part, first, part[-1][0] if part else first)
            part, first = [], row[0]
        part.append(row)
    yield from _receipts_of_round(part, first, last)


def _receipts_of_round(
    rows: Sequence[tuple[int, str | None]], first: int, last: int
) -> Iterator[tuple[str | None, Event]]:
    if not rows:
        return
    of_lines: dict[str | None, list[int]] = {None: []}
    for seq, line in rows:
        of_lines.setdefault(line, []).append(seq)
    for line, seqs in of_lines.items():
        yield line, Event(name="manifest", first_seq=first, last_seq=last, count=len(seqs), digest=digest(seqs))
