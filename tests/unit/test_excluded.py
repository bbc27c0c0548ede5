"""What is excluded, and what came late, is counted and named wherever a figure is shown."""

import csv
import datetime as dt
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import pytest

from collector.alerts.alert import Alert, AlertChange, AlertedLine
from collector.alerts.digest import DigestDay, digest
from collector.alerts.evidence import Evidence, evidence
from collector.alerts.evidence import gather as gather_evidence
from collector.alerts.texts import message_of
from collector.judge.assess import JudgingRules, judge
from collector.judge.line_states import LineStatus, Snapshot, line_state_points
from collector.judge.verdict import Month, Verdict, VerdictName, verdict_of
from collector.report import gather
from collector.report.as_csv import as_csv
from collector.report.as_html import as_html
from collector.report.blocks import Paragraph
from collector.report.command import summary
from collector.report.document import document
from collector.report.model import LineMonth, MonthlyReport
from collector.settings import ReportSettings
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import milliseconds
from collector.store.row_types import LatencyRow, OutageRow, Sample, SpeedRow
from collector.texts.texts import Texts
from collector.texts.words import EXCLUSIONS, exclusions_phrase
from collector.web.axis import Axis
from collector.web.csv_export import csv_file
from collector.web.line_filter import Filter
from collector.web.line_page import LineHistory, LinePage, line_page, validity_of, why
from collector.web.overview import overview
from collector.web.pages import environment
from collector.web.views import SpeedView, line_view, speed_view
from tests.support.months import TARGETS
from xomnet.registry.registry import LineRow, Registry

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VI, EN = Texts("vi"), Texts("en")
RULES = JudgingRules()
ROW = LineRow("nd-1", "4g", "mobile", "Xóm 2", "Ninh Bình/xã Giao Minh", "Viettel", dt.date(2026, 1, 1))


def row(hours: float, mbps: float | None = 80.0, excluded: str | None = None, **more: Any) -> SpeedRow:
    """A test of `hours` ago, received ten seconds later; a late one two days later."""
    at = NOW - hours * HOUR
    after = dt.timedelta(days=2) if excluded == "late" else dt.timedelta(seconds=10)
    late = True if excluded == "late" else None
    stamp: dict[str, Any] = {"received_ms": milliseconds(at + after), "late": late, "excluded": excluded}
    return SpeedRow(at=at, engine="http", server="s", down_mbps=mbps, **stamp, **more)


def sample(of: SpeedRow) -> Sample:
    names = ("at", "down_mbps", "flags", "error", "asked", "received_ms", "late", "excluded")
    return Sample(**{name: getattr(of, name) for name in names})


HONEST = [row(h, 78.0 + h / 10) for h in range(40, 0, -4)]
FORGED = [row(h + 0.5, 9000.0, "quarantine") for h in range(40, 0, -4)]
LATE = [row(h + 1, 3.0, "late") for h in (30, 20)]
FAILED = [row(5, None, "quarantine", error="stalled", flags=("link_down",))]
TESTS = sorted([*HONEST, *FORGED, *LATE, *FAILED], key=lambda test: test.at)


def status(tests: list[SpeedRow] = TESTS, **judged: Any) -> LineStatus:
    samples = [sample(test) for test in tests]
    judgement = judge(samples, 70.0, NOW, NOW)
    return LineStatus(ROW, replace(judgement, **judged), tuple(samples))


def history(tests: list[SpeedRow] = TESTS, **more: Any) -> LineHistory:
    return LineHistory([sample(test) for test in tests], tests, **{"latency": [], "outages": [], **more})


def page(t: Texts, found: LineHistory | None = None, **judged: Any) -> LinePage:
    axis = Axis(NOW - 48 * HOUR, NOW)
    return line_page(status(**judged), found or history(), axis, 168, RULES, t, NOW)


def probe(hours: float, excluded: str | None = None, received: int = 10) -> LatencyRow:
    figures = {"sent": 10, "received": received, "loss_percent": 0.0, "rtt_p50_ms": 20.0}
    return LatencyRow(at=NOW - hours * HOUR, method="icmp", anchors=(), excluded=excluded, **figures)  # type: ignore[arg-type]


