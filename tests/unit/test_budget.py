"""The byte budget: never exceeded, peak tests last, and a ledger that survives what a card does to it."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.net.counters import Counters
from agent.schedule.quota.budget import MONTHS_KEPT, RESERVE_FACTOR, SAVE_BYTES, BudgetError, DataBudget, allowance

MB = 1_000_000
NOV, DEC, JAN = "2026-11", "2026-12", "2027-01"
LINES: dict[str, str | None] = {"4g": "wwan0", "ftth": "eth0"}
BOOT = "first boot"


def counters(wwan0: int = 0, eth0: int = 0, index: int = 5) -> Counters:
    return {f"wwan0#{index}": (wwan0, 0), "eth0#2": (0, eth0), "lo#1": (10**12, 10**12)}


def ledger_at(path: Path, month: str | None = NOV) -> DataBudget:
    """One that has looked at counters at 0."""
    ledger = DataBudget(path)
    ledger.charge_counters(month, BOOT, counters(), LINES)
    ledger.save()
    return ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.json"


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
    ("used", "budget", "peak", "peak_left", "held_back", "may"),
    [
        (0, None, False, 60, 0, True),  # no budget, no bound
        (0, 5000 * MB, False, 60, 0, True),
        (0, 60 * MB, True, 0, 0, True),
        (17 * MB, 60 * MB, True, 0, 0, False),  # the 44 MB that it may come to do not fit into 43
        (16 * MB, 60 * MB, True, 0, 0, True),
        (16 * MB, 60 * MB, True, 0, 1, False),  # a byte is wanted for messages
        (0, 100 * MB, False, 2, 0, False),  # the two peak tests need what is left
        (0, 100 * MB, True, 2, 0, True),
        (0, 132 * MB, False, 2, 0, True),
        (0, 132 * MB, False, 2, 1, False),
        (60 * MB, 60 * MB, True, 0, 0, False),
        (2**62, 60 * MB, True, 0, 0, False),  # a month whose count was lost
    ],
)
def test_a_test_may_run_where_it_fits_and_leaves_enough_for_the_peak(
    used: int, budget: int | None, peak: bool, peak_left: int, held_back: int, may: bool
) -> None:
    allowed = allowance(used, budget, 40 * MB, peak, peak_left, held_back)
    assert (allowed.max_bytes, allowed.reason is None) == ((40 * MB, True) if may else (0, False))


def test_a_refusal_says_how_much_is_left() -> None:
    assert allowance(4_990 * MB, 5_000 * MB, 40 * MB, True, 0).reason == (
        "10000000 of 5000000000 bytes are left for tests this month, one may take 44000000"
    )
    assert allowance(0, 100 * MB, 40 * MB, False, 2, 5 * MB).reason == (
        "95000000 bytes are left for tests this month, kept for 2 of the schedule"
    )


def test_towards_the_end_of_a_tight_month_only_peak_tests_run() -> None:
    budget, used, ran = 1_000 * MB, 0, []
    plan = [(day, peak) for day in range(15) for peak in (False, False, True, True)]
    for number, (_, peak) in enumerate(plan):
        left = sum(later for _, later in plan[number + 1 :])
        if allowance(used, budget, 40 * MB, peak, left).reason is None:
            used += int(40 * MB * RESERVE_FACTOR)
            ran.append(peak)
    assert used <= budget
    assert all(ran)
    assert len(ran) == 1_000 // 44


def test_a_line_is_charged_what_its_own_port_moves_both_ways(path: Path) -> None:
    ledger = ledger_at(path)
    found = ledger.charge_counters(NOV, BOOT, {"wwan0#5": (100, 20), "eth0#2": (3, 0), "wlan0#3": (9, 9)}, LINES)
    assert found == {"4g": 120, "ftth": 3}
    assert [ledger.used_bytes("4g"), ledger.used_bytes("ftth"), ledger.used_bytes("other")] == [120, 3, 0]


def test_the_first_look_of_all_charges_nothing(path: Path) -> None:
    ledger = DataBudget(path)
    ledger.charge_counters(NOV, BOOT, counters(5 * MB), LINES)
    assert ledger.used_bytes("4g") == 0


def test_a_restart_of_the_agent_loses_nothing_and_doubles_nothing(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)
    ledger.save()
    ledger.charge_counters(NOV, BOOT, counters(90), LINES)  # never written
    again = DataBudget(path)
    again.charge_counters(NOV, BOOT, counters(100), LINES)
    assert again.used_bytes("4g") == 100


@pytest.mark.parametrize("since", [50, 90])  # less than before, and more
def test_a_boot_charges_its_counters_from_0_and_what_may_have_gone_unwritten(path: Path, since: int) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)
    ledger.save()
    again = DataBudget(path)
    assert again.charge_counters(NOV, "second boot", counters(since), LINES)["4g"] is None  # that is not all
    assert again.used_bytes("4g") == 70 + since + SAVE_BYTES


def test_a_modem_plugged_anew_is_charged_from_0_even_where_it_has_moved_more_than_before(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(100), LINES)
    assert ledger.charge_counters(NOV, BOOT, counters(150, index=6), LINES)["4g"] is None
    assert ledger.used_bytes("4g") == 250


def test_a_test_is_reserved_until_it_is_settled(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.reserve("4g", 44 * MB)
    assert ledger.used_bytes("4g") == 44 * MB
    ledger.charge_counters(NOV, BOOT, counters(30 * MB), LINES)
    ledger.settle("4g", 0)
    assert ledger.used_bytes("4g") == DataBudget(path).used_bytes("4g") == 30 * MB


def test_what_no_counter_saw_is_charged_by_what_is_known_of_it(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.reserve("4g", 44 * MB)
    ledger.settle("4g", 7)
    assert ledger.used_bytes("4g") == 7
    ledger.reserve("4g", 44 * MB)
    ledger.settle("4g", None)
    assert ledger.used_bytes("4g") == 44 * MB + 7


def test_a_test_cut_off_by_a_crash_is_charged_as_counted(path: Path) -> None:
    ledger_at(path).reserve("4g", 44 * MB)
    again = DataBudget(path)
    assert again.used_bytes("4g") == 44 * MB
    again.charge_counters(NOV, BOOT, counters(30 * MB), LINES)
    assert again.used_bytes("4g") == 30 * MB


@pytest.mark.parametrize(
    ("boot", "seen"), [("second boot", counters()), (BOOT, counters(index=6)), (BOOT, {"eth0#2": (0, 0)})]
)
def test_a_test_cut_off_where_no_counter_can_tell_is_charged_as_reserved(path: Path, boot: str, seen: Counters) -> None:
    ledger_at(path).reserve("4g", 44 * MB)
    again = DataBudget(path)
    for _ in range(2):
        again.charge_counters(NOV, boot, seen, LINES)
        assert 44 * MB <= again.used_bytes("4g") <= 44 * MB + SAVE_BYTES


def test_a_line_taken_out_of_the_settings_in_a_test_keeps_its_charge(path: Path) -> None:
    ledger_at(path).reserve("4g", 44 * MB)
    again = DataBudget(path)
    again.charge_counters(NOV, BOOT, counters(1), {"ftth": "eth0"})
    assert again.used_bytes("4g") == 44 * MB


def test_a_new_month_begins_at_0_and_the_old_one_stays_on_file(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)  # November still
    ledger.charge_counters(DEC, BOOT, counters(75), LINES)
    ledger.save()
    assert ledger.used_bytes("4g") == 5
    assert b'"2026-11":{"4g":70' in path.read_bytes()


def test_without_a_synchronised_clock_no_month_begins(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)
    ledger.save()
    again = DataBudget(path)
    again.charge_counters(None, BOOT, counters(100), LINES)
    assert again.used_bytes("4g") == 100


def test_what_was_moved_before_the_clock_told_of_the_new_month_counts_in_both(path: Path) -> None:
    ledger = ledger_at(path)
    for moved, month in ((70, NOV), (70, NOV), (100, None), (110, None)):
        ledger.charge_counters(month, BOOT, counters(moved), LINES)
    assert ledger.used_bytes("4g") == 110
    ledger.save()
    again = DataBudget(path)
    again.charge_counters(DEC, BOOT, counters(111), LINES)
    assert again.used_bytes("4g") == 41


def test_a_clock_set_back_gives_no_byte_back(path: Path) -> None:
    ledger = ledger_at(path, JAN)
    ledger.charge_counters(NOV, BOOT, counters(70), LINES)
    ledger.charge_counters(JAN, BOOT, counters(100), LINES)  # a clock that was wrong
    ledger.charge_counters(NOV, BOOT, counters(101), LINES)
    assert ledger.used_bytes("4g") >= 101
    ledger.charge_counters(JAN, BOOT, counters(101), LINES)
    assert ledger.used_bytes("4g") >= 30


def test_before_the_clock_was_ever_right_all_counts_in_the_first_month_it_tells(path: Path) -> None:
    ledger = ledger_at(path, None)
    ledger.charge_counters(None, BOOT, counters(70), LINES)
    assert ledger.used_bytes("4g") == 70
    ledger.charge_counters(NOV, BOOT, counters(71), LINES)
    assert ledger.used_bytes("4g") == 71


def test_a_ledger_of_version_0_1_keeps_its_month_while_the_clock_is_not_synchronised(path: Path) -> None:
    path.write_text('{"months":{"2026-10":{"4g":3},"2026-11":{"4g":70}},"done":{"4g":"2026-11-20T12:00:00+00:00"}}')
    ledger = DataBudget(path)
    ledger.charge_counters(None, BOOT, counters(9 * MB), LINES)
    assert ledger.used_bytes("4g") == 70
    assert ledger.last_done_slot("4g") == "2026-11-20T12:00:00+00:00"


def test_a_ledger_keeps_lines_and_slots_over_a_restart(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(70, 5), LINES)
    ledger.mark_done("4g", "2026-11-20T12:00:00+00:00")
    again = DataBudget(path)
    assert [again.used_bytes("4g"), again.used_bytes("ftth"), again.used_bytes("other")] == [70, 5, 0]
    assert again.last_done_slot("4g") == "2026-11-20T12:00:00+00:00"
    assert again.last_done_slot("ftth") is None
    assert again.reset_detail is None


def test_a_ledger_forgets_months_long_past(path: Path) -> None:
    ledger = ledger_at(path)
    months = [f"{2027 + n // 12}-{n % 12 + 1:02}" for n in range(40)]
    for number, month in enumerate(months):
        ledger.charge_counters(month, BOOT, counters(7 * number + 7), LINES)
    ledger.save()
    text = path.read_text()
    assert [month for month in months if f'"{month}":{{' in text] == months[-MONTHS_KEPT:]


def test_the_file_is_closed_to_others_and_replaced_whole(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.reserve("4g", 1)
    with path.open("rb") as before:
        ledger.reserve("4g", 2)
        assert b'"reserved":{"4g":1}' in before.read()  # who had it open still reads the old one, whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["ledger.json"]


def test_a_write_cut_off_by_a_power_cut_leaves_the_last_good_ledger(path: Path) -> None:
    ledger_at(path).reserve("4g", 9)
    path.with_name("ledger.json.new").write_bytes(b'{"months":{"20')
    ledger = DataBudget(path)
    assert (ledger.used_bytes("4g"), ledger.reset_detail) == (9, None)
    ledger.reserve("4g", 10)
    assert DataBudget(path).used_bytes("4g") == 10


@pytest.mark.parametrize("damage", [b"", b"\0" * 512, b'{"months":{"2026-11":{"4g":', b'{"months":[]}', b"\xff\xfe"])
def test_a_damaged_ledger_is_set_aside_and_the_month_that_the_clock_tells_is_spent(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    ledger = DataBudget(path)
    assert ledger.used_bytes("4g") > 10**15
    (aside,) = path.parent.glob("ledger.json.damaged-*")
    assert aside.read_bytes() == damage
    assert aside.name in (ledger.reset_detail or "")
    for month in (None, NOV, NOV, None):  # a restart must not give the month back
        again = DataBudget(path)
        assert again.reset_detail is None
        again.charge_counters(month, BOOT, counters(), LINES)
        again.save()
        assert again.used_bytes("4g") > 10**15
    again.charge_counters(DEC, BOOT, counters(), LINES)
    assert again.used_bytes("4g") == 0


def test_a_full_disk_refuses_and_the_count_stays_as_it_was(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.charge_counters(NOV, BOOT, counters(100), LINES)
    ledger.save()
    for _ in range(3):
        with full_disk(), pytest.raises(BudgetError, match=r"ledger\.json: File too large; free some space"):
            ledger.reserve("4g", 40)
        with full_disk(), pytest.raises(BudgetError):
            ledger.mark_done("4g", "2026-11-20T12:00:00+00:00")
    assert ledger.used_bytes("4g") == 100  # a test that could not be reserved did not run
    assert ledger.last_done_slot("4g") is None
    assert DataBudget(path).used_bytes("4g") == 100


def test_a_disk_that_fills_up_in_a_test_keeps_the_reservation_and_the_count_goes_on_in_memory(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.reserve("4g", 40)
    ledger.charge_counters(NOV, BOOT, counters(30), LINES)
    with full_disk(), pytest.raises(BudgetError):
        ledger.settle("4g", 0)
    assert ledger.used_bytes("4g") == 30
    assert DataBudget(path).used_bytes("4g") == 40
    ledger.save()
    assert DataBudget(path).used_bytes("4g") == 30
