"""What the stored results say of an alerted line, beside its speed: what to check first. Pure, but for `gather`."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar
from zoneinfo import ZoneInfo

from collector.judge.assess import counted_mbps
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.row_types import LatencyRow, Sample, SpeedRow
from xomnet.plan import PROVINCE_TIME

BEFORE = dt.timedelta(days=30)
LATENCY_BEFORE = dt.timedelta(days=3)
MAX_READ = 5000
"""Before the alert and since then, of each kind the latest: a month of the schedule has fewer downloads."""
RSRP_DROP_DB = 6.0
RTT_FACTOR, RTT_MORE_MS = 1.5, 10.0
LOSS_FACTOR, LOSS_LEAST = 3.0, 2.0


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure since the alert's beginning, and what it was before: medians."""

    now: float
    before: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """A field is None if nothing is known, or nothing is unusual."""

    flags: frozenset[str] = frozenset()
    """What most tests since then were flagged with."""
    rsrp_dbm: FigureChange | None = None
    technology: tuple[str, str] | None = None
    """Network type before and since."""
    link_mbps: FigureChange | None = None
    rtt_ms: FigureChange | None = None
    loss_percent: FigureChange | None = None
    before_mbps: float | None = None
    met_days: int = 0
    """For how many days in a row, before, the line met its target."""
    confirmations: int = 0
    confirmed_at: dt.datetime | None = None


NOTHING = Evidence()


def gather(store: Store, line: LineId, target_mbps: float, since: dt.datetime, now: dt.datetime) -> Evidence:
    """What the store knows of a line that has been short since then. Raises StoreUnavailable."""
    speed = [
        *store.speed(line, since - BEFORE, since, latest=MAX_READ),
        *store.speed(line, since, now, latest=MAX_READ),
    ]
    latency = [
        *store.latency(line, since - LATENCY_BEFORE, since, latest=MAX_READ),
        *store.latency(line, since, now, latest=MAX_READ),
    ]
    return evidence(
        [row for row in speed if row.excluded is None],
        [row for row in latency if row.excluded is None],
        target_mbps,
        since,
    )


def evidence(
    speed: Sequence[SpeedRow], latency: Sequence[LatencyRow], target_mbps: float, since: dt.datetime
) -> Evidence:
    """Both in the order of time."""
    was, new = [r for r in speed if r.at < since], [r for r in speed if r.at >= since]
    confirming = [r.at for r in new if r.asked == "confirmation"]
    rsrp = _change(was, new, lambda r: r.radio.rsrp_dbm if r.radio else None)
    link = _change(was, new, lambda r: r.link_mbps)
    old_echoes, new_echoes = [r for r in latency if r.at < since], [r for r in latency if r.at >= since]
    rtt = _change(old_echoes, new_echoes, lambda r: r.rtt_p50_ms)
    loss = _loss(old_echoes, new_echoes)
    counted = [(r.at, mbps) for r in was if (mbps := counted_mbps(_sample(r))) is not None]
    return Evidence(
        flags=_flags(new),
        rsrp_dbm=rsrp if rsrp and rsrp.before - rsrp.now >= RSRP_DROP_DB else None,
        technology=_technology(was, new),
        link_mbps=link if link and link.now < link.before else None,
        rtt_ms=rtt if rtt and rtt.now >= max(RTT_FACTOR * rtt.before, rtt.before + RTT_MORE_MS) else None,
        loss_percent=loss if loss and loss.now >= max(LOSS_LEAST, LOSS_FACTOR * loss.before) else None,
        before_mbps=median(mbps for _, mbps in counted) if counted else None,
        met_days=_days_met(counted, target_mbps),
        confirmations=len(confirming),
        confirmed_at=confirming[-1] if confirming else None,
    )


Row = TypeVar("Row", SpeedRow, LatencyRow)


def _change(was: Iterable[Row], new: Iterable[Row], of: Callable[[Row], float | None]) -> FigureChange | None:
    before = [value for row in was if (value := of(row)) is not None]
    now = [value for row in new if (value := of(row)) is not None]
    return FigureChange(median(now), median(before)) if before and now else None


def _loss(was: Sequence[LatencyRow], new: Sequence[LatencyRow]) -> FigureChange | None:
    """Lost of sent: a median would be 0 on a line that loses now and then."""
    sent = [sum(row.sent for row in rows) for rows in (new, was)]
    if not all(sent):
        return None
    now, before = (100 * (1 - sum(r.received for r in rows) / n) for rows, n in zip((new, was), sent, strict=True))
    return FigureChange(now, before)


def _flags(new: Sequence[SpeedRow]) -> frozenset[str]:
    counted = Counter(flag for row in new for flag in row.flags)
    return frozenset(flag for flag, times in counted.items() if 2 * times > len(new))


def _technology(was: Sequence[SpeedRow], new: Sequence[SpeedRow]) -> tuple[str, str] | None:
    radios = ([row.radio for row in rows if row.radio is not None and row.radio.technologies] for rows in (was, new))
    before, now = (Counter(radio.technologies[0] for radio in one) for one in radios)
    if not before or not now:
        return None
    old, new_one = before.most_common(1)[0][0], now.most_common(1)[0][0]
    return None if old == new_one else (old, new_one)


def _days_met(counted: Sequence[tuple[dt.datetime, float]], target_mbps: float) -> int:
    days: dict[dt.date, list[float]] = {}
    for at, mbps in counted:
        days.setdefault(at.astimezone(ZoneInfo(PROVINCE_TIME)).date(), []).append(mbps)
    met = 0
    for day in sorted(days, reverse=True):
        if median(days[day]) < target_mbps:
            break
        met += 1
    return met


def _sample(row: SpeedRow) -> Sample:
    return Sample(row.at, row.down_mbps, row.flags, row.error, row.asked)
