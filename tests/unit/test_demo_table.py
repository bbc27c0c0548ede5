"""The table of the demonstration: what it calls an alert, and what it says of a line."""

import datetime as dt
from typing import Any

from rich.console import Console

from xomnet_demo.table import AlertFeed, screen

NOW = dt.datetime(2026, 11, 22, 12, 4, 11, tzinfo=dt.UTC)


def line(state: str, **known: Any) -> dict[str, Any]:
    place = {"agent": "nd-a-1", "line": "4g", "hamlet": "Xóm 2", "area": "Ninh Bình/xã Giao Minh", "access": "mobile"}
    return {**place, "target_mbps": 70.0, "samples": 0, "state": state, **known}


HEARD = {"samples": 6, "median_mbps": 81.0, "last_result_at": "2026-11-22T05:04:00Z", "age_s": 41.0}


def test_a_line_that_has_not_begun_yet_is_no_alert_and_one_that_falls_silent_is() -> None:
    feed = AlertFeed()
    assert feed.update([line("no_data")], NOW) == []
    assert feed.update([line("meeting", **HEARD)], NOW) == []
    (alert,) = feed.update([line("silent", **HEARD)], NOW)
    assert alert == "12:04:11  ○ alert   Xóm 2, xã Giao Minh / 4g: silent for 41 s"
    (again,) = feed.update([line("meeting", **HEARD)], NOW)
    assert "● again" in again


def test_the_table_says_that_there_is_no_data_yet() -> None:
    console = Console(width=120)
    with console.capture() as shown:
        console.print(screen("xomnet demo", [line("no_data")], AlertFeed()))
    assert "· CHƯA CÓ SỐ LIỆU" in shown.get()
