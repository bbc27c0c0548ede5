"""What the running unit knows of itself, as one document: `/status.json`, `xomnet agent status`."""

import datetime as dt
import time
from collections.abc import Callable

from msgspec import Struct

from agent.clock.clock import ClockReading, ReadClock
from agent.clock.timestamps import best_estimate
from agent.delivery.spool import Spool, SpoolError
from agent.delivery.uplink import Uplink
from agent.loop import AgentLoop
from agent.schedule.line_state import LineState
from agent.settings import AgentSettings
from xomnet import __version__
from xomnet.contract.messages import Access


class LineReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line; of its last test since the start of the service either a figure or an error."""

    line: str
    access: Access
    interface: str | None = None
    testing: bool
    last_test_at: dt.datetime | None = None
    last_mbps: float | None = None
    last_error: str | None = None
    next_test_at: dt.datetime | None = None
    used_bytes: int
    """In this month, by the ledger."""
    budget_bytes: int | None = None


class AgentStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Absent is what is not known, or never was. Times are of the unit's clock, which `clock_known` says is right."""

    agent: str
    version: str
    since: dt.datetime
    """When this process began."""
    up_s: float
    clock_known: bool
    connected: bool
    """To the broker."""
    away: str | None = None
    """Why not."""
    refusal: str | None = None
    """Why the broker did not deliver the last result."""
    waiting: int | None = None
    """Results without an answer; absent where the spool can't be read."""
    spool_bytes: int
    last_ack_at: dt.datetime | None = None
    """The collector's last answer to this process."""
    last_ack_age_s: float | None = None
    stored: int
    """Results that the collector has stored since `since`."""
    rejected: int
    rejection: str | None = None
    """Why the last one was."""
    rejected_seq: int = 0
    newest_seq: int = 0
    """The highest number of the spool that was answered."""
    lines: tuple[LineReport, ...] = ()

    @property
    def answered(self) -> int:
        return self.stored + self.rejected


def status_source(unit: AgentLoop, uplink: Uplink, spool: Spool, read_clock: ReadClock) -> Callable[[], AgentStatus]:
    """Gives the status at any time, from any thread, of a process that begins now."""
    began = time.monotonic()

    def tell() -> AgentStatus:
        settings, lines, meter = unit.told
        now, heard, at = read_clock(settings.clock.assume_synced), uplink.heard, time.monotonic()
        now = best_estimate(now, str(spool.boot), spool.times)
        ack_age_s = None if heard.at_s is None else at - heard.at_s
        return AgentStatus(
            agent=settings.agent,
            version=__version__,
            since=_whole(now.wall, at - began),
            up_s=round(at - began, 1),
            clock_known=now.synced,
            connected=uplink.connected,
            away=uplink.away,
            refusal=uplink.refusal,
            waiting=_depth(spool),
            spool_bytes=spool.size_bytes(),
            last_ack_at=None if ack_age_s is None else now.wall - dt.timedelta(seconds=ack_age_s),
            last_ack_age_s=None if ack_age_s is None else round(ack_age_s, 1),
            stored=heard.stored,
            rejected=heard.rejected,
            rejection=heard.rejection,
            rejected_seq=heard.rejected_seq,
            newest_seq=heard.newest_seq,
            lines=tuple(_line(line, settings, meter.used(line.settings), now, at) for line in lines),
        )

    return tell


def _line(line: LineState, settings: AgentSettings, used: int, now: ClockReading, at: float) -> LineReport:
    one, last = line.settings, line.last
    wait_s = None if line.test_at is None else max(0.0, line.test_at - at)
    servers = one.servers or settings.servers or one.engine != "http"
    return LineReport(
        line=one.line,
        access=one.access,
        interface=one.interface,
        testing=line.testing,
        last_test_at=None if last is None else last[0],
        last_mbps=None if last is None else last[1].down_mbps,
        last_error=None if last is None else last[1].error,
        next_test_at=_whole(now.wall, -wait_s) if wait_s is not None and servers else None,
        used_bytes=used,
        budget_bytes=one.budget_bytes,
    )


def _whole(wall: dt.datetime, ago_s: float) -> dt.datetime:
    """So long before, to the second."""
    return (wall - dt.timedelta(seconds=ago_s)).replace(microsecond=0)


def _depth(spool: Spool) -> int | None:
    try:
        return spool.depth()
    except SpoolError:
        return None
