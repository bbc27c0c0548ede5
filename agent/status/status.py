"""The status of the running unit as one document: `/status.json`, `xomnet agent status`."""

import datetime as dt
import time
from collections.abc import Callable

from msgspec import Struct

from agent.clock.clock import ClockReading, ReadClock
from agent.clock.timestamps import best_estimate
from agent.delivery.spool import Spool, SpoolError
from agent.delivery.uplink import Uplink
from agent.engines import ENGINES
from agent.loop import AgentLoop
from agent.schedule.line_state import LineState
from agent.settings import AgentSettings
from xomnet import __version__
from xomnet.contract.messages import Access


class LineReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line; its last test since the start of the service has either a figure or an error."""

    line: str
    access: Access
    interface: str | None = None
    testing: bool
    last_test_at: dt.datetime | None = None
    last_mbps: float | None = None
    last_error: str | None = None
    next_test_at: dt.datetime | None = None
    used_bytes: int
    """Bytes of this month, by the data budget."""
    budget_bytes: int | None = None


class AgentStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field that is not known is absent. Times are by the unit's clock; `clock_known` says whether it is right."""

    agent: str
    version: str
    since: dt.datetime
    """When this process began."""
    up_s: float
    clock_known: bool
    connected: bool
    """To the broker."""
    away: str | None = None
    """Why it is not connected."""
    refusal: str | None = None
    """Why the broker did not deliver the last result."""
    waiting: int | None = None
    """Results without an acknowledgement; absent if the spool can't be read."""
    spool_bytes: int
    last_ack_at: dt.datetime | None = None
    """The last acknowledgement that this process received."""
    last_ack_age_s: float | None = None
    stored: int
    """Results that the collector has stored since `since`."""
    rejected: int
    rejection: str | None = None
    """The reason of the last rejection."""
    rejected_seq: int = 0
    newest_seq: int = 0
    """The highest sequence number that was acknowledged."""
    lines: tuple[LineReport, ...] = ()

    @property
    def answered(self) -> int:
        """Results that were acknowledged, stored or rejected."""
        return self.stored + self.rejected


def status_source(loop: AgentLoop, uplink: Uplink, spool: Spool, read_clock: ReadClock) -> Callable[[], AgentStatus]:
    """A function that gives the status of this process, which starts now; any thread may call it at any time."""
    began = time.monotonic()

    def status() -> AgentStatus:
        settings, lines, meter = loop.status_view
        now, acks, at = read_clock(settings.clock.assume_synced), uplink.ack_stats, time.monotonic()
        now = best_estimate(now, str(spool.boot), spool.times)
        ack_age_s = None if acks.last_ack_s is None else at - acks.last_ack_s
        return AgentStatus(
            agent=settings.agent,
            version=__version__,
            since=_seconds_before(now.wall, at - began),
            up_s=round(at - began, 1),
            clock_known=now.synced,
            connected=uplink.connected,
            away=uplink.disconnect_reason,
            refusal=uplink.broker_refusal,
            waiting=_depth(spool),
            spool_bytes=spool.size_bytes(),
            last_ack_at=None if ack_age_s is None else now.wall - dt.timedelta(seconds=ack_age_s),
            last_ack_age_s=None if ack_age_s is None else round(ack_age_s, 1),
            stored=acks.stored_count,
            rejected=acks.rejected_count,
            rejection=acks.last_rejection,
            rejected_seq=acks.last_rejected_seq,
            newest_seq=acks.highest_seq,
            lines=tuple(_line(line, settings, meter.used_bytes(line.settings), now, at) for line in lines),
        )

    return status


def _line(line: LineState, settings: AgentSettings, used: int, now: ClockReading, at: float) -> LineReport:
    one, last = line.settings, line.last_test
    wait_s = None if line.test_at is None else max(0.0, line.test_at - at)
    servers = one.servers or settings.servers or ENGINES[one.engine].server_list
    return LineReport(
        line=one.line,
        access=one.access,
        interface=one.interface,
        testing=line.testing,
        last_test_at=None if last is None else last[0],
        last_mbps=None if last is None else last[1].down_mbps,
        last_error=None if last is None else last[1].error,
        next_test_at=_seconds_before(now.wall, -wait_s) if wait_s is not None and servers else None,
        used_bytes=used,
        budget_bytes=one.budget_bytes,
    )


def _seconds_before(wall: dt.datetime, ago_s: float) -> dt.datetime:
    """The time `ago_s` before `wall`, to the second."""
    return (wall - dt.timedelta(seconds=ago_s)).replace(microsecond=0)


def _depth(spool: Spool) -> int | None:
    try:
        return spool.depth()
    except SpoolError:
        return None
