"""The plan of measuring has one home: unit, server, Grafana, simulation and guides follow it."""

import ast
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from agent.schedule.slots import slots_of_day
from agent.settings import AgentSettings, LineSettings
from bench import verdicts
from collector.judge.verdict import Month, line_verdict
from collector.texts.texts import LOCAL
from collector.web.axis import Axis
from grafana import line as line_dashboard
from grafana.words import words
from tests.support.packages import PACKAGES, ROOT, files_of
from xomnet import plan
from xomnet.access import ACCESSES
from xomnet.contract.messages import Access
from xomnet.mqtt.broker import Broker
from xomnet.plan import METERED, PEAK_HOURS, PROVINCE_TIME, UNMETERED, DayPlan, day_plan, is_metered, is_peak
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

DAY = dt.date(2026, 11, 22)
PROGRAMS = (*PACKAGES, "grafana", "bench")
HOURS = re.compile(r"\b(\d+)(?:–| to | and | đến | và )(\d+)\s(?:h\b|giờ)")


@pytest.mark.parametrize(("day", "tests"), [(METERED, 4), (UNMETERED, 8)])
def test_half_of_the_tests_of_a_day_are_in_the_peak_hours(day: DayPlan, tests: int) -> None:
    assert (day.tests, day.peak_tests) == (tests, tests // 2)
    hours = [hour for slot in day.slots for hour in slot]
    assert hours == sorted(hours)
    assert all(is_peak(first) == is_peak(last - 1) for first, last in day.slots)


@pytest.mark.parametrize("access", get_args(Access))
def test_the_unit_tests_as_often_as_the_server_expects(access: Access) -> None:
    line = LineSettings(line="a", access=access)
    of_day = slots_of_day(DAY, line.is_metered, ZoneInfo(PROVINCE_TIME))
    row = LineRow("nd-a", "a", access, "Xóm 5", "Ninh Bình/xã Hải Anh", "VNPT", dt.date(2025, 1, 1))
    registry = Registry([row], Targets(Target(access=one, from_=row.from_, down_mbps=70) for one in ACCESSES))
    month = Month(2026, 11)
    assert line_verdict([], row, registry, month, month.until()).expected == month.days * len(of_day)
    assert len(of_day) == plan.tests_a_day(access)


@pytest.mark.parametrize("metered", [True, False])
def test_the_schedule_of_the_unit_is_the_plan(metered: bool) -> None:
    zone = AgentSettings(agent="nd-a", state_dir=Path(), broker=Broker(), lines=()).timezone
    assert zone.key == LOCAL.key == PROVINCE_TIME
    of_day = [
        (slot, slot.start.astimezone(zone).hour, slot.end.astimezone(zone).hour)
        for slot in slots_of_day(DAY, metered, zone)
    ]
    assert tuple((start, end) for _, start, end in of_day) == day_plan(metered).slots
    assert all(slot.peak == is_peak(start) for slot, start, _ in of_day)


def test_the_simulation_has_the_slots_of_the_plan() -> None:
    assert {plan.tests_a_day("mobile"): METERED.slots, plan.tests_a_day("fixed"): UNMETERED.slots} == verdicts.SLOTS
    assert (is_metered("mobile"), is_metered("fixed")) == (True, False)


def test_page_and_grafana_shade_the_peak_hours() -> None:
    midnight = dt.datetime.combine(DAY, dt.time(), LOCAL)
    (peak,) = Axis(midnight, midnight + dt.timedelta(days=1)).peaks()
    assert tuple(at.astimezone(LOCAL).hour for at in peak) == PEAK_HOURS
    region = re.search(r'"timeRegion": ({.*?})', json.dumps(line_dashboard.build(words("en"))))
    assert region
    first, last = PEAK_HOURS
    assert json.loads(region[1]) == {"from": f"{first}:00", "to": f"{last}:00", "timezone": PROVINCE_TIME}


@pytest.mark.parametrize(
    "file",
    [
        *(
            "docs/method.md",
            "docs/officer.en.md",
            "docs/officer.vi.md",
            "docs/technician.en.md",
            "docs/technician.vi.md",
        ),
        *("grafana/texts/en.yaml", "grafana/texts/vi.yaml"),
    ],
)
def test_texts_that_name_the_peak_hours_name_those_of_the_plan(file: str) -> None:
    found = {(int(first), int(last)) for first, last in HOURS.findall((ROOT / file).read_text(encoding="utf-8"))}
    assert found == {PEAK_HOURS}


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_operators_guide_names_the_slots(language: str) -> None:
    text = (ROOT / f"docs/operator.{language}.md").read_text(encoding="utf-8")
    by_day = [slot for slot in UNMETERED.slots if not is_peak(slot[0])]
    for some in (METERED.slots, by_day):
        assert ", ".join(f"{first}–{last}" for first, last in some) in text


def test_what_grafana_is_given_by_hand_has_the_time_zone_of_the_province() -> None:
    zones = {
        file.name: set(re.findall(r"\b[A-Z][a-z]+/[A-Z]\w+\b", text))
        for file in (ROOT / "grafana/provisioning").rglob("*.yaml")
        if (text := file.read_text(encoding="utf-8"))
    }
    assert {name for name, found in zones.items() if found == {PROVINCE_TIME}} >= {
        "mute-timings.yaml",
        "templates.yaml",
    }
    assert set().union(*zones.values()) == {PROVINCE_TIME}


def repeated(file: Path) -> Iterator[str]:
    """What a file says of the plan by itself: the peak hours as a pair, a range or bounds, the time zone."""
    hours = [str(hour) for hour in PEAK_HOURS]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Tuple(elts=parts) | ast.Call(func=ast.Name(id="range"), args=parts):
                if [ast.unparse(part) for part in parts] == hours:
                    yield ast.unparse(node)
            case ast.Compare() | ast.BoolOp():
                compared = [one for one in (node, *ast.iter_child_nodes(node)) if isinstance(one, ast.Compare)]
                if set(hours) <= {ast.unparse(part) for one in compared for part in (one.left, *one.comparators)}:
                    yield ast.unparse(node)
            case ast.Constant(value=str(text)) if text == PROVINCE_TIME:
                yield text


@pytest.mark.parametrize(
    "source",
    [
        *("peak = (19, 23)", "peak = range(19, 23)", "19 <= hour < 23", "hour >= 19 and hour < 23"),
        *("hour < 19 or 23 <= hour", "zone = 'Asia/Ho_Chi_Minh'"),
    ],
)
def test_each_way_to_repeat_the_plan_is_seen(source: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source)
    assert list(repeated(tmp_path / "module.py"))


def test_no_other_program_file_repeats_peak_hours_or_time_zone() -> None:
    files = files_of(PROGRAMS)
    assert len(files) > 200
    found = {(str(file.relative_to(ROOT)), text) for file in files for text in repeated(file)}
    assert {file for file, _ in found} == {"xomnet/plan.py"}
