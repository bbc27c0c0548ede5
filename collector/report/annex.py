"""The annex: every line, across the page."""

from collections.abc import Sequence

from collector.report.blocks import Cell, Column, Table
from collector.report.model import LineMonth
from collector.report.tables import interval, mbps, mbps_target, share, unit_and_line, verdict_cell, where, whole
from collector.report.texts import ReportTexts


def annex_table(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """In the order of area and hamlet."""
    columns = [
        Column("№" if t.language == "en" else "TT", 0.6, right=True),
        Column(t.text("Hamlet, area"), 3.4),
        Column(t.text("Unit / line"), 2.6),
        Column(t.text("Access"), 1.1),
        Column(t.text("Provider"), 1.5),
        Column(t.text("Target"), 0.9, right=True),
        Column(t.text("Verdict"), 2),
        Column(t.text("Median"), 1, right=True),
        Column(t.text("95 % interval"), 1.9, right=True),
        Column(t.text("Tests"), 0.9, right=True),
        Column(t.text("Counted as 0"), 0.9, right=True),
        Column(t.text("Days"), 0.8, right=True),
        Column(t.text("Of the schedule"), 1, right=True),
        Column(t.text("Mean"), 1, right=True),
        Column("P5", 1, right=True),
        Column("P95", 1, right=True),
        Column(t.text("Steady"), 1, right=True),
    ]
    return Table(columns, [_row(t, number, line, under) for number, line in enumerate(lines, 1)])


def _row(t: ReportTexts, number: int, line: LineMonth, under: str) -> list[Cell]:
    found = line.verdict
    return [
        whole(t, number),
        where(line, under),
        unit_and_line(line),
        Cell(t.access(line.row.access)),
        Cell(line.row.isp),
        mbps_target(t, found),
        verdict_cell(t, found),
        mbps(t, found.median_mbps, found.target_mbps),
        interval(t, found),
        whole(t, found.samples),
        whole(t, found.failed),
        whole(t, found.days),
        share(t, found.valid_share),
        mbps(t, found.mean_mbps),
        mbps(t, found.p5_mbps),
        mbps(t, found.p95_mbps),
        share(t, found.consistency),
    ]
