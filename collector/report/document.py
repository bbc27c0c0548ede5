"""The report in a language: sentences and tables in the order of an administrative document. Pure."""

from collections.abc import Iterable, Sequence

from collector.judge.verdict import Verdict, VerdictName
from collector.report import tables
from collector.report.annex import annex_table
from collector.report.blocks import Annex, Bars, Block, Document, Paragraph, Points, Section
from collector.report.front import closing, front, opening
from collector.report.method import method
from collector.report.model import LineMonth, MonthlyReport
from collector.report.since_closing import since_closing
from collector.report.summary import (
    area_under,
    coverage,
    excluded_for,
    group_lines,
    of_access,
    of_change,
    of_verdict,
    shared_area,
    tally,
    troubles,
)
from collector.report.texts import CHANGES, LOOKS, ReportTexts
from collector.settings import ReportSettings
from collector.texts.texts import Language
from collector.texts.words import exclusions_phrase
from xomnet import __version__
from xomnet.access import ACCESSES
from xomnet.contract.messages import Access

MAX_BARS = 14
"""Areas in one chart; more are in the table alone."""


def document(report: MonthlyReport, head: ReportSettings, language: Language) -> Document:
    """All of it, but for how it looks."""
    t = ReportTexts(language)
    return Document(
        language=language,
        front=front(t, report, head),
        opening=opening(t, report),
        sections=[
            _summary(t, report),
            *_by_access(t, report),
            *_not_met(t, report),
            _changes(t, report),
            *_outages(t, report),
            method(t),
            *since_closing(t, report),
        ],
        closing=closing(t, head),
        annex=Annex(
            kind=t.text("ANNEX"),
            title=t.text("Every line in {month}", month=t.month(report.month)),
            note=_annex_note(t, report),
            table=annex_table(t, report.lines, shared_area(report.lines)),
        ),
        page=_page(t, report),
    )


def _annex_note(t: ReportTexts, report: MonthlyReport) -> str:
    note = t.text("(With the report of {month}; speeds in Mb/s)", month=t.month(report.month))
    return ". ".join([note, *_left_out_sentences(t, [line.verdict for line in report.lines])])


def _page(t: ReportTexts, report: MonthlyReport) -> str:
    """The foot of each page: it says too that something is left out."""
    foot = t.text("xomnet {version} · figures of {when}", version=__version__, when=t.moment(report.figures_at))
    counts = excluded_for(line.verdict for line in report.lines)
    if not counts:
        return foot
    return f"{foot} · {t.text('tests left out: {n}, see 5.4', n=t.number(sum(n for _, n in counts), 0))}"


def _left_out_sentences(t: ReportTexts, verdicts: Sequence[Verdict]) -> list[str]:
    """Stands beside every share and median from which tests are left out."""
    counts = excluded_for(verdicts)
    if not counts:
        return []
    number = t.number(sum(n for _, n in counts), 0)
    reasons = exclusions_phrase(counts, t)
    return [t.text("Tests left out of these figures: {n} ({reasons}); see 5.4.", n=number, reasons=reasons)]


def _left_out(t: ReportTexts, verdicts: Iterable[Verdict]) -> list[Paragraph]:
    return [Paragraph(sentence) for sentence in _left_out_sentences(t, list(verdicts))]


def _summary(t: ReportTexts, report: MonthlyReport) -> Section:
    covered = coverage(report.lines)
    points = [
        t.text(
            "Coverage: {measured} of {hamlets} hamlets in the registry ({share}) have valid measurements;"
            " {lines} lines.",
            measured=t.number(covered.measured, 0),
            hamlets=t.number(covered.hamlets, 0),
            share=t.percent(covered.share),
            lines=t.number(len(report.lines), 0),
        ),
        *(_sentence(t, report, access) for access in ACCESSES),
        f"{_comparison(t, report)} {_troubles(t, report)}",
        *_left_out_sentences(t, [line.verdict for line in report.lines]),
    ]
    chart = tables.bars(
        t,
        t.text("Lines by verdict"),
        [(_access_name(t, report, access), of_access(report.lines, access)) for access in ACCESSES],
    )
    return Section(t.text("1. Summary"), 1, [Points(points), chart])