# --- words


@pytest.mark.parametrize(
    ("counts", "t", "said"),
    [
        ([("quarantine", 10), ("late", 2)], EN, "10 in quarantine, 2 late without explanation"),
        ([("quarantine", 10), ("late", 2)], VI, "10 tạm giữ chờ xem xét, 2 đến muộn chưa rõ lý do"),
        ([("quarantine", 1234), ("late", 1)], VI, "1.234 tạm giữ chờ xem xét, 1 đến muộn chưa rõ lý do"),
        ([("late", 3)], EN, "late without explanation"),
        ([("flood_2027", 3)], VI, "flood_2027"),
    ],
)
def test_reasons_are_named_and_an_unknown_one_is_shown_as_it_is(counts: Any, t: Texts, said: str) -> None:
    assert exclusions_phrase(counts, t) == said


def test_every_reason_has_words_of_its_own() -> None:
    assert {"quarantine", "late", "server", "power", "local_fault", "other_network"} <= EXCLUSIONS.keys()
    for language in zip(*EXCLUSIONS.values(), strict=True):
        assert len(set(language)) == len(EXCLUSIONS)


# --- the page of a line


def test_the_figures_of_a_page_are_those_without_what_is_excluded() -> None:
    shown = page(EN)
    honest = line_page(status(HONEST), history(HONEST), Axis(NOW - 48 * HOUR, NOW), 168, RULES, EN, NOW)
    assert shown.why == honest.why
    assert "from 10 tests" in shown.why
    median = re.compile(r'<path class="median"[^>]*>')
    assert median.findall(shown.downloads) == median.findall(honest.downloads)


@pytest.mark.parametrize(
    ("t", "window", "range_"),
    [
        (
            EN,
            "In the last 3 days, 13 tests are not counted: 11 in quarantine, 2 late without explanation.",
            "In the last 2 days, 13 tests are not counted: 11 in quarantine, 2 late without explanation."
            " The server received them from 21 Nov 02:30 to 23 Nov 22:00.",
        ),
        (
            VI,
            "Trong 3 ngày qua, 13 phép đo không được tính: 11 tạm giữ chờ xem xét, 2 đến muộn chưa rõ lý do.",
            "Trong 2 ngày qua, 13 phép đo không được tính: 11 tạm giữ chờ xem xét, 2 đến muộn chưa rõ lý do."
            " Máy chủ nhận các kết quả này từ 02:30 21/11 đến 22:00 23/11.",
        ),
    ],
)
def test_the_page_of_a_line_says_how_many_do_not_count_and_why(t: Texts, window: str, range_: str) -> None:
    shown = page(t)
    assert (shown.window_excluded, shown.excluded) == (window, range_)


def test_a_single_test_is_a_singular_and_none_is_not_spoken_of() -> None:
    assert page(EN, history([*HONEST, row(2.5, 1.0, "late")])).excluded == (
        "In the last 2 days, 1 test is not counted: late without explanation."
        " The server received them from 24 Nov 16:30 to 24 Nov 16:30."
    )
    clean = line_page(status(HONEST), history(HONEST), Axis(NOW - 48 * HOUR, NOW), 168, RULES, EN, NOW)
    assert (clean.window_excluded, clean.excluded) == (None, None)
    assert "excluded" not in clean.downloads


def test_excluded_tests_are_drawn_apart_and_set_no_scale() -> None:
    shown = page(EN).downloads
    assert shown.count('class="excluded"') == 13
    assert shown.count('class="dot counted"') == 10
    assert 'class="cross"' not in shown, "a failed test that is excluded is no failure"
    figures = re.findall(r">([\d,]+) Mb/s</text>", shown)
    assert max(int(figure.replace(",", "")) for figure in figures) <= 150


