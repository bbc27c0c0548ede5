"""The verdicts of months as they are written for dashboards."""

import datetime as dt

import pytest

from collector.judge.verdict import Month
from collector.rollups.aggregate import RollupBucket
from collector.rollups.rollups import Rollups
from collector.store import Store
from tests.support.rolled import ALL_FIXED, DAY, HOUR, LATER, TAGS, fields, rollups, settle
from tests.support.stored import AGENT, LINE, row, speed
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

pytestmark = pytest.mark.date


def test_the_verdicts_of_this_month_and_the_one_before_are_written(store: Store) -> None:
    now = LATER
    before = Month.of(now).previous
    days = [before.since() + n * DAY + h * HOUR for n in range(before.days) for h in (1, 5, 9, 12, 19, 20, 21, 22)]
    store.write([speed(at, seq, down_mbps=200.0 + seq % 5) for seq, at in enumerate(days, 1)])
    settle(rollups(store), now)
    month = RollupBucket("day", before.since(), before.since() + DAY)
    line = fields(store, "line_month", month, **TAGS)
    assert (line["verdict"], line["samples"], line["days"], line["median_mbps"]) == (
        "met",
        len(days),
        before.days,
        202.0,
    )
    place = fields(store, "place_month", month, **ALL_FIXED)
    assert {name: place[name] for name in ("lines", "met", "unmeasured", "share")} == {
        **{"lines": 2, "met": 1, "unmeasured": 1, "share": 1.0}
    }
    present = RollupBucket("day", Month.of(now).since(), Month.of(now).since() + DAY)
    assert fields(store, "line_month", present, **TAGS)["verdict"] in ("unmeasured", "not_certain")


def test_a_line_that_moves_within_a_month_has_one_series_for_it(store: Store) -> None:
    month = Month.of(LATER).previous
    targets = Targets(
        [
            Target(access="fixed", from_=dt.date(2024, 1, 1), down_mbps=150),
            Target(access="mobile", from_=dt.date(2024, 1, 1), down_mbps=70),
        ]
    )
    then = row(LINE)
    day = month.since().date()
    moved = LineRow(AGENT, "ftth", "fixed", "Xóm 9", "Nam Định/Ý Yên", "FPT", from_=day + 10 * DAY)
    new = LineRow("nd-new", "4g", "mobile", "Xóm 9", "Nam Định/Ý Yên", "FPT", from_=day + 12 * DAY)
    once = LineRow(AGENT, "ftth", "fixed", "Xóm 1", "Nam Định/Vụ Bản", "FPT", from_=then.from_ - 9 * DAY)
    for rows in ([once, then], [once, then, moved, new]):
        book = Registry(rows, targets)
        settle(Rollups(store, lambda book=book: book, sweep_days=0), LATER)  # type: ignore[misc]
    found = {p.tags["agent"]: p for p in store.figures.points("line_month", month.since(), month.since() + DAY)}
    assert len(store.figures.points("line_month", month.since(), month.since() + DAY)) == 2
    assert (found[AGENT].tags["isp"], found[AGENT].tags["area"]) == (then.isp, then.area)
    assert found["nd-new"].tags["area"] == "Nam Định/Ý Yên"
