"""The rows behind every figure: one a line, the same in the CSV and in the spreadsheet."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from collector.report.model import LineMonth, LineSince, MonthlyReport
from collector.store.line_id import LineId

Value = str | int | float | dt.datetime | None

COLUMNS: Mapping[str, Callable[[LineMonth], Value]] = {
    "agent": lambda line: line.row.agent,
    "line": lambda line: line.row.line,
    "access": lambda line: line.row.access,
    "isp": lambda line: line.row.isp,
    "hamlet_code": lambda line: line.row.hamlet_code,
    "hamlet": lambda line: line.row.hamlet,
    "area": lambda line: line.row.area,
    "plan_mbps": lambda line: line.row.plan_mbps,
    "target_mbps": lambda line: line.verdict.target_mbps,
    "verdict": lambda line: line.verdict.verdict,
    "reasons": lambda line: " ".join(line.verdict.reasons),
    "median_mbps": lambda line: line.verdict.median_mbps,
    "low_mbps": lambda line: line.verdict.low_mbps,
    "high_mbps": lambda line: line.verdict.high_mbps,
    "samples": lambda line: line.verdict.samples,
    "days": lambda line: line.verdict.days,
    "peak_samples": lambda line: line.verdict.peak_samples,
    "failed": lambda line: line.verdict.failed,
    "excluded": lambda line: line.verdict.excluded,
    "excluded_for": lambda line: " ".join(f"{reason}={n}" for reason, n in line.verdict.excluded_for),
    "expected": lambda line: line.verdict.expected,
    "ratio": lambda line: line.verdict.ratio,
    "mean_mbps": lambda line: line.verdict.mean_mbps,
    "p5_mbps": lambda line: line.verdict.p5_mbps,
    "p95_mbps": lambda line: line.verdict.p95_mbps,
    "consistency": lambda line: line.verdict.consistency,
    "change": lambda line: line.change,
    "before_verdict": lambda line: line.before.verdict,
    "before_median_mbps": lambda line: line.before.median_mbps,
    "before_low_mbps": lambda line: line.before.low_mbps,
    "before_high_mbps": lambda line: line.before.high_mbps,
    "before_samples": lambda line: line.before.samples,
    "before_excluded_for": lambda line: " ".join(f"{reason}={n}" for reason, n in line.before.excluded_for),
    "outages": lambda line: line.outages,
    "outage_s": lambda line: line.outage_s,
    "longest_outage_s": lambda line: line.longest_outage_s,
    "silent_days": lambda line: line.silent_days,
    "unit_silent_days": lambda line: line.unit_silent_days,
    "last_test_at": lambda line: line.last_test_at,
    "taken_out_at": lambda line: line.taken_out_at,
    "failed_at": lambda line: " ".join(stamp(at) for at in line.failed_at),
}
"""Name -> figure; Mb/s, seconds, shares of 1. Absent is empty."""

OF_THE_MONTH: Mapping[str, Callable[[MonthlyReport], Value]] = {
    "month": lambda report: str(report.month),
    "as_of": lambda report: report.as_of,
    "closed_at": lambda report: report.closing.at if report.closing else None,
    "closed_by": lambda report: report.closing.by if report.closing else None,
}
"""The same in every row."""

OF_THE_ROW = ("agent", "line", "access", "isp", "hamlet_code", "hamlet", "area", "plan_mbps")
FIGURES = tuple(name for name in COLUMNS if not name.startswith(("before_", "change")) and name not in OF_THE_ROW)

HEADER = (*OF_THE_MONTH, *COLUMNS, "late_results", "changed_by", *(f"now_{name}" for name in FIGURES))
"""`late_results` and all behind it are of a closed month: what came after, and figures that would be others today."""


def rows(report: MonthlyReport) -> Iterator[list[Value]]:
    """Of each line, in the order of HEADER; of a month before that is no longer kept nothing is said.

    A line that would be in a closed month today has a row without figures of the month, behind the others.
    """
    since = {LineId.of(one.row): one for one in report.since.lines} if report.since else {}
    for line in report.lines:
        said = {name: of for name, of in COLUMNS.items() if report.before_kept or not name.startswith("before_")}
        figures = [said[name](line) if name in said else None for name in COLUMNS]
        yield [*_of_month(report), *figures, *_since(report, LineId.of(line.row), since.get(LineId.of(line.row)))]
    for one in since.values():
        if one.then is None and one.now is not None:
            of_row = [COLUMNS[name](one.now) if name in OF_THE_ROW else None for name in COLUMNS]
            yield [*_of_month(report), *of_row, *_since(report, LineId.of(one.row), one)]


def _of_month(report: MonthlyReport) -> list[Value]:
    return [of(report) for of in OF_THE_MONTH.values()]


def _since(report: MonthlyReport, line: LineId, changed: LineSince | None) -> list[Value]:
    late = report.since.late.get(line, 0) if report.since and report.since.recomputed else None
    now = changed.now if changed else None
    figures = [COLUMNS[name](now) if now else None for name in FIGURES]
    return [late, " ".join(changed.causes) if changed else None, *figures]


def stamp(at: dt.datetime) -> str:
    """RFC 3339 in UTC, as everywhere."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
