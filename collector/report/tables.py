"""The report's tables: which figures of lines stand in which column. Pure."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from collector.judge.verdict import Verdict, VerdictName
from collector.report.blocks import Bar, Bars, Cell, Table, TableColumn
from collector.report.model import LineMonth
from collector.report.summary import VerdictCounts, area_under, group_lines, tally
from collector.report.texts import LOOKS, ReportTexts
from collector.texts.words import exclusions_phrase
from xomnet.area import below, levels

LinesTable = Callable[[ReportTexts, Sequence[LineMonth], str], Table]
"""Of some lines; the area that all lines of the report share is not said in each row."""

Figure = tuple[TableColumn, Callable[[LineMonth], Cell]]
"""A column, and what stands in it of a line."""

DASH = Cell("–")
TO = "\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}"
MAX_TIMES = 6
"""Of failed tests are named in the table; all stand in the CSV."""
TALLY_WIDTHS: Mapping[VerdictName, float] = {"met": 1.2, "not_met": 1.2, "not_certain": 1.6, "unmeasured": 1.9}
"""Each as wide as the longest word of its verdict."""


def whole(t: ReportTexts, value: int) -> Cell:
    return Cell(t.number(value, 0), value)


def mbps(t: ReportTexts, value: float | None, target: float | None = None) -> Cell:
    if value is None:
        return DASH
    text = t.mbps(value, target)
    return Cell(text, value, len(text) - len(text.rstrip("0123456789")))


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


def bars(t: ReportTexts, title: str, groups: Sequence[tuple[str, Sequence[LineMonth]]]) -> Bars:
    found = [Bar(label, tally(lines).by_verdict) for label, lines in groups if lines]
    return Bars(title, found, {name: f"{look.mark} {t.verdict(name)}" for name, look in LOOKS.items()})


def _tally_columns(t: ReportTexts, first: str) -> list[TableColumn]:
    return [
        TableColumn(first, 2.8),
        TableColumn(t.text("Lines"), 1.1, right=True),
        *(TableColumn(t.verdict(name), TALLY_WIDTHS[name], right=True) for name in LOOKS),
        TableColumn(t.text("Share met"), 1.1, right=True),
        TableColumn(t.text("Median speed of the lines (Mb/s)"), 1.5, right=True),
        TableColumn(t.text("Hamlets met / measured / all"), 1.6, right=True),
    ]


def _tally_row(t: ReportTexts, label: str, found: VerdictCounts, target: float | None) -> list[Cell]:
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
    return _tallies(t, t.text("Area"), group_lines(lines, area_under(every)), lines, target)


def by_isp(t: ReportTexts, lines: Sequence[LineMonth], target: float) -> Table:
    return _tallies(t, t.text("Provider"), group_lines(lines, lambda line: line.row.isp), lines, target)


def _tallies(
    t: ReportTexts, first: str, groups: dict[str, list[LineMonth]], lines: Sequence[LineMonth], target: float
) -> Table:
    rows = [_tally_row(t, name, tally(own), target) for name, own in groups.items()]
    total = _tally_row(t, t.text("All"), tally(lines), target) if len(rows) > 1 else None
    return Table(_tally_columns(t, first), rows, total)


def of_lines(lines: Sequence[LineMonth], *figures: Figure) -> Table:
    """A row a line."""
    return Table([column for column, _ in figures], [[cell(line) for _, cell in figures] for line in lines])


def where(t: ReportTexts, under: str, width: float = 3) -> Figure:
    """Hamlet and area, the nearest first; what all lines share, `under`, is left out."""

    def cell(line: LineMonth) -> Cell:
        return Cell(", ".join([line.row.hamlet, *reversed(levels(below(line.row.area, under)))]))

    return TableColumn(t.text("Hamlet, area"), width), cell


def unit_and_line(t: ReportTexts, width: float = 2) -> Figure:
    return TableColumn(t.text("Unit / line"), width), lambda line: Cell(f"{line.row.agent} / {line.row.line}")


def isp(t: ReportTexts) -> Figure:
    return TableColumn(t.text("Provider"), 1.5), lambda line: Cell(line.row.isp)


def target(t: ReportTexts) -> Figure:
    def cell(line: LineMonth) -> Cell:
        own = line.verdict.target_mbps
        return Cell(t.target(own), own, 0 if own == int(own) else 1)

    return TableColumn(t.text("Target"), 1, right=True), cell


def median(t: ReportTexts, title: str) -> Figure:
    return (
        TableColumn(title, 1.2, right=True),
        lambda line: mbps(t, line.verdict.median_mbps, line.verdict.target_mbps),
    )


def ends(t: ReportTexts) -> Figure:
    return TableColumn(t.text("95% interval"), 1.9, right=True), lambda line: interval(t, line.verdict)


def samples(t: ReportTexts) -> Figure:
    return TableColumn(t.text("Tests"), 0.9, right=True), lambda line: whole(t, line.verdict.samples)


def left_out(t: ReportTexts) -> Figure:
    """Tests that an exclusion takes out, or that came late."""

    def cell(line: LineMonth) -> Cell:
        return whole(t, sum(n for _, n in line.verdict.excluded_for))

    return TableColumn(t.text("Left out"), 0.9, right=True), cell


def zeros(t: ReportTexts) -> Figure:
    return TableColumn(t.text("Counted as 0"), 1.2, right=True), lambda line: whole(t, line.verdict.failed)


def not_met(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        isp(t),
        target(t),
        median(t, t.text("Median (Mb/s)")),
        (TableColumn(t.text("Share of target"), 1, right=True), lambda line: share(t, line.verdict.ratio)),
        ends(t),
        samples(t),
        zeros(t),
    )


def not_certain(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    def why(line: LineMonth) -> Cell:
        return Cell("; ".join(t.reason(reason) for reason in line.verdict.reasons))

    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        isp(t),
        target(t),
        median(t, t.text("Median (Mb/s)")),
        ends(t),
        samples(t),
        (TableColumn(t.text("Why"), 2.8), why),
    )


def unmeasured(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        isp(t),
        (
            TableColumn(t.text("Tests that do not count"), 1.4, right=True),
            lambda line: whole(t, line.verdict.excluded),
        ),
        (TableColumn(t.text("Days without a test"), 1.4, right=True), lambda line: whole(t, line.silent_days)),
        (TableColumn(t.text("Last test"), 1.6, right=True), lambda line: _when(t, line.last_test_at)),
    )


def changed(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    def figures(verdict: Verdict) -> Cell:
        found = mbps(t, verdict.median_mbps, verdict.target_mbps).text
        return Cell(found if verdict.low_mbps is None else f"{found} ({interval(t, verdict).text})")

    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        (TableColumn(t.text("Previous month"), 2.2), lambda line: verdict_cell(t, line.before)),
        (TableColumn(t.text("Median, interval"), 2.5, right=True), lambda line: figures(line.before)),
        (TableColumn(t.text("This month"), 2.2), lambda line: verdict_cell(t, line.verdict)),
        (TableColumn(t.text("Median, interval"), 2.5, right=True), lambda line: figures(line.verdict)),
    )


def outages(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        isp(t),
        (TableColumn(t.text("Outages"), 1, right=True), lambda line: whole(t, line.outages)),
        (TableColumn(t.text("In total"), 1.1, right=True), lambda line: Cell(t.hours(line.outage_s))),
        (TableColumn(t.text("Longest"), 1.1, right=True), lambda line: Cell(t.hours(line.longest_outage_s))),
    )


def silent(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """A row a unit."""
    units = group_lines(lines, lambda line: line.row.agent)

    def last(line: LineMonth) -> Cell:
        times = [own.last_test_at for own in units[line.row.agent] if own.last_test_at is not None]
        return _when(t, max(times, default=None))

    return of_lines(
        [own[0] for own in units.values()],
        where(t, under),
        (TableColumn(t.text("Unit"), 2.2), lambda line: Cell(line.row.agent)),
        (TableColumn(t.text("Days without a test"), 1.4, right=True), lambda line: whole(t, line.unit_silent_days)),
        (TableColumn(t.text("Last test"), 1.6, right=True), last),
    )


def failed(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    def times(line: LineMonth) -> Cell:
        said = "; ".join(t.minute(at) for at in line.failed_at[:MAX_TIMES])
        more = len(line.failed_at) - MAX_TIMES
        return Cell(said + t.text("; and {n} more in the CSV", n=t.number(more, 0)) if more > 0 else said)

    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        samples(t),
        zeros(t),
        (TableColumn(t.text("When"), 4.2), times),
    )


def excluded(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> Table:
    """What counts of the schedule, and beside it what is left out."""

    def counted(line: LineMonth) -> Cell:
        return Cell(f"{t.number(line.verdict.samples, 0)} / {t.number(line.verdict.expected, 0)}")

    return of_lines(
        lines,
        where(t, under),
        unit_and_line(t),
        (TableColumn(t.text("Counted / scheduled"), 1.4, right=True), counted),
        left_out(t),
        (TableColumn(t.text("Why"), 2.8), lambda line: Cell(exclusions_phrase(line.verdict.excluded_for, t))),
    )


def _when(t: ReportTexts, at: dt.datetime | None) -> Cell:
    return DASH if at is None else Cell(t.minute(at))