def test_the_table_of_recent_tests_names_the_reason() -> None:
    by_validity = {validity_of(test): test for test in TESTS}
    assert set(by_validity) == {"counted", "excluded"}
    remarks = {tuple(test.remarks) for test in page(EN).tests if test.validity == "excluded"}
    assert remarks == {
        ("in quarantine",),
        ("in quarantine", "failed: the transfer stalled", "the line was down"),
        ("late without explanation (received 2 days after it was measured)",),
    }


def test_all_figures_of_a_test_say_when_it_was_received() -> None:
    def of(test: SpeedRow, t: Texts) -> dict[str, str]:
        (figures,) = page(t, history(test=test)).results
        return dict(figures.figures)

    soon, late = of(HONEST[-1], EN), of(LATE[0], VI)
    assert soon["Received by the server"] == "22 Nov 2026 15:00:10"
    assert "Reason for not counting" not in soon
    assert late["Máy chủ nhận lúc"] == "12:00:00 23/11/2026 (sau khi đo 2 ngày)"
    assert late["Lý do không tính"] == "đến muộn chưa rõ lý do"
    assert late["Đến muộn chưa rõ lý do"] == "có"


def test_latency_loss_and_outages_leave_out_what_is_excluded_and_say_so() -> None:
    outages = [
        OutageRow(at=NOW - 5 * HOUR, duration_s=600, failed_probes=3),
        OutageRow(at=NOW - 9 * HOUR, duration_s=9000, failed_probes=9, excluded="quarantine"),
    ]
    latency = [probe(3), probe(2), probe(1, "quarantine", received=0)]
    shown = page(EN, history(latency=latency, outages=outages))
    assert shown.echoes == "2 measurements, 1 more not counted"
    assert shown.outage_sentence == "1 outage in 2 days, 10 min in total, 1 more not counted"
    assert "loss-bar" not in shown.loss
    assert shown.outages.count('class="outage"') == 1


def test_a_line_of_which_everything_is_excluded_has_no_figure_and_says_why() -> None:
    of_forged = LineStatus(ROW, judge([sample(test) for test in FORGED], 70.0, NOW, NOW), status(FORGED).samples)
    shown = line_page(of_forged, history(FORGED), Axis(NOW - 48 * HOUR, NOW), 168, RULES, EN, NOW)
    assert shown.why == "No test counts yet: all failed, were flagged or excluded."
    assert shown.window_excluded == "In the last 3 days, 10 tests are not counted: in quarantine."


def test_a_line_that_is_silent_because_all_is_excluded_does_not_say_that_nothing_came() -> None:
    before = status(last_result_at=NOW - 20 * HOUR, state="silent")
    assert why(before, RULES, EN, NOW) == "Nothing received since 21 Nov 2026 23:00:00 (20 h ago) is counted."
    assert why(before, RULES, VI, NOW) == "Các kết quả nhận sau 23:00:00 21/11/2026 (20 giờ trước) không được tính."
    after = status(last_result_at=NOW - HOUR / 4, state="silent")
    assert why(after, RULES, EN, NOW).startswith("Nothing received since 22 Nov 2026 18:45:00 (")
    assert "counted" not in why(after, RULES, EN, NOW)


@pytest.mark.parametrize(("language", "said"), [("en", "excluded, does not count"), ("vi", "bị loại, không được tính")])
def test_the_template_shows_sentence_key_and_reason(language: Literal["vi", "en"], said: str) -> None:
    t = Texts(language)
    render = environment.get_template("line.html").render
    about = {"_": t.text, "n_": t.plural, "t": t, "other": "vi", "other_href": "/", "refresh_s": 0, "zone": "x"}
    html = render(**about, version="1", page=page(t), actions=None, may_change=False)
    assert html.count(said) == 1
    assert html.count(page(t).excluded or "?") == html.count(page(t).window_excluded or "?") == 1
    assert html.count(f"<b>{t.text('does not count')}:</b>") == 13


# --- overview, REST, CSV


