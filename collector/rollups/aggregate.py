"""Roll-ups as arithmetic: from what a line gave in an hour or a day to its figures, and from lines to places. Pure.

An hour or a day is of the province's time. A result belongs where it was measured, an outage where it began.
"""

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from collector.judge.assess import counted_mbps, quantile
from collector.judge.verdict import VERDICTS, Verdict
from collector.store.points import SCHEMAS, Point, Value, tags_of, time_ns
from collector.store.row_types import Download, LatencyFigures, OutageTotal
from xomnet.area import areas_of
from xomnet.contract.values import MAX_COUNT, MAX_PORT_MBPS
from xomnet.registry.registry import LineRow

T = TypeVar("T")

Size = Literal["hour", "day"]
Fields = Mapping[str, Value]

HOUR = dt.timedelta(hours=1)
NO_OUTAGE = OutageTotal(0, 0.0)
SUMS = frozenset({"tests", "counted", "failed", "bytes", "probes", "outages", "outage_s", "excluded"})
"""What is added up over the lines of a place; everything else of a line becomes the median over them."""
MAX_LINE_BYTES = MAX_PORT_MBPS * 125_000 * 86_400
"""What the fastest port carries in a day. Ten thousand lines of it are an integer of a database."""
MAX_LINE_OUTAGE_S = 92 * 86_400.0
MEDIANS = tuple(name for name in SCHEMAS["line_day"] if name not in SUMS)


class RollupBucket(NamedTuple):
    """An hour or a day: [since, until), both UTC."""

    size: Size
    since: dt.datetime
    until: dt.datetime


def hour_of(when: dt.datetime) -> RollupBucket:
    """The hours of the province's time begin with those of UTC."""
    since = when.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    return RollupBucket("hour", since, since + HOUR)


def day_of(when: dt.datetime, zone: ZoneInfo) -> RollupBucket:
    day = when.astimezone(zone).date()
    since, until = (dt.datetime.combine(d, dt.time(), zone).astimezone(dt.UTC) for d in (day, day + dt.timedelta(1)))
    return RollupBucket("day", since, until)


def hours_of(day: RollupBucket) -> list[RollupBucket]:
    return [hour_of(day.since + n * HOUR) for n in range((day.until - day.since) // HOUR)]


def portions(agents: Iterable[str], most: int) -> list[list[str]]:
    """Some units at a time, so that no question to the database is long."""
    names = sorted(set(agents))
    return [names[start : start + most] for start in range(0, len(names), most)]


def line_fields(
    downloads: Sequence[Download], latency: LatencyFigures | None, outages: OutageTotal | None, target_mbps: float
) -> dict[str, Value]:
    """The fields of `line_hour` and `line_day`; counts are always there, and figures of nothing are absent.

    `counted` are the tests of the schedule that say something of the line, those that found it down as 0
    (collector.judge.assess): the speeds are theirs, as in a month's verdict. `tests`, `bytes` and `failed`, for
    whatever reason, are of all. The round trips are medians of the probes' and tests' own figures, the loss is
    of all echoes together. What a line can add to the sums of its places is bounded.
    """
    scheduled = (one for one in downloads if one.asked is None)
    speeds = sorted(value for one in scheduled if (value := counted_mbps(one)) is not None)
    middle = median(speeds) if speeds else None
    probes = latency or LatencyFigures(0, 0, 0)
    began = outages or NO_OUTAGE
    return _known(
        tests=len(downloads),
        counted=len(speeds),
        failed=sum(one.error is not None for one in downloads),
        median_mbps=middle,
        mean_mbps=fmean(speeds) if speeds else None,
        p5_mbps=quantile(speeds, 0.05) if speeds else None,
        p95_mbps=quantile(speeds, 0.95) if speeds else None,
        target_mbps=float(target_mbps),
        ratio=None if middle is None else middle / target_mbps,
        bytes=min(MAX_LINE_BYTES, sum(one.bytes or 0 for one in downloads)),
        rtt_ms=probes.rtt_p50_ms,
        rtt_p95_ms=probes.rtt_p95_ms,
        rtt_loaded_ms=_median(one.rtt_loaded_ms for one in downloads),
        jitter_ms=probes.jitter_ms,
        loss_percent=probes.loss_percent,
        probes=probes.probes,
        outages=began.outages,
        outage_s=min(MAX_LINE_OUTAGE_S, began.duration_s),
        excluded=sum(one.excluded is not None for one in downloads),
    )


def line_point(bucket: RollupBucket, row: LineRow, fields: Fields) -> Point:
    return Point(f"line_{bucket.size}", tags_of(row, row.line), fields, time_ns(bucket.since))


def place_points(bucket: RollupBucket, lines: Iterable[tuple[LineRow, Fields]]) -> list[Point]:
    """Of every place that has lines; those that gave nothing have no fields, and count as lines not measured."""
    return [
        Point(f"place_{bucket.size}", tags, place_fields(fields), time_ns(bucket.since))
        for tags, fields in by_place(lines)
    ]


def place_fields(lines: Sequence[Fields]) -> dict[str, Value]:
    """The fields of `place_hour` and `place_day`, from those of its lines."""
    measured = [one for one in lines if "ratio" in one]
    meeting = sum(float(one["ratio"]) >= 1 for one in measured)
    figures: dict[str, Value | None] = {name: _median(_values(lines, name)) for name in MEDIANS}
    sums: dict[str, Value] = {
        name: math.fsum(_values(lines, name)) if name == "outage_s" else min(MAX_COUNT, int(sum(_values(lines, name))))
        for name in SCHEMAS["line_day"]
        if name in SUMS
    }
    return _known(
        **figures,
        **sums,
        lines=len(lines),
        measured=len(measured),
        meeting=meeting,
        share=meeting / len(measured) if measured else None,
    )


def month_fields(verdict: Verdict) -> dict[str, Value]:
    """The fields of `line_month`."""
    named = {name: getattr(verdict, name) for name in SCHEMAS["line_month"] if name != "verdict_code"}
    return _known(**named, verdict_code=VERDICTS.index(verdict.verdict))


def place_month_fields(verdicts: Sequence[Verdict]) -> dict[str, Value]:
    """The fields of `place_month`, from the months of its lines."""
    count = {name: sum(one.verdict == name for one in verdicts) for name in VERDICTS}
    decided = count["met"] + count["not_met"]
    return _known(
        **count,
        lines=len(verdicts),
        share=count["met"] / decided if decided else None,
        ratio=_median(one.ratio for one in verdicts),
    )


def places_of(row: LineRow) -> Iterator[tuple[str, str]]:
    """Scope and place of everything that a line belongs to: the province, each level of its area, its ISP."""
    yield "all", ""
    for area in areas_of(row.area):
        yield "area", area
    yield "isp", row.isp


def by_place(lines: Iterable[tuple[LineRow, T]]) -> list[tuple[dict[str, str], list[T]]]:
    """What belongs to each place and access, under its tags; the province itself has no name."""
    found: dict[tuple[str, str, str], list[T]] = {}
    for row, one in lines:
        for scope, place in places_of(row):
            found.setdefault((scope, place, row.access), []).append(one)
    return [
        ({"scope": scope, "access": access} | ({"place": place} if place else {}), members)
        for (scope, place, access), members in found.items()
    ]


def _values(lines: Iterable[Fields], name: str) -> list[float]:
    return [float(one[name]) for one in lines if name in one]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def _known(**fields: Any) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value is not None}
