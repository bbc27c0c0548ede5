"""What changed since a month was closed, beside the closed figures. Pure."""

from collections.abc import Sequence

from collector.report import tables
from collector.report.blocks import Block, Cell, Paragraph, Section, Table, TableColumn
from collector.report.model import (
    ChangesSince,
    ExclusionSince,
    LineMonth,
    LineSince,
    MonthlyReport,
    RegistryChange,
    TargetChange,
)
from collector.report.summary import shared_area
from collector.report.texts import CELL_NAMES, EDITS, ReportTexts
from collector.store.exclusions import Exclusion
from collector.store.line_id import LineId
from collector.store.points import EPOCH
from collector.texts.words import exclusion_word
from xomnet.area import below, levels
from xomnet.registry.registry import LineRow
from xomnet.targets import Target


def since_closing(t: ReportTexts, report: MonthlyReport) -> list[Section]:
    """Nothing of a month that is not closed."""
    if report.closing is None or report.since is None:
        return []
    closing, since = report.closing, report.since
    said = t.text(
        "The figures of this report are those of {when}, closed by {name}. What follows came later and changes"
        " nothing in them.",
        when=t.instant(closing.at),
        name=closing.by,
    )
    title = t.text("7. Changes since the month was closed")
    if not since.some:
        text = t.text("There is no change up to {when}.", when=t.instant(report.made_at))
        if since.recomputed:
            text = t.text(
                "There is no change up to {when}: computed again, every figure is the same.",
                when=t.instant(report.made_at),
            )
        return [Section(title, 1, [Paragraph(said), Paragraph(text), *_not_known(t, since)])]
    under = shared_area(report.lines)
    parts: Sequence[tuple[str, Sequence[Block]]] = [
        (t.text("7.1. Results received after the closing"), _late(t, report, since, under)),
        (
            t.text("7.2. Exclusions and releases entered since: proposed, not applied"),
            [_exclusions(t, since.exclusions)] if since.exclusions else [],
        ),
        (t.text("7.3. Registry"), [_registry(t, since.registry, under)] if since.registry else []),
        (t.text("7.4. Targets"), [_targets(t, since.targets)] if since.targets else []),
        (t.text("7.5. Lines with other figures today"), _lines(t, since.lines, under)),
    ]
    none = Paragraph(t.text("None."))
    return [
        Section(title, 1, [Paragraph(said), *_not_known(t, since)]),
        *(Section(name, 2, blocks or [none]) for name, blocks in parts if blocks or since.recomputed),
    ]


def _not_known(t: ReportTexts, since: ChangesSince) -> list[Paragraph]:
    if since.recomputed:
        return []
    text = t.text("The results of the month are no longer all stored: late results and today's figures are not known.")
    return [Paragraph(text)]


def _where(row: LineRow, under: str) -> str:
    return ", ".join([row.hamlet, *reversed(levels(below(row.area, under)))])


def _line(row: LineRow, under: str) -> Cell:
    return Cell(f"{_where(row, under)}; {row.agent} / {row.line}")


def _late(t: ReportTexts, report: MonthlyReport, since: ChangesSince, under: str) -> list[Block]:
    named = [*(line.row for line in report.lines), *(line.row for line in since.lines)]
    rows = {LineId.of(row): row for row in named}
    counts = {line: n for line, n in since.late.items() if line in rows}
    if not counts:
        return []
    columns = [
        TableColumn(t.text("Hamlet, area; unit / line"), 5),
        TableColumn(t.text("Results received after the closing"), 2, right=True),
    ]
    total = [Cell(t.text("All")), tables.whole(t, sum(counts.values()))] if len(counts) > 1 else None
    return [Table(columns, [[_line(rows[line], under), tables.whole(t, n)] for line, n in counts.items()], total)]


def _exclusions(t: ReportTexts, found: Sequence[ExclusionSince]) -> Table:
    columns = [
        TableColumn(t.text("Results of"), 2),
        TableColumn(t.text("Time"), 3),
        TableColumn(t.text("Proposal"), 2.6),
        TableColumn(t.text("Entered by"), 2.2),
        TableColumn(t.text("Tests of the month"), 1.2, right=True),
    ]
    return Table(columns, [_exclusion(t, one) for one in found])


def _exclusion(t: ReportTexts, found: ExclusionSince) -> list[Cell]:
    one = found.entry
    of = one.server if one.scope == "server" else f"{one.agent} / {one.line}" if one.line else one.agent
    excludes = one.action == "exclude"
    said = t.text("do not count") if excludes else t.text("count again")
    why = [text for text in (exclusion_word(one.reason, t) if excludes else "", one.note) if text]
    return [
        Cell(of),
        Cell(_time(t, one)),
        Cell(f"{said}: {'; '.join(why)}" if why else said),
        Cell(f"{one.by}, {t.instant(one.at)}"),
        tables.whole(t, found.tests),
    ]