@pytest.mark.parametrize(
    ("t", "sentence", "cell", "pointer"),
    [
        (
            EN,
            "13 tests of 1 line are not counted: 11 in quarantine, 2 late without explanation.",
            "13 not counted",
            "11 in quarantine, 2 late without explanation",
        ),
        (
            VI,
            "13 phép đo của 1 đường truyền không được tính: 11 tạm giữ chờ xem xét, 2 đến muộn chưa rõ lý do.",
            "13 không được tính",
            "11 tạm giữ chờ xem xét, 2 đến muộn chưa rõ lý do",
        ),
    ],
)
def test_the_overview_says_it_of_all_and_of_each_line(t: Texts, sentence: str, cell: str, pointer: str) -> None:
    other = replace(status(HONEST), row=replace(ROW, agent="nd-2", lat=20.0, lon=106.0))
    shown = overview(Snapshot(NOW, (status(), other)), Filter(), t, NOW)
    assert shown.excluded == sentence
    assert [(r.excluded, r.excluded_why, r.failed) for r in shown.rows] == [(cell, pointer, None), (None, None, None)]
    assert cell in shown.rows[0].bar
    assert cell not in shown.rows[1].bar
    assert "cross" not in shown.rows[0].spark
    assert overview(Snapshot(NOW, (other,)), Filter(), t, NOW).excluded is None


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_overview_shows_it_above_the_table_and_in_the_row(language: Literal["vi", "en"]) -> None:
    t = Texts(language)
    shown = overview(Snapshot(NOW, (status(),)), Filter(), t, NOW)
    about = {"_": t.text, "n_": t.plural, "t": t, "other": "vi", "other_href": "/", "refresh_s": 0, "zone": "x"}
    computed = {"computed": "x", "computed_at": NOW, "computed_ago": "x", "old": False, "rejected": 0, "version": "1"}
    html = environment.get_template("overview.html").render(**about, **computed, page=shown)
    row = shown.rows[0]
    assert html.count(f'<p class="excluded">{shown.excluded}</p>') == 1
    assert html.count(f'<small class="excluded" title="{row.excluded_why}">{row.excluded}</small>') == 1


def test_rest_and_csv_name_receipt_lateness_and_reason() -> None:
    line = line_view(status(), NOW, None)
    assert (line.samples, line.failed, line.excluded) == (10, 0, 13)
    assert line.excluded_for == {"quarantine": 11, "late": 2}
    views = [speed_view(test) for test in (HONEST[0], FORGED[0], LATE[0])]
    rows = list(csv.DictReader(io.StringIO(csv_file("x", SpeedView, views).text.removeprefix("\ufeff"))))
    assert [(r["received_at"], r["late"], r["excluded"], r["counts"]) for r in rows] == [
        ("2026-11-20T20:00:10Z", "", "", "true"),
        ("2026-11-20T19:30:10Z", "", "quarantine", "false"),
        ("2026-11-23T05:00:00Z", "true", "late", "false"),
    ]


def test_line_state_counts_them_apart_from_failures() -> None:
    (point,) = line_state_points(Snapshot(NOW, (status(),)))
    assert (point.fields["samples"], point.fields["failed"], point.fields["excluded"]) == (10, 0, 13)


# --- alerts


def test_an_alert_and_the_digest_say_it_in_a_sentence() -> None:
    short = status(state="short", median_mbps=42.0, since=NOW - HOUR)
    covered = (AlertedLine("nd-1", "4g", NOW, NOW),)
    change = AlertChange("opened", Alert(1, "short", "line", "nd-1/4g", NOW, covered), NOW)
    said = message_of(change, {short.id: short}, RULES.window.total_seconds(), EN, None, evidence([], [], 70.0, NOW))
    assert said.text.splitlines()[1] == page(EN).window_excluded
    day = DigestDay(Snapshot(NOW, (short,)), {}, [], None, [])
    assert "13 phép đo của 1 đường truyền không được tính: 11 tạm giữ chờ xem xét" in digest(day, VI, bool, None).text
    quiet = DigestDay(Snapshot(NOW, (status(HONEST),)), {}, [], None, [])
    assert "không được tính" not in digest(quiet, VI, bool, None).text


