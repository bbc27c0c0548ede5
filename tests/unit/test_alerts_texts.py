"""What an alert says, word by word, and what it reads from the results."""

import datetime as dt
from typing import Any

import pytest

from collector.alerts.alert import Alert, AlertChange, AlertedLine
from collector.alerts.evidence import NOTHING, Evidence, evidence
from collector.alerts.outbox import Notification
from collector.alerts.texts import message_of
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus
from collector.store.row_types import LatencyRow, SpeedRow
from collector.texts.texts import Texts
from xomnet.contract.radio import Radio
from xomnet.registry.registry import LineRow

NOW = dt.datetime(2026, 11, 22, 13, 40, tzinfo=dt.UTC)
SINCE = dt.datetime(2026, 11, 22, 11, 40, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VI, EN = Texts("vi"), Texts("en")
URL = "https://xomnet.example.vn"


def line(number: int, area: str = "Nam Định/Giao Thủy/Giao Thiện", **judged: Any) -> LineStatus:
    row = LineRow(f"nd-{number}", "4g", "mobile", "Xóm 2", area, "Viettel", dt.date(2026, 1, 1))
    found: dict[str, Any] = {"state": "short", "samples": 9, "target_mbps": 70.0, "median_mbps": 42.0,
                             "last_result_at": NOW, "since": SINCE, **judged}  # fmt: skip
    return LineStatus(row, Judgement(**found))


def measured(mbps: float, hours: range, **more: Any) -> list[SpeedRow]:
    return [SpeedRow(at=SINCE + back * HOUR, engine="http", server="s", down_mbps=mbps, **more) for back in hours]


def said(news: AlertChange, seen: list[LineStatus], t: Texts, found: Evidence = NOTHING, **more: Any) -> Notification:
    by_id = {s.id: s for s in seen}
    return message_of(news, by_id, 86_400, t, URL, found, **more)


def alert(
    lines: list[LineStatus], kind: str = "line", place: str = "nd-1/4g", trouble: str = "short", **more: Any
) -> Alert:
    covered = tuple(AlertedLine(s.row.agent, s.row.line, SINCE, SINCE) for s in lines)
    return Alert(1, trouble, kind, place, NOW, covered, **more)  # type: ignore[arg-type]


def test_a_short_line_in_vietnamese_as_the_specification_has_it() -> None:
    one = line(1)
    was = measured(81.0, range(-12 * 24, 0, 6), radio=Radio(rsrp_dbm=-95.0))
    new = measured(42.0, range(2), radio=Radio(rsrp_dbm=-112.0), asked="confirmation", flags=("weak_radio",))
    found = evidence([*was, *new], [], 70.0, SINCE)
    message = said(AlertChange("opened", alert([one]), NOW), [one], VI, found)
    assert message.title == "▼ DƯỚI CHỈ TIÊU · Xóm 2, Giao Thiện (Giao Thủy, Nam Định) · 4G Viettel"
    assert message.text.splitlines() == [
        "Tải xuống 42,0 Mb/s, bằng 60% chỉ tiêu (70 Mb/s). 9 phép đo trong 24 giờ, 2 phép đo xác nhận, "
        "lần cuối lúc 19:40 22/11.",
        "Từ 18:40 22/11, đã kéo dài 2 giờ. Trước đó 81,0 Mb/s, đạt chỉ tiêu trong 13 ngày.",
        "Kiểm tra trước: tín hiệu RSRP −112 dBm (bình thường −95) → ăng-ten, vị trí.",
        "Thiết bị đo nd-1, đường truyền 4g.",
        "https://xomnet.example.vn/lines/nd-1/4g",
    ]
    assert message.tone == "failure"


def test_html_says_the_same_and_a_hostile_name_stays_a_name() -> None:
    one = line(1, area="Nam Định/<script>alert(1)</script>")
    message = said(AlertChange("opened", alert([one]), NOW), [one], EN)
    assert "<script>" not in message.html
    assert "&lt;script&gt;" in message.html
    assert '<a href="https://xomnet.example.vn/lines/nd-1/4g">' in message.html
    assert "Download 42.0 Mb/s, 60% of the target (70 Mb/s). 9 tests in 24 h" in message.html


def test_a_figure_before_that_was_no_better_is_not_called_meeting() -> None:
    one = line(1)
    message = said(
        AlertChange("opened", alert([one]), NOW), [one], EN, evidence(measured(60, range(-40, 0)), [], 70.0, SINCE)
    )
    assert "Before that 60.0 Mb/s." in message.text
    assert "meeting" not in message.text


def test_what_to_check_first_comes_from_the_results() -> None:
    def echoes(rtt: float, received: int, hours: range) -> list[LatencyRow]:
        told = {"method": "icmp", "anchors": (), "sent": 20, "received": received, "loss_percent": 0.0}
        return [LatencyRow(at=SINCE + back * HOUR, **told, rtt_p50_ms=rtt) for back in hours]  # type: ignore[arg-type]

    was = measured(200, range(-40, 0), link_mbps=1000.0)
    new = measured(90, range(3), link_mbps=100.0, flags=("no_steady_state",))
    found = evidence([*was, *new], [*echoes(9, 20, range(-40, 0)), *echoes(31, 18, range(3))], 150.0, SINCE)
    assert found.link_mbps is not None
    assert (found.link_mbps.now, found.link_mbps.before) == (100, 1000)
    assert found.flags == {"no_steady_state"}
    assert found.rtt_ms is not None
    assert found.loss_percent is not None
    assert round(found.loss_percent.now) == 10
    message = said(AlertChange("opened", alert([line(1)]), NOW), [line(1)], EN, found)
    check = next(x for x in message.text.splitlines() if x.startswith("Check first"))
    assert check == (
        "Check first: the unit's port runs at 100 Mb/s (normally 1,000) → cable, switch port; "
        "the speed is not steady → congested line, radio bridge; "
        "packet loss 10.0% (normally 0.0) → cable, signal, then the provider."
    )


def test_what_is_usual_is_no_evidence() -> None:
    rows = measured(80, range(-40, 0), radio=Radio(rsrp_dbm=-95.0)) + measured(
        42, range(3), radio=Radio(rsrp_dbm=-98.0)
    )
    found = evidence(rows, [], 70.0, SINCE)
    assert (found.rsrp_dbm, found.flags, found.rtt_ms, found.loss_percent, found.technology) == (
        None,
        frozenset(),
        None,
        None,
        None,
    )
    text = said(AlertChange("opened", alert([line(1)]), NOW), [line(1)], EN, found).text
    assert "Check first: antenna and position, the plan's data, then the provider." in text


def test_a_silent_unit_and_a_silent_line_are_looked_for_in_different_places() -> None:
    silent = [line(1, state="silent", last_result_at=SINCE)]
    unit = said(AlertChange("opened", alert(silent, "unit", "nd-1", "silent"), NOW), silent, EN)
    assert unit.title.startswith("○ SILENT · Xóm 2, Giao Thiện (Giao Thủy, Nam Định) · unit nd-1 · 1 line")
    assert "Last result at 22 Nov 18:40 (2 h ago)." in unit.text
    assert "Check first: the unit's power" in unit.text
    assert said(AlertChange("ended", alert(silent, "unit", "nd-1", "silent"), NOW), silent, VI).title.startswith(
        "● CÓ LIÊN LẠC"
    )
    one = said(AlertChange("opened", alert(silent, trouble="silent"), NOW), silent, EN)
    assert "Check first: modem, SIM (plan, data), signal." in one.text


def test_a_provider_is_one_message_with_its_areas_and_each_reader_gets_his_own() -> None:
    lines = [line(n, f"Nam Định/{'Hải Hậu' if n < 4 else 'Ý Yên'}/Xã {n}") for n in range(6)]
    opened = AlertChange("opened", alert(lines, "isp", "Viettel", access="mobile", alerted_before=1), NOW)
    message = said(opened, [*lines, line(9)], EN)
    assert message.title == "▼ BELOW TARGET · Viettel mobile · 6 lines"
    assert message.text.splitlines()[:2] == [
        "6 of 7 lines fell below target together, from 22 Nov 18:40. 1 of them had an alert before.",
        "Hải Hậu 4, Ý Yên 2.",
    ]
    assert message.text.endswith("https://xomnet.example.vn/?state=short&access=mobile&isp=Viettel")
    own = said(opened, lines, EN, wants=lambda row: "Ý Yên" in row.area)
    assert "Hải Hậu" not in own.text


@pytest.mark.parametrize(
    ("areas", "counts"),
    [
        (["A/B/C", "A/B/C"], "C 2."),
        (["A/B/C", "A/B/D", "A/B/C"], "C 2, D 1."),
        (["A/B/C", "A/B"], "B 2."),
        (["A/B", "A"], "A 2."),
        (["A/B", "A2/B"], "A 1, A2 1."),
    ],
)
def test_the_lines_of_a_cause_are_counted_by_the_first_level_that_differs_or_the_last(
    areas: list[str], counts: str
) -> None:
    lines = [line(n, area) for n, area in enumerate(areas)]
    opened = AlertChange("opened", alert(lines, "isp", "Viettel", access="mobile"), NOW)
    assert said(opened, lines, EN).text.splitlines()[1] == counts


def test_an_end_says_how_long_it_was_and_what_is_left() -> None:
    one = line(1, state="meeting", median_mbps=81.0)
    ended = alert([one]).with_lines((AlertedLine("nd-1", "4g", SINCE, SINCE, NOW - HOUR / 2),))
    message = said(AlertChange("ended", ended, NOW), [one], VI)
    assert message.title == "● ĐẠT TRỞ LẠI · Xóm 2, Giao Thiện (Giao Thủy, Nam Định) · 4G Viettel"
    assert message.text.splitlines()[0] == "Dưới chỉ tiêu trong 90 phút: từ 18:40 22/11 đến 20:10 22/11."
    assert "Hiện tại 81,0 Mb/s, chỉ tiêu 70 Mb/s." in message.text
    assert message.tone == "success"
    gone = alert([one]).with_lines((AlertedLine("nd-1", "4g", SINCE, SINCE, end="unregistered"),))
    assert said(AlertChange("ended", gone, NOW), [], EN).title == "– NO LONGER MONITORED · nd-1/4g"
