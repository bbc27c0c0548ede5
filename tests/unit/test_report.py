"""The monthly report's counts and words: what the report says about a line, an area, a month."""

import ast
import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po

from collector.judge.verdict import VERDICTS, Month, Verdict, VerdictName
from collector.report import texts
from collector.report.columns import harmless
from collector.report.front import front
from collector.report.gather import ReportError, clip_outages, lines_within, registered_days
from collector.report.model import Change, LineMonth, MonthlyReport
from collector.report.summary import alphabetical, area_under, shared_area, tally
from collector.report.texts import CATALOGUE, ReportTexts
from collector.settings import ReportSettings
from collector.store.line_id import LineId
from collector.store.row_types import OutageRow
from collector.texts.texts import vietnamese
from tests.support.months import TARGETS
from xomnet.registry.registry import LineRow, Registry

VI, EN = ReportTexts("vi"), ReportTexts("en")
NOVEMBER = Month(2026, 11)
TABLES: tuple[Mapping[Any, str], ...] = (
    *(texts.REASONS, texts.CHANGES, texts.CAUSES, texts.EDITS),
    texts.CELL_NAMES,
)
SOURCES = sorted(Path(texts.__file__).parent.glob("*.py"))


def row(area: str = "Nam Định/Hải Hậu", hamlet: str = "Xóm 5", line: str = "4g", from_: str = "2026-01-01") -> LineRow:
    return LineRow("nd-a-1", line, "mobile", hamlet, area, "VNPT", dt.date.fromisoformat(from_))


def verdict(name: VerdictName, low: float | None = None, high: float | None = None) -> Verdict:
    middle = None if low is None or high is None else (low + high) / 2
    return Verdict(name, 70.0, median_mbps=middle, low_mbps=low, high_mbps=high)


def month(now: Verdict, before: Verdict | None = None, **where: str) -> LineMonth:
    return LineMonth(row(**where), now, before or verdict("unmeasured"))


def test_every_sentence_has_a_vietnamese_translation_and_none_is_left_over() -> None:
    used = {text for table in TABLES for text in table.values()}
    for file in SOURCES:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "text":
                used |= {one.value for one in call.args[:1] if isinstance(one, ast.Constant)}  # type: ignore[misc]
    assert len(used) > 80
    assert sorted(used - vietnamese(CATALOGUE).keys()) == []
    assert sorted(vietnamese(CATALOGUE).keys() - used) == []


def test_a_translation_has_the_placeholders_of_its_original() -> None:
    with CATALOGUE.open("rb") as file:
        for message in read_po(file, locale="vi"):
            original, said = str(message.id), str(message.string)
            assert not message.id or set(re.findall(r"{\w+}", original)) == set(re.findall(r"{\w+}", said)), original


def test_each_verdict_has_its_word_and_mark_once() -> None:
    assert set(texts.LOOKS) == set(VERDICTS)
    assert len({look.mark for look in texts.LOOKS.values()}) == len({look.vi for look in texts.LOOKS.values()}) == 4


@pytest.mark.parametrize(
    ("now", "before", "change"),
    [
        (verdict("met", 80, 90), verdict("not_met", 50, 60), "improved"),
        (verdict("met", 80, 90), verdict("met", 72, 79.9), "improved"),
        (verdict("not_met", 50, 60), verdict("met", 80, 90), "worsened"),
        (verdict("not_certain", 65, 75), verdict("met", 71, 80), "open"),
        (verdict("not_certain"), verdict("met", 71, 80), "open"),
        (verdict("met", 71, 82), verdict("met", 72, 80), None),
        (verdict("met", 75, 90), verdict("met", 72, 80), None),
        (verdict("met", 72, 80), verdict("met", 75, 90), None),
        (verdict("met", 80, 90), verdict("unmeasured"), None),
        (verdict("unmeasured"), verdict("met", 80, 90), None),
    ],
)
def test_a_line_changed_only_where_the_intervals_of_the_months_do_not_meet(
    now: Verdict, before: Verdict, change: Change | None
) -> None:
    assert month(now, before).change == change


def test_a_hamlet_counts_by_its_worst_line_that_was_measured() -> None:
    found = tally(
        [
            month(verdict("met", 80, 90), hamlet="A"),
            month(verdict("not_certain", 60, 80), hamlet="A"),
            month(verdict("unmeasured"), hamlet="B"),
            month(verdict("met", 90, 100), hamlet="B"),
            month(verdict("unmeasured"), hamlet="C"),
            month(verdict("met", 80, 90), hamlet="A", area="Nam Định/Giao Thủy"),
        ]
    )
    assert found.by_verdict == {"met": 3, "not_certain": 1, "unmeasured": 2, "not_met": 0}
    assert found.hamlets_by_verdict == {"met": 2, "not_certain": 1, "unmeasured": 1, "not_met": 0}
    assert (found.share_met, found.median_mbps) == (1.0, 85)
    assert tally([month(verdict("unmeasured"))]).share_met is None


