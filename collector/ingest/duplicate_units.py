"""Two machines under one name: a copied card, or a stolen certificate that is used beside its unit.

One machine never returns to a spool that it has left: a file that is damaged, or finds itself on another machine, goes
on under a new id. So new results that come from two spools in turns come from two machines. A unit also says itself
that another machine ends its connections (`session_taken_over`).
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collector.store.points import Point, when
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log

log = Log("collector.ingest.duplicate_units")

NEW, AHEAD = dt.timedelta(minutes=15), dt.timedelta(minutes=1)
"""How long ago a result that tells was measured, and how far the unit's clock may be ahead."""
MIN_RETURNS, RETURNS_WITHIN = 2, dt.timedelta(hours=2)
AGAIN_AFTER = dt.timedelta(days=1)
MAX_SPOOLS = 8
"""Former spools of a unit that are remembered."""
TAKEN_OVER = "session_taken_over"


@dataclass(slots=True)
class _Turns:
    """Which spool of a unit has the newest result, and when it was one's turn again."""

    spool: str
    newest_ns: int
    former: list[str] = field(default_factory=list)
    returns: list[dt.datetime] = field(default_factory=list)

    def take(self, spool: str, time_ns: int, now: dt.datetime) -> bool:
        """True if there have been several returns."""
        if time_ns <= self.newest_ns:
            return False
        self.newest_ns = time_ns
        if spool == self.spool:
            return False
        if spool in self.former:
            self.returns = [*(at for at in self.returns if now - at < RETURNS_WITHIN), now][-MIN_RETURNS:]
            self.former.remove(spool)
        self.former = [*self.former, self.spool][-MAX_SPOOLS:]
        self.spool = spool
        return len(self.returns) >= MIN_RETURNS


class DuplicateUnits:
    """Listens to what is stored, in the worker's thread; calls `on_found` with a unit's name, at most once a day."""

    def __init__(self, on_found: Callable[[str], None], now: UtcClock) -> None:
        self._on_found, self._now = on_found, now
        self._turns: dict[str, _Turns] = {}
        self._found_at: dict[str, dt.datetime] = {}

    def on_stored(self, points: Sequence[Point]) -> None:
        now = self._now()
        for point in points:
            if self._shows_two(point, now):
                self._report(point.tags["agent"], now)

    def _shows_two(self, point: Point, now: dt.datetime) -> bool:
        age = now - when(point.time_ns)
        if point.fields.get("name") == TAKEN_OVER:
            return age <= AGAIN_AFTER
        if point.fields["clock"] == "estimated" or not -AHEAD <= age <= NEW:
            return False
        spool = str(point.fields["spool"])
        turns = self._turns.setdefault(point.tags["agent"], _Turns(spool, 0))
        return turns.take(spool, point.time_ns, now)

    def _report(self, agent: str, now: dt.datetime) -> None:
        if agent in self._found_at and now - self._found_at[agent] < AGAIN_AFTER:
            return
        self._found_at[agent] = now
        log.warning("two machines under one name", agent=agent)
        self._on_found(agent)
