"""Manifests: what a spool took in, told once a day, so that the collector can tell a gap from silence. Pure."""

import datetime as dt
import hashlib
import random
from collections.abc import Iterable

from xomnet.messages import Event

MOST_ROWS = 5_000
"""Results that may be untold; then a round is due before its day."""
DAY_S = 86_400


def day_of(agent: str, now: dt.datetime) -> int:
    """The number of the unit's own day: it begins at a random time of day that is always the same for this unit."""
    begins_s = random.Random(f"{agent}/manifest").randrange(DAY_S)  # noqa: S311
    return int(now.timestamp() - begins_s) // DAY_S


def manifests(rows: Iterable[tuple[int, str | None]], first: int, last: int) -> list[tuple[str | None, Event]]:
    """One round: for each line, and for the unit itself (None), what of `rows` (number, line; rising) is its own."""
    of_lines: dict[str | None, list[int]] = {None: []}
    for seq, line in rows:
        of_lines.setdefault(line, []).append(seq)
    return [(line, _manifest(seqs, first, last)) for line, seqs in of_lines.items()]


def _manifest(seqs: list[int], first: int, last: int) -> Event:
    digest = hashlib.sha256(",".join(map(str, seqs)).encode()).hexdigest()[:32]
    return Event(name="manifest", first_seq=first, last_seq=last, count=len(seqs), digest=digest)
