"""The watch over each line's outages, which goes on after a restart of the agent or of the unit."""

from agent.clock.clock import ClockReading
from agent.clock.timestamps import Dated, Undated, best_estimate, date, micros
from agent.delivery.spool import Spool, SpoolError
from agent.measure.outage import Ended, Watch, after_probe, after_reboot, text_of, watch_of
from xomnet.runtime.log import Log

log = Log("agent.measure.outage_watch")


def key_of(line: str) -> str:
    """Where the spool keeps it."""
    return f"outage/{line}"


class OutageWatches:
    """One for each line. The spool is written to only where an outage begins; the commit of its end clears that."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._boot = spool, str(spool.boot)
        self._of_lines: dict[str, Watch] = {}
        self._ended: set[str] = set()
        """Lines whose outage is over, and perhaps not yet forgotten: a full disk may have refused its end."""

    def of(self, line: str) -> Watch:
        """As it was left, by whichever process."""
        if line not in self._of_lines:
            try:
                self._of_lines[line] = watch_of(self._spool.get_value(key_of(line)), self._boot)
            except SpoolError as error:
                log.error("outage not remembered", line=line, reason=str(error))
                self._of_lines[line] = Watch()
        return self._of_lines[line]

    def after_probe(self, line: str, answered: bool, at: ClockReading, anchors: tuple[str, ...]) -> Ended | None:
        """The outage that this probe ended, if it did. One of an earlier boot ends when the time is known."""
        before = self.of(line)
        if line in self._ended and self._keep(line, None):
            self._ended.discard(line)
        ended = self._probed(line, before, answered, at, anchors)
        if ended is not None:
            self._ended.add(line)
        elif self._of_lines[line].is_outage and not before.is_outage:
            self._keep(line, text_of(self._of_lines[line], self._boot))
        return ended

    def _probed(
        self, line: str, before: Watch, answered: bool, at: ClockReading, anchors: tuple[str, ...]
    ) -> Ended | None:
        if before.boot is not None and answered:
            began, now = self._began(before, at), best_estimate(at, self._boot, self._spool.times)
            if began is None or not now.synced:
                return None
            self._of_lines[line] = Watch()
            return after_reboot(before, began, now.wall, anchors)
        self._of_lines[line], ended = after_probe(before, answered, at, anchors)
        return ended

    def _keep(self, line: str, text: str | None) -> bool:
        try:
            self._spool.set_value(key_of(line), text)
        except SpoolError as error:
            log.error("outage not written down", line=line, reason=str(error))
            return False
        return True

    def _began(self, watch: Watch, now: ClockReading) -> Dated | None:
        if watch.since is None or watch.boot is None:
            return None
        wall_us = micros(watch.since.wall)
        if watch.since.synced:
            return wall_us, "synced", None
        return date(Undated(watch.boot, watch.since.boot_ns, wall_us), self._boot, now, self._spool.times, 0.0)