class Held:
    """A store of one line's results."""

    def __init__(self, tests: list[SpeedRow], latency: Sequence[LatencyRow] = (), outages: Sequence[OutageRow] = ()):
        self._tests, self._latency, self._outages = tests, latency, outages

    def speed(self, _: LineId, since: dt.datetime, until: dt.datetime, latest: int) -> list[SpeedRow]:
        return [test for test in self._tests if since <= test.at < until]

    def latency(self, _: LineId, since: dt.datetime, until: dt.datetime, latest: int) -> list[LatencyRow]:
        return [probe for probe in self._latency if since <= probe.at < until]

    def samples(self, since: dt.datetime, until: dt.datetime, lines: list[LineId]) -> dict[LineId, list[Sample]]:
        return {lines[0]: [sample(test) for test in self._tests if since <= test.at < until]}

    def outages(self, *_: Any) -> list[OutageRow]:
        return list(self._outages)


def test_what_is_excluded_is_no_evidence() -> None:
    honest = [probe(30), probe(0.5)]
    forged = [probe(h, "quarantine", received=1) for h in range(10, 0, -1)]
    flagged = [row(h, 20.0, "quarantine", flags=("weak_radio",)) for h in range(11, 0, -1)]

    def of(tests: list[SpeedRow], latency: list[LatencyRow]) -> Evidence:
        store = cast(Store, Held(tests, sorted(latency, key=lambda one: one.at)))
        return gather_evidence(store, LineId("nd-1", "4g"), 70.0, NOW - 12 * HOUR, NOW)

    assert of(sorted([*HONEST, *flagged], key=lambda test: test.at), [*honest, *forged]) == of(HONEST, honest)
    assert of(flagged, honest) != of(HONEST, honest)


# --- the monthly report

NOVEMBER = Month(2026, 11)
AFTER = dt.datetime(2026, 12, 3, 2, 30, tzinfo=dt.UTC)


def november(excluded: list[str], mbps: float = 80.0) -> Verdict:
    """Four tests a day that count, and others beside them that do not."""
    start = NOVEMBER.since()
    honest = [Sample(start + (6 * n + 1) * HOUR, mbps) for n in range(120)]
    others = [Sample(start + n * HOUR / 2, 5.0, excluded=reason) for n, reason in enumerate(excluded)]
    return verdict_of(sorted([*honest, *others], key=lambda s: s.at), 70.0, NOVEMBER, 4, AFTER)


def report(*lines: LineMonth) -> MonthlyReport:
    in_force = {access: TARGETS.in_force(access, dt.date(2026, 11, 30)) for access in ("mobile", "fixed")}
    return MonthlyReport(NOVEMBER, None, AFTER, in_force, lines)  # type: ignore[arg-type]


UNMEASURED = Verdict("unmeasured", 70.0)
STOLEN = LineMonth(ROW, november(["late"] * 249 + ["quarantine"] * 10), UNMEASURED)
CLEAN = LineMonth(replace(ROW, agent="nd-2", area="Ninh Bình/xã Hải Anh"), november([]), UNMEASURED)


def plain(found: MonthlyReport, language: Literal["vi", "en"]) -> str:
    text = re.sub(r"<[^>]+>", "|", as_html(document(found, ReportSettings(), language)).decode())
    return re.sub(r"[|\s]*\|[|\s]*", "|", text.replace("\u2060", "").replace("\xa0", " "))


def test_late_tests_are_counted_apart_from_those_of_the_schedule() -> None:
    assert (STOLEN.verdict.samples, STOLEN.verdict.expected) == (120, 120)
    assert STOLEN.verdict.median_mbps == CLEAN.verdict.median_mbps
    said = plain(report(STOLEN, CLEAN), "en")
    assert "|nd-1 / 4g|120 / 120|259|249 late without explanation, 10 in quarantine|" in said


