"""The report's tables: which figures of lines stand in which column. Pure."""

from collections.abc import Callable, Sequence

from collector.report.blocks import Bar, Bars, Cell, Column, Table
from collector.report.model import LineMonth
from collector.report.summary import Tally, area_under, grouped, tally
from collector.report.texts import LOOKS, ReportTexts
from collector.verdict import Verdict

LinesTable = Callable[[ReportTexts, Sequence[LineMonth], str], Table]
"""Of some lines; the area that all lines of the report share is not said in each row."""

DASH = Cell("–")
TO = "\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}"
MOST_TIMES = 6
"""Of failed tests are named in the table; all stand in the CSV."""


def whole(t: ReportTexts, value: int) -> Cell:
    return Cell(t.number(value, 0), value)


def mbps(t: ReportTexts, value: float | None, target: float | None = None) -> Cell:
    return DASH if value is None else Cell(t.mbps(value, target), value, 1)


def share(t: ReportTexts, value: float | None) -> Cell:
    return DASH if value is None else Cell(t.percent(value), value, share=True)


def interval(t: ReportTexts, verdict: Verdict) -> Cell:
    if verdict.low_mbps is None or verdict.high_mbps is None:
        return DASH
    low, high = (t.mbps(end, verdict.target_mbps) for end in (verdict.low_mbps, verdict.high_mbps))
    return Cell(f"{low}{TO}{high}")


def verdict_cell(t: ReportTexts, verdict: Verdict) -> Cell:
    name = verdict.verdict
    return Cell(f"{LOOKS[name].mark} {t.verdict(name)}", verdict=name)


def where(line: LineMonth, under: str) -> Cell:
    """Hamlet and area, the nearest first; what all lines share, `under`, is left out."""
    area = line.row.area.removeprefix(under).strip("/")
    return Cell(", ".join([line.row.hamlet, *reversed(area.split("/"))]) if area else line.row.hamlet)


def unit_and_line(line: LineMonth) -> Cell:
    return Cell(f"{line.row.agent} / {line.row.line}")


def bars(t: ReportTexts, title: str, groups: Sequence[tuple[str, Sequence[LineMonth]]]) -> Bars:
    found = [Bar(label, tally(lines).by_verdict) for label, lines in groups if lines]
    return Bars(title, found, {name: f"{look.mark} {t.verdict(name)}" for name, look in LOOKS.items()})


def _tally_columns(t: ReportTexts, first: str) -> list[Column]:
    return [
        Column(first, 3.2),
        Column(t.text("Lines"), 1.2, right=True),
        *(Column(t.verdict(name), 1.5, right=True) for name in LOOKS),
        Column(t.text("Share met"), 1.1, right=True),
        Column(t.text("Median of medians (Mb/s)"), 1.5, right=True),
        Column(t.text("Hamlets met / measured / all"), 1.6, right=True),
    ]


def _tally_row(t: ReportTexts, label: str, found: Tally, target: float | None) -> list[Cell]:
    hamlets = found.hamlets_by_verdict
    three = (hamlets["met"], found.hamlets - hamlets["unmeasured"], found.hamlets)
    return [
        Cell(label),
        whole(t, found.lines),
        *(whole(t, found.by_verdict[name]) for name in LOOKS),
        share(t, found.share_met),
        mbps(t, found.median_mbps, target),
        Cell(" / ".join(t.number(n, 0) for n in three)),
    ]


def by_area(t: ReportTexts, lines: Sequence[LineMonth], every: Sequence[LineMonth], target: float) -> Table:
    """Lines of one access type; the level of the areas is that of `every` line of the report."""
    return _tallies(t, t.text("Area"), grouped(lines, area_under(every)), lines, target)


def by_isp(t: ReportTexts, lines: Sequence[LineMonth], target: float) -> Table:
    return _tallies(t, t.text("Provider"), grouped(lines, lambda line: line.row.isp), lines, target)


def _tallies(
    t: ReportTexts, first: str, groups: dict[str, list[LineMonth]], lines: Sequence[LineMonth], target: float
) -> Table:
    rows = [_tally_row(t, name, tally(own), target) for name, own in groups.items()]
    total = _tally_row(t, t.text("All"), tally(lines), target) if len(rows) > 1 else None
    return Table(_tally_columns(t, first), rows, total)


def _line_columns(t: ReportTexts) -> list[Column]:
    return [
        Column(t.text("Hamlet, area"), 3.2),
        Column(t.text("Unit / line"), 2),
        Column(t.text("Provider"), 1.6),
    ]


def _line_cells(line: LineMonth, under: str) -> list[Cell]:
    return [where(line, under), unit_and_line(line), Cell(line.row.isp)]


