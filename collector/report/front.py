"""Head, opening and closing of an administrative document, after Nghị định 30/2020/NĐ-CP. Pure."""

from collector.report.blocks import Closing, Front
from collector.report.model import MonthlyReport
from collector.report.texts import ReportTexts
from collector.settings import ReportSettings
from collector.texts.texts import LOCAL
from xomnet.access import ACCESSES

DOTS = "…" * 8
FEW = "…" * 3
"""Where an office writes by hand, or nothing is known."""
FIRST_WITHOUT_ZERO = 3
"""Nghị định 30/2020/NĐ-CP, annex I: a 0 before January and February, so that no other figure is put there."""


def front(t: ReportTexts, report: MonthlyReport, head: ReportSettings) -> Front:
    made = report.made_at.astimezone(LOCAL)
    return Front(
        parent=head.parent.upper() if head.parent else DOTS,
        authority=head.authority.upper() if head.authority else DOTS,
        number=t.text("No. {dots}/BC-{dots}", dots=FEW),
        nation=t.text("SOCIALIST REPUBLIC OF VIET NAM"),
        motto=t.text("Independence - Freedom - Happiness"),
        place_and_date=t.text(
            "{place}, day {dots} month {month} year {year}",
            place=head.place or FEW,
            dots=FEW,
            month=f"{made.month:02}" if made.month < FIRST_WITHOUT_ZERO else made.month,
            year=made.year,
        ),
        kind=t.text("REPORT"),
        subject=t.text("Download speeds measured in hamlets, {month}", month=t.month(report.month)),
        scope=None if report.area is None else t.text("Area: {area}", area=report.area),
        status=status(t, report),
    )


def status(t: ReportTexts, report: MonthlyReport) -> str:
    """Whether the figures are final."""
    if report.as_of is not None:
        return t.text("As of {when}: the month is not over, figures may still change", when=t.moment(report.as_of))
    month = t.month(report.month)
    if report.closing is None:
        return t.text(
            "As of {when}: {month} is not closed, figures may still change", when=t.moment(report.made_at), month=month
        )
    values = {"month": month, "when": t.instant(report.closing.at), "name": report.closing.by}
    if report.since is None or not report.since.some:
        return t.text("The figures of {month} were closed on {when}, by {name}.", **values)
    return t.text(
        "The figures of {month} were closed on {when}, by {name}. Later changes are listed in section 7; they do not"
        " alter these figures.",
        **values,
    )


def opening(t: ReportTexts, report: MonthlyReport) -> str:
    """The sentence that says what was to be reached."""
    targets = [report.targets[access] for access in ACCESSES]
    sources = sorted({target.source for target in targets if target.source})
    since = min(target.from_ for target in targets)
    said = "; ".join(
        t.text(
            "{access} {target} Mb/s", access=t.access(access).lower(), target=t.target(report.targets[access].down_mbps)
        )
        for access in ACCESSES
    )
    if not sources:
        return t.text("Results against the download targets ({targets}):", targets=said)
    return t.text(
        "Results of {month} against the download targets of {source} ({targets}; in force since {since}, “per"
        " i-Speed”):",
        source=", ".join(t.document(source) for source in sources),
        targets=said,
        since=t.day(since),
        month=t.month(report.month),
    )


def closing(t: ReportTexts, head: ReportSettings) -> Closing:
    recipients = [f"- {head.parent or FEW};", t.text("- File: {dots}.", dots=FEW)]
    return Closing(t.text("To:"), recipients, t.text("DIRECTOR"))
