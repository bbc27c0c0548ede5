"""What is said every minute of places, of a line's latency, and of units."""

import datetime as dt

import msgspec
import pytest

from collector.completeness.reconcile import Counts
from collector.ingest.presence import Presence
from collector.judge.assess import Judgement
from collector.state_points.latency import LatencyLimits, latency_fields
from collector.state_points.places import place_state_fields
from collector.state_points.units import PROBLEMS, UnitStatus, unit_state_point, units_of
from collector.store.line_id import LineId
from collector.store.points import SCHEMAS
from collector.store.row_types import HealthRow, LatencyFigures
from tests.support.stored import row
from xomnet.states import State

NOW = dt.datetime(2026, 11, 20, 16, 59, tzinfo=dt.UTC)


def test_a_place_now_counts_its_lines_by_state() -> None:
    states: list[tuple[State, float | None]] = [
        *(("meeting", 1.2), ("meeting", 1.1), ("short", 0.5), ("silent", 2.0), ("uncertain", 1.0)),
        *(("not_assessable", None), ("no_data", None)),
    ]
    judgements = [
        Judgement(state, 9, 100.0, median_mbps=None if ratio is None else ratio * 100) for state, ratio in states
    ]
    fields = place_state_fields(judgements)
    counts = {"lines": 7, "meeting": 2, "short": 1, "silent": 1, "uncertain": 1, "not_assessable": 1, "no_data": 1}
    assert fields == {**counts, "share": 2 / 3, "ratio": pytest.approx(1.1)}
    assert set(fields) == set(SCHEMAS["place_state"])
    assert "share" not in place_state_fields(judgements[3:])


def test_latency_is_bad_above_its_limit_and_by_more_than_a_single_probe() -> None:
    limits = LatencyLimits(latency_ms=100, loss_percent=2)
    good = latency_fields(LatencyFigures(12, 240, 236, 100.0), limits)
    assert good == {"rtt_ms": 100.0, "loss_percent": pytest.approx(5 / 3), "latency_bad": 0, "loss_bad": 0}
    bad = latency_fields(LatencyFigures(12, 240, 120, 100.5), limits)
    assert (bad["latency_bad"], bad["loss_bad"], bad["loss_percent"]) == (1, 1, 50.0)
    assert latency_fields(LatencyFigures(2, 40, 20, 300.0), limits) == {"rtt_ms": 300.0, "loss_percent": 50.0}
    assert latency_fields(LatencyFigures(12, 240, 0), limits) == {"loss_percent": 100.0, "loss_bad": 1}
    assert latency_fields(LatencyFigures(12, 0, 0), limits) == {}


HEALTHY = HealthRow(
    at=NOW - dt.timedelta(minutes=4),
    version="1.0",
    cpu_percent=3.0,
    load1=0.1,
    mem_used_percent=20.0,
    disk_free_bytes=10**10,
    disk_used_percent=30.0,
    uptime_s=3600.0,
    rss_bytes=40_000_000,
    spool_depth=5,
    spool_bytes=4096,
    clock_synced=True,
    temp_c=50.0,
    throttled=0xF0000,
)


ALL_THERE = Counts(10, 10)


def unit(seen: bool | None = True, tally: Counts = ALL_THERE, **health: object) -> UnitStatus:
    said = None if seen is None else Presence("nd-a-1", seen, "1.0", NOW)
    return UnitStatus(row(LineId("nd-a-1", "4g")), NOW, said, msgspec.structs.replace(HEALTHY, **health), tally)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (unit(), None),
        (unit(seen=None), None),
        (unit(seen=False), "offline"),
        (unit(seen=None, at=NOW - dt.timedelta(hours=1)), "offline"),
        (UnitStatus(row(LineId("nd-a-1", "4g")), NOW), "offline"),
        (unit(at=NOW - dt.timedelta(hours=1)), "no_health"),
        (unit(throttled=0b0001), "under_voltage"),
        (unit(throttled=0b0101, temp_c=90.0), "under_voltage"),
        (unit(temp_c=80.0, throttled=0b0100), "hot"),
        (unit(throttled=0b0010), "throttled"),
        (unit(disk_free_bytes=10**8), "disk_full"),
        (unit(clock_synced=False, spool_depth=10**6), "clock"),
        (unit(spool_depth=100_000), "spool_full"),
        (unit(tally=Counts(10, 9, missing=1)), "completeness"),
        (unit(tally=Counts(10, 9, rejected=1)), None),
    ],
)
def test_the_first_of_what_is_wrong_with_a_unit_is_its_problem(found: UnitStatus, problem: str | None) -> None:
    assert found.problem == problem
    fields = unit_state_point(found).fields
    assert (fields.get("problem"), fields["unhealthy"]) == (problem, int(problem is not None))
    assert set(fields) <= set(SCHEMAS["unit_state"])
    assert problem in (*PROBLEMS, None)


def test_each_unit_has_one_point_with_what_is_known_of_it() -> None:
    rows = [row(LineId("nd-a-1", "ftth")), row(LineId("nd-a-1", "4g")), row(LineId("nd-b-2", "ftth"))]
    first, second = units_of(rows, NOW, [Presence("nd-a-1", True, "1.0", NOW)], {"nd-a-1": HEALTHY}, None)
    point = unit_state_point(first)
    assert dict(point.tags) == {"agent": "nd-a-1", "hamlet": "Xóm 5", "area": "Nam Định/Hải Hậu/Hải Minh"}
    assert (point.fields["age_s"], point.fields["temp_c"], point.fields["online"]) == (240.0, 50.0, 1)
    assert unit_state_point(second).fields == {"online": 0, "unhealthy": 1, "problem": "offline"}
