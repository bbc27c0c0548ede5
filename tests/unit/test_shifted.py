"""The instants of `make shifted`, and the clock that is moved to them."""

import datetime as dt
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.shifted.__main__ import TESTS, NothingMarked, chosen, compiled, has_marked, marked, moved
from tests.shifted.instants import INSTANTS, UTC, VIET_NAM, next_of

NOW = dt.datetime(2026, 11, 30, 11, 24, tzinfo=UTC)
SHIFT = dt.timedelta(days=400)


@pytest.mark.parametrize(
    ("name", "instant", "after_it"),
    [
        ("month-vn", "2026-11-30T16:30Z", "2027-01-31T16:30Z"),
        ("month-utc", "2026-11-30T23:30Z", "2027-01-31T23:30Z"),
        ("year-vn", "2026-12-31T16:30Z", "2027-12-31T16:30Z"),
        ("year-utc", "2026-12-31T23:30Z", "2027-12-31T23:30Z"),
        ("29-feb", "2028-02-29T00:01Z", "2032-02-29T00:01Z"),
        ("monday", "2026-11-30T16:59Z", "2026-12-07T16:59Z"),
        ("midnight-vn", "2026-12-14T17:01Z", "2027-01-14T17:01Z"),
        ("midnight-utc", "2026-12-15T23:59Z", "2027-01-15T23:59Z"),
    ],
)
def test_each_instant_is_the_next_of_its_kind(name: str, instant: str, after_it: str) -> None:
    first = next_of(name, NOW)
    assert (first, next_of(name, first)) == (dt.datetime.fromisoformat(instant), dt.datetime.fromisoformat(after_it))
    assert name in INSTANTS


def test_midnight_in_viet_nam_is_another_day_in_utc() -> None:
    at = next_of("midnight-vn", NOW)
    assert at.astimezone(VIET_NAM).date() != at.astimezone(UTC).date()


CLOCKS = """
import ctypes, datetime as dt, json, subprocess, time

began = time.monotonic()
time.sleep(0.01)
c, second, exact = ctypes.CDLL(None), ctypes.c_long(), (ctypes.c_long * 2)()
c.time.restype = ctypes.c_long
walls = {
    "Python": time.time(),
    "Python's datetime": dt.datetime.now(dt.UTC).timestamp(),
    "a child": float(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout),
    "time()": c.time(ctypes.byref(second)),
    "what time() fills": second.value,
    "gettimeofday()": exact[0] + exact[1] / 1e6 if c.gettimeofday(exact, None) == 0 else 0,
}
print(json.dumps([walls, began]))
"""
"""What a process reads of each clock; of those of C by itself, since Python asks clock_gettime() alone."""


def test_the_wall_clock_is_moved_for_a_process_and_its_children_and_no_other_clock(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    before = time.time(), time.monotonic()
    done = subprocess.run(
        [*moved(SHIFT, library), sys.executable, "-c", CLOCKS], capture_output=True, text=True, timeout=60, check=True
    )
    after = time.time(), time.monotonic()
    walls, began = json.loads(done.stdout)
    assert len(walls) == 6
    for name, wall in walls.items():
        assert before[0] - 1 <= wall - SHIFT.total_seconds() <= after[0] + 1, name
    assert before[1] <= began <= after[1]


def test_where_files_are_named_those_run_and_else_all_that_are_marked() -> None:
    web = str(TESTS / "integration" / "test_web.py")
    assert web in chosen(["-p", "no:cacheprovider"])
    assert chosen(["-q", f"{web}::test_filters_leave_what_was_asked_for"]) == chosen([str(TESTS / "integration")]) == []
    with pytest.raises(NothingMarked):
        chosen([str(TESTS / "unit" / "test_registry.py")])


def test_the_files_of_marked_tests_are_found() -> None:
    names = [file.name for file in marked()]
    assert {"test_web.py", "test_alerts.py"} <= set(names)
    assert "test_store.py" not in names
    assert "test_clock_readers.py" not in names, "it only speaks of the mark"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("@pytest.mark.date\ndef test_a(): ...", True),
        ("pytestmark = [pytest.mark.alone, pytest.mark.date]\ndef test_a(): ...", True),
        ("@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.date)])\ndef test_a(a): ...", True),
        ("@pytest.mark.deploy\ndef test_a(): dt.date(2026, 1, 1)", False),
        ("TEXT = '''\n@pytest.mark.date\n'''\ndef test_a(): ...", False),
    ],
)
def test_a_mark_is_found_in_whatever_form(source: str, found: bool) -> None:
    assert has_marked(source) is found