def _comparison(t: ReportTexts, report: MonthlyReport) -> str:
    month = t.month(report.month.previous)
    if not report.before_kept:
        return t.text("The results of {month} are no longer stored, so there is no comparison.", month=month)
    if not report.compared:
        return t.text("No line was measured in {month}, so there is no comparison.", month=month)
    return t.text(
        "Compared with {month}: {improved} lines improved, {worsened} worsened.",
        month=month,
        improved=t.number(len(of_change(report.lines, "improved")), 0),
        worsened=t.number(len(of_change(report.lines, "worsened")), 0),
    )


def _troubles(t: ReportTexts, report: MonthlyReport) -> str:
    found = troubles(report.lines)
    return t.text(
        "Outages: {outages}, {hours} in total. Units without a test for at least one whole day: {silent}.",
        outages=t.number(found.outages, 0),
        hours=t.hours(found.outage_s),
        silent=t.number(found.silent_units, 0),
    )


def _access_name(t: ReportTexts, report: MonthlyReport, access: Access) -> str:
    target = t.target(report.targets[access].down_mbps)
    return t.text("{access} (target {target} Mb/s)", access=t.access(access), target=target)


def _sentence(t: ReportTexts, report: MonthlyReport, access: Access) -> str:
    lines = of_access(report.lines, access)
    if not lines:
        return t.text("{name}: no line in the registry.", name=_access_name(t, report, access))
    found = tally(lines)
    target = report.targets[access].down_mbps
    return t.text(
        "{name}: {met} of {lines} lines met, {not_met} not met, {not_certain} undecided, {unmeasured} not"
        " measured; median speed of the lines {median} Mb/s.",
        name=_access_name(t, report, access),
        lines=t.number(found.lines, 0),
        median=tables.mbps(t, found.median_mbps, target).text,
        **{name: t.number(found.by_verdict[name], 0) for name in LOOKS},
    )


def _by_access(t: ReportTexts, report: MonthlyReport) -> list[Section]:
    sections = [
        Section(t.text("2. Results by area and provider"), 1, [Paragraph(_how_counted(t)), *_removed_lines(t, report)])
    ]
    of_area = area_under(report.lines)
    for number, access in enumerate(ACCESSES, 1):
        lines = of_access(report.lines, access)
        if not lines:
            continue
        target = report.targets[access].down_mbps
        areas = group_lines(lines, of_area)
        blocks: list[Block] = [tables.by_area(t, lines, report.lines, target)]
        if 1 < len(areas) <= MAX_BARS:
            blocks.append(_area_chart(t, areas))
        blocks.append(tables.by_isp(t, lines, target))
        blocks += _left_out(t, [line.verdict for line in lines])
        own = sum(line.row.target_mbps is not None for line in lines)
        if own:
            text = t.text(
                "Lines judged by a target of their own in the registry: {n}.",
                n=t.number(own, 0),
            )
            blocks.append(Paragraph(text))
        sections.append(Section(f"2.{number}. {_access_name(t, report, access)}", 2, blocks))
    return sections


def _area_chart(t: ReportTexts, areas: dict[str, list[LineMonth]]) -> Bars:
    return tables.bars(t, t.text("Lines by verdict and area"), list(areas.items()))


def _how_counted(t: ReportTexts) -> str:
    return t.text(
        "Share met: lines MET divided by lines MET and NOT MET. A hamlet with several lines of one access type"
        " counts by the worst of its measured lines."
    )


def _removed_lines(t: ReportTexts, report: MonthlyReport) -> list[Paragraph]:
    lines = sum(line.taken_out_at is not None for line in report.lines)
    if not lines:
        return []
    text = t.text(
        "Lines removed from the registry during the month, each judged by the days before its removal: {n}.",
        n=t.number(lines, 0),
    )
    return [Paragraph(text)]


