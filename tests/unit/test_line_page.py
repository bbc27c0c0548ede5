"""What overview and page of a line say of a line that was never heard, and of one that fell silent."""

import datetime as dt
from typing import Any

import pytest

from collector.judge.assess import Judgement, JudgingRules
from collector.judge.line_states import LineStatus, Snapshot
from collector.texts.texts import Texts
from collector.web.line_filter import Filter
from collector.web.line_page import why
from collector.web.overview import Overview, overview
from xomnet.registry.registry import LineRow
from xomnet.states import STATES, State

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
VI, EN = Texts("vi"), Texts("en")
ALL = Filter()


def line(number: int, state: State, last_result_at: dt.datetime | None = NOW, **judged: Any) -> LineStatus:
    row = LineRow(f"nd-a-{number}", "4g", "mobile", "Xóm 2", "Ninh Bình/xã Giao Minh", "Viettel", dt.date(2026, 1, 1),
                  lat=20.0, lon=106.0 + number)  # fmt: skip
    return LineStatus(row, Judgement(state, 0, 70.0, last_result_at=last_result_at, **judged))


NEVER = line(1, "no_data", None, since=NOW - dt.timedelta(hours=3))
SILENT = line(2, "silent", NOW - dt.timedelta(days=100))


def page(*lines: LineStatus, asked: Filter = ALL, t: Texts = EN) -> Overview:
    return overview(Snapshot(NOW, lines), asked, t, NOW)


@pytest.mark.parametrize(
    ("t", "sentence"),
    [
        (EN, "2 of 5 lines meet the target; 1 silent, 2 without data yet"),
        (VI, "2/5 đường truyền đạt chỉ tiêu; 1 mất liên lạc, 2 chưa có số liệu"),
    ],
)
def test_the_overview_counts_lines_without_data_beside_the_silent_ones(t: Texts, sentence: str) -> None:
    shown = page(SILENT, NEVER, line(3, "no_data", None), line(4, "meeting"), line(5, "meeting"), t=t)
    assert shown.sentence == sentence
    assert [(chip.state, chip.count, chip.mark) for chip in shown.states] == [
        *(("silent", 1, "○"), ("no_data", 2, "·"), ("meeting", 2, "●"))
    ]


@pytest.mark.parametrize(
    ("t", "counts"),
    [
        (EN, "1 below, 1 silent, 1 without data yet, 1 uncertain, 1 not assessable"),
        (
            VI,
            "1 dưới chỉ tiêu, 1 mất liên lạc, 1 chưa có số liệu, 1 chưa kết luận, 1 không đánh giá được",
        ),
    ],
)
def test_the_overview_counts_the_lines_of_each_state(t: Texts, counts: str) -> None:
    shown = page(*(line(number, state) for number, state in enumerate(STATES)), t=t)
    assert shown.sentence.partition("; ")[2] == counts


def test_the_filter_finds_lines_without_data_and_they_are_called_so() -> None:
    shown = page(SILENT, NEVER, asked=Filter(state=("no_data",)), t=VI)
    assert [(row.name, row.word, row.age) for row in shown.rows] == [("nd-a-1 / 4g", "CHƯA CÓ SỐ LIỆU", None)]
    assert not shown.never_heard


def test_only_where_no_line_was_ever_heard_nobody_has_reported_yet() -> None:
    assert page(NEVER).never_heard
    assert not page(NEVER, SILENT).never_heard
    assert not page().never_heard


def test_the_page_of_a_line_says_why_it_is_without_data_or_silent() -> None:
    assert why(NEVER, JudgingRules(), EN, NOW) == "No result of this line has arrived yet."
    assert why(SILENT, JudgingRules(), EN, NOW).startswith("Nothing received since 14 Aug 2026")
