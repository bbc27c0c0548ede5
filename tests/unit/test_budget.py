"""The byte budget: never exceeded, peak tests last, and a ledger that survives what a card does to it."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.budget import MONTHS_KEPT, WIRE_FACTOR, Ledger, LedgerError, allow

MB = 1_000_000
MONTH = "2026-11"


@contextmanager
def full_disk(limit_bytes: int = 0) -> Iterator[None]:
    """No file of this process may grow past a length: a disk without room, as far as a write can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("used", "budget", "peak", "peak_left", "may"),
    [
        (0, None, False, 60, True),  # no budget, no bound
        (0, 5000 * MB, False, 60, True),
        (0, 60 * MB, True, 0, True),
        (18 * MB, 60 * MB, True, 0, False),  # 42.4 MB on the wire do not fit into 42
        (17 * MB, 60 * MB, True, 0, True),
        (0, 100 * MB, False, 2, False),  # the two peak tests need what is left
        (0, 100 * MB, True, 2, True),
        (0, 128 * MB, False, 2, True),
        (60 * MB, 60 * MB, True, 0, False),
        (2**62, 60 * MB, True, 0, False),  # a month whose count was lost
    ],
)
def test_a_test_may_run_where_it_fits_and_leaves_enough_for_the_peak(
    used: int, budget: int | None, peak: bool, peak_left: int, may: bool
) -> None:
    allowed = allow(used, budget, 40 * MB, peak, peak_left)
    assert (allowed.max_bytes, allowed.reason is None) == ((40 * MB, True) if may else (0, False))


def test_a_refusal_says_how_much_is_left() -> None:
    assert allow(4_990 * MB, 5_000 * MB, 40 * MB, True, 0).reason == (
        "10000000 of 5000000000 bytes are left this month, a test may take 42400000"
    )
    assert allow(0, 100 * MB, 40 * MB, False, 2).reason == (
        "100000000 bytes are left this month, kept for 2 tests in the peak hours"
    )


@given(
    budget=st.integers(1, 2_000 * MB),
    tests=st.lists(
        st.tuples(
            st.sampled_from(["2026-11", "2026-12", "2027-01"]),
            st.booleans(),  # peak
            st.integers(1, 200 * MB),  # wanted
            st.floats(0, 1),  # how much of it the test moves
            st.booleans(),  # killed in mid-test
        ),
        max_size=40,
    ),
)
def test_no_run_of_tests_kills_and_months_exceeds_the_budget(
    tmp_path_factory: pytest.TempPathFactory, budget: int, tests: list[tuple[str, bool, int, float, bool]]
) -> None:
    path = tmp_path_factory.mktemp("budget") / "ledger.json"
    ledger = Ledger(path, MONTH)
    moved: dict[str, float] = {}
    for month, peak, wanted, share, killed in tests:
        allowed = allow(ledger.used("4g", month), budget, wanted, peak, 3)
        if allowed.reason is not None:
            continue
        reserved = int(allowed.max_bytes * WIRE_FACTOR)
        ledger.charge("4g", month, reserved)
        payload = int(allowed.max_bytes * share)
        moved[month] = moved.get(month, 0) + payload * WIRE_FACTOR
        if killed:
            ledger = Ledger(path, MONTH)
        else:
            ledger.charge("4g", month, int(payload * WIRE_FACTOR) - reserved)
    for month, wire in moved.items():
        assert wire <= budget + 1  # the rounding of the last byte
        assert ledger.used("4g", month) <= budget


def test_towards_the_end_of_a_tight_month_only_peak_tests_run() -> None:
    budget, used, ran = 1_000 * MB, 0, []
    plan = [(day, peak) for day in range(15) for peak in (False, False, True, True)]
    for number, (_, peak) in enumerate(plan):
        left = sum(later for _, later in plan[number + 1 :])
        if allow(used, budget, 40 * MB, peak, left).reason is None:
            used += int(40 * MB * WIRE_FACTOR)
            ran.append(peak)
    assert used <= budget
    assert all(ran)
    assert len(ran) == 1_000 // 42.4


def test_a_ledger_keeps_months_lines_and_slots_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = Ledger(path, MONTH)
    ledger.charge("4g", MONTH, 100)
    ledger.charge("4g", MONTH, -30)
    ledger.charge("ftth", MONTH, 5)
    ledger.charge("4g", "2026-12", 1)
    ledger.done("4g", "2026-11-20T12:00:00+00:00")
    again = Ledger(path, MONTH)
    assert [again.used("4g", MONTH), again.used("ftth", MONTH), again.used("4g", "2026-12")] == [70, 5, 1]
    assert again.used("other", MONTH) == 0
    assert again.done_until("4g") == "2026-11-20T12:00:00+00:00"
    assert again.done_until("ftth") is None
    assert again.reset_detail is None


def test_a_ledger_forgets_months_long_past(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json", MONTH)
    months = [f"{2020 + n // 12}-{n % 12 + 1:02}" for n in range(40)]
    for month in months:
        ledger.charge("4g", month, 7)
    again = Ledger(tmp_path / "ledger.json", MONTH)
    assert [month for month in months if again.used("4g", month)] == months[-MONTHS_KEPT:]


def test_the_file_is_closed_to_others_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = Ledger(path, MONTH)
    ledger.charge("4g", MONTH, 1)
    with path.open("rb") as before:
        ledger.charge("4g", MONTH, 1)
        assert b'"4g":1' in before.read()  # who had it open still reads the old one, whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["ledger.json"]


def test_a_write_cut_off_by_a_power_cut_leaves_the_last_good_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    Ledger(path, MONTH).charge("4g", MONTH, 9)
    (tmp_path / "ledger.json.new").write_bytes(b'{"months":{"20')
    ledger = Ledger(path, MONTH)
    assert (ledger.used("4g", MONTH), ledger.reset_detail) == (9, None)
    ledger.charge("4g", MONTH, 1)
    assert Ledger(path, MONTH).used("4g", MONTH) == 10


@pytest.mark.parametrize("damage", [b"", b"\0" * 512, b'{"months":{"2026-11":{"4g":', b'{"months":[]}', b"\xff\xfe"])
def test_a_damaged_ledger_is_set_aside_and_its_month_is_spent(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(damage)
    ledger = Ledger(path, MONTH)
    assert ledger.used("4g", MONTH) > 10**15
    assert ledger.used("4g", "2026-12") == 0
    (aside,) = tmp_path.glob("ledger.json.damaged-*")
    assert aside.read_bytes() == damage
    assert aside.name in (ledger.reset_detail or "")
    again = Ledger(path, MONTH)  # a restart must not give the month back
    assert again.used("4g", MONTH) > 10**15
    assert again.reset_detail is None


def test_a_full_disk_refuses_and_the_count_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = Ledger(path, MONTH)
    ledger.charge("4g", MONTH, 100)
    for _ in range(3):
        with full_disk(), pytest.raises(LedgerError, match=r"ledger\.json: File too large; free some space"):
            ledger.charge("4g", MONTH, 40)
        with full_disk(), pytest.raises(LedgerError):
            ledger.done("4g", "2026-11-20T12:00:00+00:00")
    assert ledger.used("4g", MONTH) == 100  # a test that could not be reserved did not run
    assert ledger.done_until("4g") is None
    assert Ledger(path, MONTH).used("4g", MONTH) == 100
    ledger.charge("4g", MONTH, 1)
    assert Ledger(path, MONTH).used("4g", MONTH) == 101
