"""Closing a month: from then on its figures, targets, registry rows and exclusions stay as they are."""

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from collector.ingest.archive_record import ArchiveWriter
from collector.judge.verdict import Month
from collector.report.changes import rows_in_force
from collector.report.closed import ClosedMonth, ClosedMonths, lasting
from collector.report.gather import ReportError, bounds, gather
from collector.store import Store
from collector.store.closed_months import MonthClosing
from collector.store.errors import StoreUnavailable
from collector.store.exclusions import Exclusion
from xomnet import __version__
from xomnet.contract.characters import printable
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import Registry
from xomnet.targets import Targets

MAX_NAME = 100


def close_month(
    months: ClosedMonths,
    store: Store,
    registry: Registry,
    targets: Targets,
    exclusions: Sequence[Exclusion],
    month: Month,
    by: str,
    now: dt.datetime,
    kept_since: dt.datetime | None = None,
    archive: ArchiveWriter | None = None,
) -> ClosedMonth:
    """What is received from `now` on comes late. The month is closed with one commit of the record; the archive has it
    then, or when this or the collector's start asks again. Raises ReportError or StoreUnavailable.
    """
    name = _checked(by)
    since, until = bounds(registry, month, now)
    if now < month.until(registry.zone.key):
        raise ReportError(f"{month} is not over; close it from {month.next}-01 on")
    if archive is not None:
        months.archive(archive)
    if (done := months.closings().get(month)) is not None:
        raise ReportError(refusal(done))
    report = gather(store, registry, targets, month, None, now, kept_since, months.before(month))
    closed = ClosedMonth(
        month=month,
        closed_at=now,
        by=name,
        software=__version__,
        targets=dict(report.targets),
        lines=list(report.lines),
        before_kept=report.before_kept,
        registry=rows_in_force(registry, since, until),
        exclusions=lasting(exclusions, since, until),
    )
    if not months.add(closed):
        raise ReportError(refusal(months.closings()[month]))
    try:
        if archive is not None:
            months.archive(archive)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{month} is closed; the archive does not have it yet, and gets it later: {error}"
        ) from error
    return closed


def refusal(done: MonthClosing) -> str:
    at = f"{done.at.astimezone(ZoneInfo(PROVINCE_TIME)):%Y-%m-%d %H:%M}"
    return (
        f"{done.month} was closed on {at} by {done.by}; a closed month is never opened again:"
        f" `xomnet report --month {done.month}` lists what has changed since"
    )


def _checked(by: str) -> str:
    name = " ".join(by.split())
    if not name or name != printable(name) or len(name) > MAX_NAME:
        raise ReportError(f"--by: found {by!r}; write the name of who closes the month, at most {MAX_NAME} letters")
    return name
