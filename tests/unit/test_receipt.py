"""Manifests: every number of a spool is told once, of its line, over evictions, restarts, full disks and old files."""

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agent.delivery import spool as spool_module
from agent.delivery.receipt import receipt_day, spool_receipts
from agent.delivery.spool import Spool, SpoolError
from tests.unit.test_budget import full_disk
from tests.unit.test_spool import BOOT, NEXT_BOOT, START, at, everything, messages, speed
from xomnet.contract.messages import Event, EventResult


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    spool = Spool(path, "nd-a-1", BOOT)
    yield spool
    spool.close()


def told(spool: Spool) -> list[EventResult]:
    """Manifests in the spool, oldest first."""
    found = messages(everything(spool, at(9_999)))
    return [one for one in found if isinstance(one, EventResult) and one.data.name == "manifest"]


def digest(*seqs: int) -> str:
    return hashlib.sha256(",".join(map(str, seqs)).encode()).hexdigest()[:32]


def figures(one: EventResult) -> tuple[str | None, int | None, int | None, int | None, str | None]:
    return one.line, one.data.first_seq, one.data.last_seq, one.data.count, one.data.digest


def test_a_round_tells_of_each_line_and_of_the_unit_itself(spool: Spool) -> None:
    for line in ("ftth", "4g", "ftth"):
        spool.commit(speed(), line, at(1))
    spool.commit(Event(name="started"), None, at(2))
    assert spool.commit_receipts(at(3), 7)
    assert sorted(map(figures, told(spool)), key=str) == [
        ("4g", 1, 4, 1, digest(2)),
        ("ftth", 1, 4, 2, digest(1, 3)),
        (None, 1, 4, 1, digest(4)),
    ]


def test_rounds_adjoin_and_tell_of_the_manifests_before_them(spool: Spool) -> None:
    for day in range(3):
        spool.commit(speed(), "ftth", at(day))
        assert spool.commit_receipts(at(day), day)
    assert [figures(one)[1:4] for one in told(spool) if one.line == "ftth"] == [(1, 1, 1), (2, 4, 2), (5, 7, 2)]
    assert [figures(one) for one in told(spool) if one.line is None] == [
        (None, 1, 1, 0, digest()),
        (None, 2, 4, 1, digest(2)),
        (None, 5, 7, 1, digest(5)),
    ]


