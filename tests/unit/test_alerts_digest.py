"""The message of the day: when it is due, and that nobody is reminded of an acknowledged alert."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from collector.alerts.digest import DigestDay, digest, is_due
from collector.alerts.outbox import FailedNotification
from collector.alerts.silences.acknowledgement import Acknowledgement
from collector.alerts.silences.maintenance import MaintenanceWindow
from collector.completeness.completeness import CompletenessSnapshot, LineCompleteness
from collector.completeness.reconcile import Counts
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus, Snapshot
from collector.store.line_id import LineId
from collector.texts.texts import Texts
from xomnet.registry.registry import LineRow

NOW = dt.datetime(2026, 11, 23, 0, 1, tzinfo=dt.UTC)  # 07:01 in Viet Nam
HOUR = dt.timedelta(hours=1)
VI, EN = Texts("vi"), Texts("en")


def line(agent: str, state: str, hamlet: str = "Xóm 2", **judged: Any) -> LineStatus:
    row = LineRow(agent, "4g", "mobile", hamlet, "Nam Định/Hải Hậu", "Viettel", dt.date(2026, 1, 1))
    found: dict[str, Any] = {"samples": 9, "target_mbps": 70.0, "median_mbps": 42.0, "last_result_at": NOW, **judged}
    return LineStatus(row, Judgement(state, **found))  # type: ignore[arg-type]


LINES = (
    line("nd-1", "short", since=NOW - 5 * HOUR),
    line("nd-2", "short", "Xóm Nhận"),
    line("nd-3", "silent", last_result_at=NOW - 9 * HOUR),
    line("nd-4", "no_data", last_result_at=None, median_mbps=None),
    line("nd-5", "meeting", median_mbps=81.0),
    line("nd-6", "short", "Xóm Sửa"),
)
DAY = DigestDay(
    Snapshot(NOW, LINES),
    {LineId("nd-2", "4g"): Acknowledgement(agent="nd-2", line="4g", by="Lan", at=NOW - HOUR, note="đã đặt ăng-ten")},
    [MaintenanceWindow(id=1, agent="nd-6", from_=NOW - HOUR, until=NOW + HOUR, by="Lan", why="x")],
    CompletenessSnapshot(NOW, {LineId("nd-5", "4g"): LineCompleteness(Counts(10, 7, missing=3))}),
    [FailedNotification(NOW - HOUR, "c", "▼", "refused"), FailedNotification(NOW - 30 * HOUR, "c", "▼", "long ago")],
)


@pytest.mark.parametrize(
    ("at", "last", "told"),
    [
        ("07:00", dt.date(2026, 11, 22), True),
        ("07:00", dt.date(2026, 11, 23), False),
        ("07:00", None, True),
        ("07:02", dt.date(2026, 11, 22), False),
        ("never", None, False),
    ],
)
def test_it_is_due_once_a_day_by_the_provinces_clock(at: str, last: dt.date | None, told: bool) -> None:
    assert is_due(NOW, at, last) == told


def test_it_says_what_is_wrong_and_names_who_has_taken_what_on() -> None:
    message = digest(DAY, EN, lambda _: True, "https://x.vn")
    assert message.title == "23 Nov: 1 of 6 lines meet the target, 3 below, 1 silent, 1 without data yet"
    assert message.text.splitlines() == [
        "Mobile: 1/6",
        "▼ Xóm 2, Hải Hậu (Nam Định) · 4G Viettel: 42.0 Mb/s, 60% of the target (70 Mb/s), since 23 Nov 02:01",
        "○ Xóm 2, Hải Hậu (Nam Định) · nd-3 (4G Viettel): last result 9 h ago",
        "· No data yet: 1 line.",
        "✓ Xóm Nhận, Hải Hậu (Nam Định) · 4G Viettel: acknowledged by Lan, 23 Nov 06:01 – đã đặt ăng-ten",
        "In maintenance: 1 line.",
        "Results lost: nd-5 (3).",
        "Not sent in a day: 1 message; the last: refused",
        "https://x.vn",
    ]


def test_in_vietnamese_and_for_one_area_only() -> None:
    message = digest(DAY, VI, lambda row: row.agent == "nd-5", None)
    assert message.title == "23/11: 1/1 đường truyền đạt chỉ tiêu, 0 dưới chỉ tiêu, 0 mất liên lạc, 0 chưa có số liệu"
    assert "Xóm 2" not in message.text


def test_a_long_list_is_cut_and_says_so() -> None:
    many = tuple(line(f"nd-{n}", "short") for n in range(100, 150))
    text = digest(replace(DAY, snapshot=Snapshot(NOW, many)), EN, lambda _: True, None).text
    assert text.count("▼") == 20
    assert "… and 30 more" in text