def not_met(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t),
        Column(t.text("Target"), 0.9, right=True),
        Column(t.text("Median (Mb/s)"), 1.1, right=True),
        Column(t.text("Of the target"), 1, right=True),
        Column(t.text("95 % interval"), 1.9, right=True),
        Column(t.text("Tests"), 0.9, right=True),
        Column(t.text("Counted as 0"), 0.9, right=True),
    ]
    rows = [
        [
            *_line_cells(line, under),
            mbps_target(t, line.verdict),
            mbps(t, line.verdict.median_mbps, line.verdict.target_mbps),
            share(t, line.verdict.ratio),
            interval(t, line.verdict),
            whole(t, line.verdict.samples),
            whole(t, line.verdict.failed),
        ]
        for line in lines
    ]
    return Table(columns, rows)


def mbps_target(t: ReportTexts, verdict: Verdict) -> Cell:
    return Cell(
        t.target(verdict.target_mbps), verdict.target_mbps, 0 if verdict.target_mbps == int(verdict.target_mbps) else 1
    )


def not_certain(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t),
        Column(t.text("Target"), 0.9, right=True),
        Column(t.text("Median (Mb/s)"), 1.1, right=True),
        Column(t.text("95 % interval"), 1.9, right=True),
        Column(t.text("Tests"), 0.9, right=True),
        Column(t.text("Why"), 2.8),
    ]
    rows = [
        [
            *_line_cells(line, under),
            mbps_target(t, line.verdict),
            mbps(t, line.verdict.median_mbps, line.verdict.target_mbps),
            interval(t, line.verdict),
            whole(t, line.verdict.samples),
            Cell("; ".join(t.reason(reason) for reason in line.verdict.reasons)),
        ]
        for line in lines
    ]
    return Table(columns, rows)


def unmeasured(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t),
        Column(t.text("Tests that do not count"), 1.4, right=True),
        Column(t.text("Days without a test"), 1.4, right=True),
        Column(t.text("Last test"), 1.6, right=True),
    ]
    rows = [
        [
            *_line_cells(line, under),
            whole(t, line.verdict.excluded),
            whole(t, line.silent_days),
            Cell("–" if line.last_test_at is None else t.minute(line.last_test_at)),
        ]
        for line in lines
    ]
    return Table(columns, rows)


def changed(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t)[:2],
        Column(t.text("Month before"), 1.8),
        Column(t.text("Median, interval"), 2.7, right=True),
        Column(t.text("This month"), 1.8),
        Column(t.text("Median, interval"), 2.7, right=True),
    ]
    rows = [
        [
            *_line_cells(line, under)[:2],
            verdict_cell(t, line.before),
            _median_and_interval(t, line.before),
            verdict_cell(t, line.verdict),
            _median_and_interval(t, line.verdict),
        ]
        for line in lines
    ]
    return Table(columns, rows)


def _median_and_interval(t: ReportTexts, verdict: Verdict) -> Cell:
    ends = "" if verdict.low_mbps is None else f" ({interval(t, verdict).text})"
    return Cell(mbps(t, verdict.median_mbps, verdict.target_mbps).text + ends)


def outages(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t),
        Column(t.text("Outages"), 1, right=True),
        Column(t.text("In all"), 1.1, right=True),
        Column(t.text("The longest"), 1.1, right=True),
    ]
    rows = [
        [
            *_line_cells(line, under),
            whole(t, line.outages),
            Cell(t.hours(line.outage_s)),
            Cell(t.hours(line.longest_outage_s)),
        ]
        for line in lines
    ]
    return Table(columns, rows)


def silent(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """A row a unit."""
    columns = [
        Column(t.text("Hamlet, area"), 3.2),
        Column(t.text("Unit"), 2.2),
        Column(t.text("Days without a test"), 1.4, right=True),
        Column(t.text("Last test"), 1.6, right=True),
    ]
    rows = []
    for agent, own in grouped(lines, lambda line: line.row.agent).items():
        last = max((line.last_test_at for line in own if line.last_test_at is not None), default=None)
        when = Cell("–" if last is None else t.minute(last))
        rows.append([where(own[0], under), Cell(agent), whole(t, own[0].unit_silent_days), when])
    return Table(columns, rows)


def failed(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    columns = [
        *_line_columns(t)[:2],
        Column(t.text("Tests"), 0.8, right=True),
        Column(t.text("Counted as 0"), 0.9, right=True),
        Column(t.text("When"), 4.2),
    ]
    rows = []
    for line in lines:
        times = [t.minute(at) for at in line.failed_at[:MOST_TIMES]]
        more = len(line.failed_at) - len(times)
        said = "; ".join(times) + (t.text("; and {n} more, in the CSV", n=t.number(more, 0)) if more else "")
        numbers = (whole(t, line.verdict.samples), whole(t, line.verdict.failed))
        rows.append([*_line_cells(line, under)[:2], *numbers, Cell(said)])
    return Table(columns, rows)