def test_a_round_comes_once_a_day_or_when_much_is_untold(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.commit(speed(), "ftth", at(1))
    assert not spool.commit_receipts(at(1), None)  # nobody knows the day
    assert [spool.commit_receipts(at(1), day) for day in (4, 4, 5)] == [True, False, True]
    monkeypatch.setattr(spool_module, "MAX_ROWS", 5)
    found = []
    for n in range(6):
        spool.commit(speed(), "ftth", at(n))
        found.append(spool.commit_receipts(at(n), None))
    assert found.count(True) == 2  # the last round's manifests count


def test_what_was_told_and_what_was_not_survive_a_kill(path: Path, spool: Spool) -> None:
    spool.commit(speed(), "ftth", at(1))
    spool.commit_receipts(at(1), 1)
    left = spool.commit(speed(), "ftth", at(2))
    again = Spool(path, "nd-a-1", BOOT)  # the first one is still open, as a killed one's files are
    assert not again.commit_receipts(at(3), 1)
    assert again.commit_receipts(at(3), 2)
    last = [one for one in told(again) if one.line == "ftth"][-1]
    assert (last.data.first_seq, last.data.count) == (2, 2)
    assert left == last.data.last_seq
    again.close()


def test_numbers_that_a_boot_leaves_out_are_in_no_round(path: Path, spool: Spool) -> None:
    """What is evicted could not be told from what is lost among billions of numbers that never were."""
    spool.commit(speed(), "ftth", at(1))
    again = Spool(path, "nd-a-1", NEXT_BOOT)
    far = again.commit(speed(), "ftth", at(1))
    again.commit_receipts(at(2), 1)
    before, after = (one for one in told(again) if one.line == "ftth")
    assert figures(before) == ("ftth", 1, 1, 1, digest(1))
    assert figures(after) == ("ftth", far, far, 1, digest(far))
    again.close()


def test_a_round_may_begin_after_a_boot(path: Path, spool: Spool) -> None:
    spool.commit(speed(), "ftth", at(1))
    spool.commit_receipts(at(1), 1)
    left = everything(spool, at(2))[-1].seq
    spool.close()
    again = Spool(path, "nd-a-1", NEXT_BOOT)
    far = again.commit(speed(), "4g", at(1))
    again.commit_receipts(at(2), 2)
    assert [figures(one)[1:4] for one in told(again) if one.line is None][-2:] == [(2, left, 1), (far, far, 0)]
    again.close()


def test_what_was_evicted_counts_as_taken_in(path: Path) -> None:
    spool = Spool(path, "nd-a-1", BOOT, max_bytes=3_000)
    seqs = [spool.commit(speed(n), "ftth", at(n)) for n in range(40)]
    spool.commit_receipts(at(50), 1)
    (line,) = [one for one in told(spool) if one.line == "ftth"]
    assert figures(line) == ("ftth", 1, line.data.last_seq, 40, digest(*seqs))
    evicted = [m.data for m in messages(everything(spool, at(60))) if isinstance(m, EventResult)]
    assert all(event.count for event in evicted if event.name == "evicted")
    spool.close()


def test_a_full_disk_writes_none_and_the_next_round_tells_of_all(path: Path, spool: Spool) -> None:
    for n in range(3):
        spool.commit(speed(n), "ftth", at(n))
    with full_disk(path.with_name("spool.db-wal").stat().st_size), pytest.raises(SpoolError):
        spool.commit_receipts(at(4), 1)
    assert told(spool) == []
    assert spool.commit_receipts(at(5), 1)
    assert [figures(one)[1:4] for one in told(spool) if one.line == "ftth"] == [(1, 3, 3)]


OLD_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, line TEXT, boot TEXT NOT NULL,
    boot_ns INTEGER NOT NULL, wall_us INTEGER NOT NULL, clock TEXT, at_error_s REAL, data BLOB NOT NULL
);
"""


def test_a_spool_of_version_0_1_goes_on_and_its_first_round_begins_after_what_it_held(path: Path) -> None:
    name = "5f1d6c1e-9f5b-4f5e-8f57-3f6f3f1c2a10"
    with sqlite3.connect(path) as old:
        old.executescript(OLD_SCHEMA)
        old.execute("INSERT INTO meta VALUES ('spool', ?)", (name,))
        row = ("speed", "ftth", str(BOOT), 10**9, 1_795_000_000_000_000, "synced", b'{"engine":"http","server":"x"}')
        for _ in range(2):
            insert = "INSERT INTO results (kind, line, boot, boot_ns, wall_us, clock, data) VALUES (?,?,?,?,?,?,?)"
            old.execute(insert, row)
    old.close()
    spool = Spool(path, "nd-a-1", NEXT_BOOT)
    assert str(spool.id) == name
    assert [(str(m.spool), m.seq) for m in messages(everything(spool, at(1)))] == [(name, 1), (name, 2)]
    new = spool.commit(speed(), "ftth", at(2))
    spool.commit_receipts(at(3), 1)
    assert {figures(one)[1:4] for one in told(spool) if one.line == "ftth"} == {(new, new, 1)}
    spool.remove_acked([1, 2])
    assert next(m.seq for m in messages(everything(spool, at(4)))) == new
    spool.close()
    Spool(path, "nd-a-1", NEXT_BOOT).close()


@given(st.integers(0, 2**31), st.sampled_from(["nd-a-1", "nd-a-2", "nd-b"]))
def test_a_units_day_begins_at_its_own_steady_moment(seconds: int, agent: str) -> None:
    now = dt.datetime.fromtimestamp(seconds, dt.UTC)
    assert receipt_day(agent, now + dt.timedelta(days=1)) == receipt_day(agent, now) + 1


def test_units_do_not_all_tell_at_once() -> None:
    hours = {
        next(
            h
            for h in range(25)
            if receipt_day(f"nd-{n}", START + dt.timedelta(hours=h)) != receipt_day(f"nd-{n}", START)
        )
        for n in range(300)
    }
    assert len(hours) == 24


@given(st.lists(st.sampled_from(["ftth", "4g", None])))
@hypothesis_settings(max_examples=50)
def test_each_number_is_in_one_manifest(lines: list[str | None]) -> None:
    rows = list(enumerate(lines, start=5))
    found = list(spool_receipts(rows, 1, 99))
    assert sum(event.count or 0 for _, event in found) == len(rows)
    assert len({line for line, _ in found}) == len(found)
    for line, event in found:
        assert event.digest == digest(*(seq for seq, of in rows if of == line))