def _not_met(t: ReportTexts, report: MonthlyReport) -> list[Section]:
    under = shared_area(report.lines)
    parts: Sequence[tuple[str, VerdictName, tables.LinesTable]] = [
        (t.text("3.1. Lines that do not meet the target"), "not_met", tables.not_met),
        (t.text("3.2. Undecided lines"), "not_certain", tables.not_certain),
        (t.text("3.3. Lines not measured"), "unmeasured", tables.unmeasured),
    ]
    sections = [Section(t.text("3. Lines not met, undecided, not measured"), 1, [])]
    for title, verdict, table in parts:
        lines = of_verdict(report.lines, verdict)
        shown: list[Block] = [_none(t)]
        if lines:
            shown = [table(t, lines, under), *_left_out(t, [line.verdict for line in lines])]
        sections.append(Section(title, 2, shown))
    return sections


def _changes(t: ReportTexts, report: MonthlyReport) -> Section:
    title = t.text("4. Changes against the previous month")
    if not report.compared:
        return Section(title, 1, [Paragraph(_comparison(t, report))])
    month = t.month(report.month.previous)
    text = t.text(
        "Compared with {month}. Improved or worsened: the 95% intervals of the two months do not overlap. If"
        " they overlap, a different verdict may be chance.",
        month=month,
    )
    blocks: list[Block] = [Paragraph(text)]
    for change in CHANGES:
        lines = of_change(report.lines, change)
        blocks.append(Paragraph(t.text(CHANGES[change], n=t.number(len(lines), 0)), strong=True))
        if lines:
            blocks.append(tables.changed(t, lines, shared_area(report.lines)))
            blocks += _left_out(t, [verdict for line in lines for verdict in (line.before, line.verdict)])
    return Section(title, 1, blocks)


def _outages(t: ReportTexts, report: MonthlyReport) -> list[Section]:
    under = shared_area(report.lines)
    with_outages = sorted((line for line in report.lines if line.outages), key=lambda line: -line.outage_s)
    silent = [line for line in report.lines if line.unit_silent_days]
    failed = sorted((line for line in report.lines if line.failed_at), key=lambda line: -line.verdict.failed)
    excluded = sorted(
        (line for line in report.lines if line.verdict.excluded_for),
        key=lambda line: -sum(n for _, n in line.verdict.excluded_for),
    )
    none = _none(t)
    named = t.text(
        "A test that fails while the line is down counts as 0 Mb/s. This table lists every line with such a"
        " test. A modem that is switched off at the site looks the same: verify the cause on site before it is"
        " attributed."
    )
    return [
        Section(t.text("5. Outages, silent units, tests that count as 0 or are left out"), 1, []),
        Section(t.text("5.1. Outages"), 2, [tables.outages(t, with_outages, under) if with_outages else none]),
        Section(
            t.text("5.2. Units without a test for whole days"), 2, [tables.silent(t, silent, under) if silent else none]
        ),
        Section(
            t.text("5.3. Tests that count as 0"),
            2,
            [Paragraph(named), tables.failed(t, failed, under)] if failed else [none],
        ),
        Section(t.text("5.4. Tests left out"), 2, _excluded(t, excluded, under) if excluded else [none]),
    ]


def _excluded(t: ReportTexts, lines: Sequence[LineMonth], under: str) -> list[Block]:
    counts = excluded_for(line.verdict for line in lines)
    text = t.text(
        "Tests that are stored and in no figure of this report: {n} ({reasons}); lines: {lines}.",
        n=t.number(sum(n for _, n in counts), 0),
        reasons=exclusions_phrase(counts, t),
        lines=t.number(len(lines), 0),
    )
    return [Paragraph(text), tables.excluded(t, lines, under)]


def _none(t: ReportTexts) -> Paragraph:
    return Paragraph(t.text("None."))
