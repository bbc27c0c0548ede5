"""The annex: every line, across the page."""

from collections.abc import Sequence

from collector.report import tables
from collector.report.blocks import Cell, Column, Table
from collector.report.model import LineMonth
from collector.report.texts import ReportTexts


def annex_table(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """In the order of area and hamlet."""
    found = tables.of_lines(
        lines,
        tables.where(t, under, 3.3),
        tables.unit_and_line(t, 2.3),
        (Column(t.text("Access"), 1.1), lambda line: Cell(t.access(line.row.access))),
        tables.isp(t),
        tables.target(t),
        (Column(t.text("Verdict"), 2.1), lambda line: tables.verdict_cell(t, line.verdict)),
        tables.median(t, t.text("Median")),
        tables.ends(t),
        tables.samples(t),
        tables.zeros(t),
        (Column(t.text("Days"), 0.8, right=True), lambda line: tables.whole(t, line.verdict.days)),
        (Column(t.text("Of the schedule"), 1.2, right=True), lambda line: tables.share(t, line.verdict.valid_share)),
        (Column(t.text("Mean"), 1, right=True), lambda line: tables.mbps(t, line.verdict.mean_mbps)),
        (Column("P5", 1, right=True), lambda line: tables.mbps(t, line.verdict.p5_mbps)),
        (Column("P95", 1, right=True), lambda line: tables.mbps(t, line.verdict.p95_mbps)),
        (Column(t.text("Steady"), 1, right=True), lambda line: tables.share(t, line.verdict.consistency)),
    )
    number = Column("№" if t.language == "en" else "TT", 0.6, right=True)
    return Table([number, *found.columns], [[tables.whole(t, n), *row] for n, row in enumerate(found.rows, 1)])
