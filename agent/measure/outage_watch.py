"""Watches the outages of each line, over restarts of the agent and of the unit."""

from agent.clock.clock import ClockReading
from agent.clock.timestamps import Dated, Undated, best_estimate, date_result, to_micros
from agent.delivery.spool import Spool, SpoolError
from agent.measure.outage import EndedOutage, Watch, after_probe, after_reboot, parse_watch, to_text
from xomnet.runtime.log import Log

log = Log("agent.measure.outage_watch")


def spool_key(line: str) -> str:
    """The spool's key of a line's watch (`Spool.get_value`)."""
    return f"outage/{line}"


class OutageWatches:
    """A watch for each line. The spool is written only when an outage begins; the commit of its end clears the key."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._boot = spool, str(spool.boot)
        self._of_lines: dict[str, Watch] = {}
        self._to_clear: set[str] = set()
        """Lines whose outage is over and whose key may still be there: a full disk may have refused its end."""

    def watch_of(self, line: str) -> Watch:
        """A line's watch, as this process or the one before left it."""
        if line not in self._of_lines:
            try:
                self._of_lines[line] = parse_watch(self._spool.get_value(spool_key(line)), self._boot)
            except SpoolError as error:
                log.error("outage not remembered", line=line, reason=str(error))
                self._of_lines[line] = Watch()
        return self._of_lines[line]

    def after_probe(self, line: str, answered: bool, at: ClockReading, anchors: tuple[str, ...]) -> EndedOutage | None:
        """The outage that this probe ended; None if it ended none. An outage of an earlier boot ends when the time is
        known.
        """
        before = self.watch_of(line)
        if line in self._to_clear and self._store(line, None):
            self._to_clear.discard(line)
        ended = self._next_watch(line, before, answered, at, anchors)
        if ended is not None:
            self._to_clear.add(line)
        elif self._of_lines[line].is_outage and not before.is_outage:
            self._store(line, to_text(self._of_lines[line], self._boot))
        return ended

    def _next_watch(
        self, line: str, before: Watch, answered: bool, at: ClockReading, anchors: tuple[str, ...]
    ) -> EndedOutage | None:
        if before.boot is not None and answered:
            began, now = self._began(before, at), best_estimate(at, self._boot, self._spool.times)
            if began is None or not now.synced:
                return None
            self._of_lines[line] = Watch()
            return after_reboot(before, began, now.wall, anchors)
        self._of_lines[line], ended = after_probe(before, answered, at, anchors)
        return ended

    def _store(self, line: str, text: str | None) -> bool:
        try:
            self._spool.set_value(spool_key(line), text)
        except SpoolError as error:
            log.error("outage not written down", line=line, reason=str(error))
            return False
        return True

    def _began(self, watch: Watch, now: ClockReading) -> Dated | None:
        if watch.since is None or watch.boot is None:
            return None
        wall_us = to_micros(watch.since.wall)
        if watch.since.synced:
            return wall_us, "synced", None
        return date_result(Undated(watch.boot, watch.since.boot_ns, wall_us), self._boot, now, self._spool.times, 0.0)
