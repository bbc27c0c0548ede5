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
from collector.report.texts import CELL_NAMES, EDITS, EXCLUDED, ReportTexts
from collector.store.line_id import LineId
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
            t.text("7.2. Exclusions entered since: proposed, not applied"),
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
        TableColumn(t.text("Results of"), 2.2),
        TableColumn(t.text("Time"), 2.8),
        TableColumn(t.text("Proposal"), 2.6),
        TableColumn(t.text("Entered"), 2.2),
        TableColumn(t.text("Tests of the month"), 1.2, right=True),
    ]
    return Table(columns, [_exclusion(t, one) for one in found])


def _exclusion(t: ReportTexts, found: ExclusionSince) -> list[Cell]:
    one = found.entry
    of = one.server if one.scope == "server" else f"{one.agent} / {one.line}" if one.line else one.agent
    since, until = t.instant(one.since), "…" if one.until is None else t.instant(one.until)
    measured = one.basis == "measured"
    reason = EXCLUDED.get(one.reason)
    said = t.text("do not count") if one.action == "exclude" else t.text("count")
    why = "; ".join(text for text in (t.text(reason) if reason else one.reason, one.note) if text)
    return [
        Cell(of),
        Cell(f"{t.text('measured') if measured else t.text('received')} {since}{tables.TO}{until}"),
        Cell(f"{said}: {why}"),
        Cell(f"{t.instant(one.at)}, {one.by}"),
        tables.whole(t, found.tests),
    ]


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
    if not lines:
        return []
    other = sum(_verdict(one.then) != _verdict(one.now) for one in lines)
    text = t.text(
        "Lines with other figures: {lines}; with another verdict: {other}.",
        lines=t.number(len(lines), 0),
        other=t.number(other, 0),
    )
    columns = [
        TableColumn(t.text("Hamlet, area; unit / line"), 3),
        TableColumn(t.text("Closed verdict"), 2.1),
        TableColumn(t.text("Median (interval)"), 2.1, right=True),
        TableColumn(t.text("Tests"), 1.1, right=True),
        TableColumn(t.text("Verdict today"), 2.1),
        TableColumn(t.text("Median (interval)"), 2.1, right=True),
        TableColumn(t.text("Tests"), 1.1, right=True),
        TableColumn(t.text("Why"), 2.2),
    ]
    ordered = sorted(lines, key=lambda one: _verdict(one.then) == _verdict(one.now))
    return [Paragraph(text), Table(columns, [_row(t, one, under) for one in ordered])]


def _verdict(line: LineMonth | None) -> str | None:
    return line.verdict.verdict if line else None


def _row(t: ReportTexts, one: LineSince, under: str) -> list[Cell]:
    then, now = _figures(t, one.then), _figures(t, one.now)
    why = "; ".join(t.cause(cause) for cause in one.causes)
    if then == now:
        why += t.text(" (see the columns “now_…” of the CSV)")
    return [_line(one.row, under), *then, *now, Cell(why)]


def _figures(t: ReportTexts, line: LineMonth | None) -> list[Cell]:
    if line is None:
        return [tables.DASH] * 3
    verdict = line.verdict
    middle = tables.mbps(t, verdict.median_mbps, verdict.target_mbps).text
    whole = middle if verdict.low_mbps is None else f"{middle} ({tables.interval(t, verdict).text})"
    return [tables.verdict_cell(t, verdict), Cell(whole), tables.whole(t, verdict.samples)]
