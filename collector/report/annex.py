"""The annex: every line, across the page."""

from collections.abc import Sequence

from collector.report import tables
from collector.report.blocks import Cell, Table, TableColumn
from collector.report.model import LineMonth
from collector.report.texts import ReportTexts


def annex_table(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """In the order of area and hamlet."""
    found = tables.of_lines(
        lines,
        tables.where(t, under, 3.3),
        tables.unit_and_line(t, 2.3),
        (TableColumn(t.text("Access type"), 1.1), lambda line: Cell(t.access(line.row.access))),
        tables.isp(t),
        tables.target(t),
        (TableColumn(t.text("Verdict"), 2.1), lambda line: tables.verdict_cell(t, line.verdict)),
        tables.median(t, t.text("Median")),
        tables.ends(t),
        tables.samples(t),
        *([tables.left_out(t)] if any(line.verdict.excluded_for for line in lines) else []),
        tables.zeros(t),
        (TableColumn(t.text("Days"), 0.8, right=True), lambda line: tables.whole(t, line.verdict.days)),
        (
            TableColumn(t.text("Share of schedule"), 1.2, right=True),
            lambda line: tables.share(t, line.verdict.valid_share),
        ),
        (TableColumn(t.text("Mean"), 1, right=True), lambda line: tables.mbps(t, line.verdict.mean_mbps)),
        (TableColumn("P5", 1, right=True), lambda line: tables.mbps(t, line.verdict.p5_mbps)),
        (TableColumn("P95", 1, right=True), lambda line: tables.mbps(t, line.verdict.p95_mbps)),
        (TableColumn(t.text("Steady"), 1, right=True), lambda line: tables.share(t, line.verdict.consistency)),
    )
    number = TableColumn("№" if t.language == "en" else "TT", 0.6, right=True)
    return Table([number, *found.columns], [[tables.whole(t, n), *row] for n, row in enumerate(found.rows, 1)])