@pytest.mark.parametrize(
    ("language", "note", "summary_", "foot"),
    [
        (
            "en",
            "Tests left out of these figures: 259 (249 late without explanation, 10 in quarantine); see 5.4.",
            "Tests that are stored and in no figure of this report: 259 (249 late without explanation,"
            " 10 in quarantine); lines: 1.",
            " · tests left out: 259, see 5.4",
        ),
        (
            "vi",
            "Số phép đo bị loại khỏi các số liệu này: 259 (249 đến muộn chưa rõ lý do, 10 tạm giữ chờ xem xét);"
            " xem mục 5.4.",
            "Số phép đo đã lưu nhưng không đưa vào số liệu của báo cáo: 259 (249 đến muộn chưa rõ lý do,"
            " 10 tạm giữ chờ xem xét), thuộc 1 đường truyền.",
            " · loại 259 phép đo, xem mục 5.4",
        ),
    ],
)
def test_each_table_with_a_share_or_median_says_what_it_leaves_out(
    language: Literal["vi", "en"], note: str, summary_: str, foot: str
) -> None:
    said = plain(report(STOLEN, CLEAN), language)
    assert said.count(note) == 3, "summary, mobile lines, annex"
    assert (said.count(summary_), said.count(foot)) == (1, 1)
    clean = plain(report(CLEAN), language)
    assert not [text for text in (note[:20], summary_[:20], foot) if text in clean]


@pytest.mark.parametrize(("verdict", "title"), [("not_met", "3.1."), ("not_certain", "3.2."), ("unmeasured", "3.3.")])
def test_the_lists_of_lines_not_met_undecided_and_not_measured_say_it_too(verdict: VerdictName, title: str) -> None:
    line = replace(CLEAN, verdict=replace(november(["late"] * 3), verdict=verdict))
    (section,) = (one for one in document(report(line), ReportSettings(), "en").sections if one.title.startswith(title))
    note = "Tests left out of these figures: 3 (late without explanation); see 5.4."
    assert section.blocks[-1] == Paragraph(note)


def test_the_annex_has_a_column_for_it_only_where_something_is_left_out() -> None:
    for lines, there in (((STOLEN, CLEAN), True), ((CLEAN,), False)):
        head = [column.title for column in document(report(*lines), ReportSettings(), "en").annex.table.columns]
        assert ("Left out" in head) == there


def test_a_changed_line_says_what_either_month_leaves_out() -> None:
    before = november(["quarantine"] * 7, mbps=40.0)
    changed = replace(CLEAN, before=before)
    said = plain(report(changed), "en")
    assert said.count("Tests left out of these figures: 7 (in quarantine); see 5.4.") == 1


def test_the_csv_and_the_summary_for_programs_count_by_reason() -> None:
    (stolen, clean) = csv.DictReader(io.StringIO(as_csv(report(STOLEN, CLEAN), "en").decode("utf-8-sig"), newline=""))
    assert (stolen["samples"], stolen["expected"], stolen["excluded"]) == ("120", "120", "259")
    assert (stolen["excluded_for"], clean["excluded_for"]) == ("late=249 quarantine=10", "")
    assert summary(report(STOLEN, CLEAN))["excluded_for"] == {"late": 249, "quarantine": 10}


def test_a_month_after_a_quarantine_is_as_it_was_before_but_for_what_is_left_out() -> None:
    def of(tests: list[SpeedRow], *outages: OutageRow) -> LineMonth:
        store, registry = cast(Store, Held(tests, outages=outages)), Registry([ROW], TARGETS)
        (line,) = gather.gather(store, registry, TARGETS, NOVEMBER, None, AFTER).lines
        return line

    forged = [
        *TESTS,
        row(-60, 9000.0, "quarantine"),
        row(-90, None, "quarantine", error="stalled", flags=("link_down",)),
    ]
    dark = OutageRow(at=NOVEMBER.since(), duration_s=86_400, failed_probes=99, excluded="quarantine")
    was, found = of(HONEST), of(forged, dark)
    assert found.verdict.excluded_for == (("quarantine", 13), ("late", 2))
    assert replace(found, verdict=replace(found.verdict, excluded=0, excluded_for=())) == was