def _time(t: ReportTexts, one: Exclusion) -> str:
    since, until = t.instant(one.since), None if one.until is None else t.instant(one.until)
    if one.since == EPOCH:
        if until is None:
            return t.text("all results")
        if one.basis == "measured":
            return t.text("measured until {until}", until=until)
        return t.text("received until {until}", until=until)
    if one.basis == "measured":
        if until is None:
            return t.text("measured from {since} on", since=since)
        return t.text("measured from {since} to {until}", since=since, until=until)
    if until is None:
        return t.text("received from {since} on", since=since)
    return t.text("received from {since} to {until}", since=since, until=until)


def _registry(t: ReportTexts, changes: Sequence[RegistryChange], under: str) -> Table:
    columns = [
        TableColumn(t.text("Hamlet, area; unit / line"), 3.6),
        TableColumn(t.text("Change"), 2.4),
        TableColumn(t.text("At the closing"), 2),
        TableColumn(t.text("Today"), 2),
    ]
    rows = []
    for one in changes:
        name = CELL_NAMES[one.column] if one.edit == "changed" else EDITS[one.edit]
        change = t.text(name, day=t.date(one.row.from_))
        rows.append([_line(one.row, under), Cell(change), _value(t, one, one.then), _value(t, one, one.now)])
    return Table(columns, rows)


def _value(t: ReportTexts, change: RegistryChange, value: str | float | None) -> Cell:
    if value is None:
        return tables.DASH
    if change.column == "access":
        return Cell(t.access("fixed" if value == "fixed" else "mobile"))
    return Cell(value if isinstance(value, str) else t.target(value))


def _targets(t: ReportTexts, changes: Sequence[TargetChange]) -> Table:
    def cell(target: Target) -> Cell:
        source = f", {t.document(target.source)}" if target.source else ""
        since = t.text("since {day}", day=t.date(target.from_))
        return Cell(f"{t.target(target.down_mbps)} Mb/s{source}, {since}")

    columns = [
        TableColumn(t.text("Access type"), 1.5),
        TableColumn(t.text("At the closing"), 3),
        TableColumn(t.text("Today"), 3),
    ]
    return Table(columns, [[Cell(t.access(one.access)), cell(one.then), cell(one.now)] for one in changes])


def _lines(t: ReportTexts, lines: Sequence[LineSince], under: str) -> list[Block]:
    """In a table those that look otherwise in it, another verdict first."""
    if not lines:
        return []
    rows = [(one, _figures(t, one.then), _figures(t, one.now)) for one in lines]
    shown = [row for row in rows if row[1] != row[2]]
    shown.sort(key=lambda row: row[1][0] == row[2][0])
    said = t.text(
        "{lines} lines would have other figures today, {other} of them another verdict.",
        lines=t.number(len(lines), 0),
        other=t.number(sum(then[0] != now[0] for _, then, now in shown), 0),
    )
    columns = [
        TableColumn(t.text("Hamlet, area; unit / line"), 3),
        TableColumn(t.text("Closed verdict"), 2.5),
        TableColumn(t.text("Closed median (interval)"), 2.3, right=True),
        TableColumn(t.text("Closed: tests"), 1.2, right=True),
        TableColumn(t.text("Verdict today"), 2.5),
        TableColumn(t.text("Median today (interval)"), 2.3, right=True),
        TableColumn(t.text("Today: tests"), 1.2, right=True),
        TableColumn(t.text("Why"), 1.7),
    ]
    blocks: list[Block] = [Paragraph(said)]
    if shown:
        table = [[_line(one.row, under), *then, *now, _why(t, one)] for one, then, now in shown]
        blocks.append(Table(columns, table))
    if others := len(rows) - len(shown):
        text = t.text(
            "{n} lines keep verdict, median, interval and number of tests; their other figures (target, share of steady"
            " tests, outages, days) are in the columns “now_…” of the CSV.",
            n=t.number(others, 0),
        )
        blocks.append(Paragraph(text))
    return blocks


def _why(t: ReportTexts, one: LineSince) -> Cell:
    return Cell("; ".join(t.cause(cause) for cause in one.causes))


def _figures(t: ReportTexts, line: LineMonth | None) -> list[Cell]:
    """Verdict, median with its interval, number of tests."""
    if line is None:
        return [tables.DASH] * 3
    verdict = line.verdict
    middle = tables.mbps(t, verdict.median_mbps, verdict.target_mbps).text
    whole = middle if verdict.low_mbps is None else f"{middle} ({tables.interval(t, verdict).text})"
    return [tables.verdict_cell(t, verdict), Cell(whole), tables.whole(t, verdict.samples)]