@pytest.mark.parametrize(
    ("areas", "shared", "groups"),
    [
        (["A/B/C", "A/B/D", "A/E/F"], "A", ["B", "B", "E"]),
        (["A/B/C", "A/B/D"], "A/B", ["C", "D"]),
        (["A/B/C", "A/B/C"], "A/B/C", ["C", "C"]),
        (["A/B", "C"], "", ["A", "C"]),
        (["A", "A/B"], "A", ["A", "B"]),
        (["A/Hải", "A/Hải Hậu"], "A", ["Hải", "Hải Hậu"]),
    ],
)
def test_the_areas_of_a_table_are_the_level_below_the_one_that_all_share(
    areas: list[str], shared: str, groups: list[str]
) -> None:
    lines = [month(verdict("unmeasured"), area=area) for area in areas]
    assert shared_area(lines) == shared
    assert [area_under(lines)(line) for line in lines] == groups


def test_an_area_is_found_at_any_level_and_a_wrong_one_is_told_from_the_closest() -> None:
    rows = [row("Nam Định/Hải Hậu/Hải Minh"), row("Nam Định/Hải Hậu/Hải Đông"), row("Nam Định/Giao Thủy/Bạch Long")]
    assert lines_within(rows, "Nam Định/Hải Hậu/", NOVEMBER) == rows[:2]
    assert lines_within(rows, None, NOVEMBER) == rows
    for asked in ("hai hau", "Nam Định/Hải Hâu", "Nam Định/Hải H"):
        with pytest.raises(ReportError, match="the closest: Nam Định/Hải Hậu, "):
            lines_within(rows, asked, NOVEMBER)


def test_an_outage_counts_with_what_of_it_lies_in_the_month() -> None:
    since, until = NOVEMBER.since(), NOVEMBER.until()

    def outage(at: dt.datetime, hours: float) -> OutageRow:
        return OutageRow(at=at, duration_s=hours * 3600, failed_probes=5)

    hour = dt.timedelta(hours=1)
    found = clip_outages(
        [outage(since - 2 * hour, 1), outage(since - hour, 3), outage(until - hour, 9), outage(since, 0.5)],
        since,
        until,
    )
    assert found == [2 * 3600, 3600, 1800]


def test_days_are_due_from_the_registry_on_and_only_when_they_are_over() -> None:
    registry = Registry([row(from_="2026-11-20")], TARGETS)
    now = NOVEMBER.since() + dt.timedelta(days=23, hours=5)
    days = registered_days(registry, LineId("nd-a-1", "4g"), NOVEMBER, now)
    assert sorted(day.day for day in days) == [20, 21, 22, 23]


def test_names_stand_in_the_order_of_the_alphabet() -> None:
    names = ["Ý Yên", "Đông", "Dân", "Hải Minh", "An", "Hải Đông"]
    assert sorted(names, key=alphabetical) == ["An", "Dân", "Đông", "Hải Đông", "Hải Minh", "Ý Yên"]


@pytest.mark.parametrize(("made", "said"), [(2, "tháng 02 năm"), (3, "tháng 3 năm"), (12, "tháng 12 năm")])
def test_the_month_of_the_head_is_written_as_the_decree_has_it(made: int, said: str) -> None:
    at = dt.datetime(2027, made, 3, tzinfo=dt.UTC)
    head = front(VI, MonthlyReport(NOVEMBER, None, at, {}, []), ReportSettings())
    assert said in head.place_and_date


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_is_never_a_formula(start: str) -> None:
    assert harmless(f"{start}1+1") == f"'{start}1+1"
    assert harmless(f"Xóm {start}") == f"Xóm {start}"


def test_numbers_and_documents_are_written_as_the_language_does() -> None:
    assert (VI.number(1234.5), EN.number(1234.5)) == ("1.234,5", "1,234.5")
    assert (VI.month(NOVEMBER), EN.month(NOVEMBER)) == ("11/2026", "November 2026")
    assert VI.document("137/KH-UBND") == "Kế hoạch 137/KH-UBND"
    assert VI.document("5/2027") == "văn bản 5/2027"
    assert (VI.hours(1800), VI.hours(5400)) == ("30 phút", "1,5 giờ")
    assert VI.reason("few_tests") == "dưới 30 phép đo được tính"
