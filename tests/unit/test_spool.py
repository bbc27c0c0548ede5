"""The spool: a result stays until it is acknowledged or its eviction noted, and goes out the same each time."""

import datetime as dt
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.clock.clock import ClockReading
from agent.clock.timestamps import EARLIER_BOOT_ERROR_S, NEVER_SYNCED_ERROR_S
from agent.delivery.spool import ROW_OVERHEAD_BYTES, Pending, Spool, SpoolError
from tests.unit.test_budget import full_disk
from xomnet.contract.messages import Event, EventResult, Latency, Result, Speed, SpeedResult, decode_result

START = dt.datetime(2026, 11, 20, 5, tzinfo=dt.UTC)
BOOT, NEXT_BOOT = UUID(int=1), UUID(int=2)
HOLD_S = 600.0


def at(seconds: float, synced: bool = True, wall_off_s: float = 0) -> ClockReading:
    """A reading so long after boot; the wall clock may be off."""
    return ClockReading(START + dt.timedelta(seconds=seconds + wall_off_s), round(seconds * 1e9), synced)


def speed(mbps: float = 100.0, **more: Any) -> Speed:
    return Speed(engine="http", server="http://do.example.vn/", down_mbps=mbps, bytes=1, **more)


def messages(pending: list[Pending]) -> list[Result]:
    return [decode_result(one.payload) for one in pending]


def everything(spool: Spool, now: ClockReading) -> list[Pending]:
    return spool.pending(10_000, now, HOLD_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    spool = Spool(path, "nd-a-1", BOOT)
    yield spool
    spool.close()


def test_a_result_is_pending_until_it_is_forgotten(spool: Spool) -> None:
    first = spool.commit(speed(10), "ftth", at(1))
    second = spool.commit(Latency(method="icmp", anchors=("a",), sent=1, received=1, loss_percent=0), "4g", at(2))
    third = spool.commit(Event(name="started"), None, at(3))
    assert [one.seq for one in everything(spool, at(4))] == [first, second, third]
    assert spool.depth() == 3
    spool.remove_acked([second])
    assert [one.seq for one in everything(spool, at(4))] == [first, third]
    spool.remove_acked([first, third, third, 99])
    assert (everything(spool, at(4)), spool.depth(), spool.size_bytes()) == ([], 0, 0)


def test_what_is_forgotten_for_later_is_not_sent_again_and_goes_with_the_next_commit(path: Path, spool: Spool) -> None:
    """One write less to the card for each result. A kill before it costs a resend."""
    seqs = [spool.commit(speed(n), "ftth", at(n)) for n in range(3)]
    changes = spool._db.total_changes
    spool.remove_acked(seqs[:2], later=True)
    assert spool._db.total_changes == changes
    assert [one.seq for one in spool.pending(1, at(4), HOLD_S)] == [seqs[2]]
    assert spool.depth() == 1
    killed = Spool(path, "nd-a-1", BOOT)
    assert [one.seq for one in everything(killed, at(4))] == seqs
    killed.close()
    new = spool.commit(speed(4), "ftth", at(4))
    assert spool._db.execute("SELECT seq FROM results").fetchall()[0]["seq"] == seqs[2]
    spool.remove_acked([seqs[2], new], later=True)
    spool.flush_acked()
    assert (spool.depth(), spool.size_bytes()) == (0, 0)


def test_a_message_says_who_when_and_what(spool: Spool) -> None:
    spool.commit(speed(42.5), "ftth", at(1.25))
    (message,) = messages(everything(spool, at(2)))
    assert isinstance(message, SpeedResult)
    assert (message.agent, message.spool, message.boot, message.line) == ("nd-a-1", spool.id, BOOT, "ftth")
    assert (message.at, message.clock, message.at_error_s) == (at(1.25).wall, "synced", None)
    assert message.data == speed(42.5)


def test_a_result_of_no_line_names_none(spool: Spool) -> None:
    spool.commit(Event(name="started"), None, at(1))
    (one,) = everything(spool, at(2))
    assert b'"line"' not in one.payload
    assert isinstance(decode_result(one.payload), EventResult)


def test_the_oldest_come_first_and_what_is_under_way_is_left_out(spool: Spool) -> None:
    seqs = [spool.commit(speed(n), "ftth", at(n)) for n in range(1, 8)]
    assert [p.seq for p in spool.pending(3, at(9), HOLD_S)] == seqs[:3]
    assert [p.seq for p in spool.pending(3, at(9), HOLD_S, skip={seqs[0], seqs[2]})] == [seqs[1], seqs[3], seqs[4]]


def test_a_commit_is_told_to_who_asked(spool: Spool) -> None:
    told = threading.Event()
    spool.on_commit(told.set)
    spool.commit(speed(), "ftth", at(1))
    assert told.is_set()


def test_a_commit_is_written_through_to_the_disk(path: Path, spool: Spool) -> None:
    assert spool._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert spool._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL: the WAL is synced at every commit
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_killed_process_keeps_what_it_committed(path: Path) -> None:
    program = f"""
import datetime as dt, os, signal
from pathlib import Path
from uuid import UUID
from agent.clock.clock import ClockReading
from agent.delivery.spool import Spool
from xomnet.contract.messages import Event
spool = Spool(Path({str(path)!r}), "nd-a-1", UUID(int=1))
now = ClockReading(dt.datetime(2026, 11, 20, 5, tzinfo=dt.UTC), 1, True)
for number in range(20):
    spool.commit(Event(name="started", detail=str(number)), None, now)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30)
    assert done.returncode == -9
    spool = Spool(path, "nd-a-1", NEXT_BOOT)
    found = [m.data.detail for m in messages(everything(spool, at(1))) if isinstance(m, EventResult)]
    assert found == [str(number) for number in range(20)]
    spool.close()


def test_a_number_is_never_used_again_even_after_all_were_forgotten_and_a_restart(path: Path) -> None:
    used: list[int] = []
    ids = set()
    for boot in range(3):
        spool = Spool(path, "nd-a-1", UUID(int=boot))
        ids.add(spool.id)
        used += [spool.commit(speed(), "ftth", at(n)) for n in range(4)]
        spool.remove_acked(used)
        spool.close()
    assert used == sorted(set(used))
    assert len(ids) == 1


@pytest.mark.parametrize(("synced", "clock"), [(True, "synced"), (False, "rebased")])
def test_a_resend_is_the_same_bytes_whatever_the_clock_does_meanwhile(path: Path, synced: bool, clock: str) -> None:
    spool = Spool(path, "nd-a-1", BOOT)
    spool.commit(speed(), "ftth", at(10, synced=synced))
    first = everything(spool, at(70))
    assert everything(spool, at(80, wall_off_s=500)) == first
    assert everything(spool, at(90, synced=False)) == first
    spool.close()
    for boot in (BOOT, NEXT_BOOT):
        spool = Spool(path, "nd-a-1", boot)
        assert everything(spool, at(5, wall_off_s=10**6)) == first
        spool.close()
    (message,) = messages(first)
    assert (message.at, message.clock) == (at(10).wall, clock)


def test_a_result_under_a_clock_that_is_not_set_is_held_and_its_time_set_right(spool: Spool) -> None:
    spool.commit(speed(1), "ftth", at(10, synced=False, wall_off_s=-86_400 * 300))
    spool.commit(speed(2), "ftth", at(20, synced=False, wall_off_s=-86_400 * 300))
    assert everything(spool, at(30, synced=False)) == []
    assert [(m.at, m.clock) for m in messages(everything(spool, at(40)))] == [
        (at(10).wall, "rebased"),
        (at(20).wall, "rebased"),
    ]


def test_after_the_hold_it_goes_as_estimated(spool: Spool) -> None:
    taken = at(10, synced=False, wall_off_s=-50)
    spool.commit(speed(), "ftth", taken)
    assert everything(spool, at(10 + HOLD_S - 1, synced=False)) == []
    (message,) = messages(everything(spool, at(10 + HOLD_S, synced=False)))
    assert (message.at, message.clock, message.at_error_s) == (taken.wall, "estimated", NEVER_SYNCED_ERROR_S)


def test_of_an_earlier_boot_it_goes_as_estimated_at_once(path: Path) -> None:
    taken = at(10, synced=False, wall_off_s=-50)
    spool = Spool(path, "nd-a-1", BOOT)
    spool.commit(speed(), "ftth", taken)
    spool.close()
    spool = Spool(path, "nd-a-1", NEXT_BOOT)
    (message,) = messages(everything(spool, at(1)))
    assert (message.at, message.clock, message.at_error_s) == (taken.wall, "estimated", EARLIER_BOOT_ERROR_S)
    assert message.boot == BOOT
    spool.close()


def test_a_held_result_does_not_hold_those_behind_it(spool: Spool) -> None:
    spool.commit(speed(1), "ftth", at(10, synced=False))
    behind = spool.commit(speed(2), "ftth", at(20, synced=False), error_s=5.0)
    assert [p.seq for p in spool.pending(2, at(30, synced=False), HOLD_S)] == [behind]


ROOM = 5_000


def test_a_result_whose_time_can_not_be_frozen_does_not_hold_those_behind_it(path: Path, spool: Spool) -> None:
    held = spool.commit(speed(1), "ftth", at(1, synced=False))
    good = spool.commit(speed(2), "ftth", at(2))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as a full disk does, it lets reads pass and no write
    spool._db.execute("PRAGMA busy_timeout=10")
    assert [one.seq for one in everything(spool, at(3))] == [good]
    other.execute("ROLLBACK")
    other.close()
    assert [one.seq for one in everything(spool, at(4))] == [held, good]


def test_past_its_bound_the_oldest_go_and_are_named(path: Path) -> None:
    spool = Spool(path, "nd-a-1", BOOT, max_bytes=ROOM)
    seqs = [spool.commit(speed(n, error_detail="x" * 100), "ftth", at(n)) for n in range(60)]
    assert spool.size_bytes() <= ROOM
    stored = spool._db.execute("SELECT sum(length(data) + ?) FROM results", (ROW_OVERHEAD_BYTES,)).fetchone()[0]
    assert spool.size_bytes() == stored
    left = messages(everything(spool, at(99)))
    kept = [m.seq for m in left if not isinstance(m, EventResult)]
    assert kept == seqs[-len(kept) :]
    evictions = [m.data for m in left if isinstance(m, EventResult)]
    assert {event.name for event in evictions} == {"evicted"}
    covered = {seq for event in evictions for seq in range(event.first_seq or 0, (event.last_seq or 0) + 1)}
    assert set(seqs) - set(kept) <= covered
    assert not covered & set(kept)
    spool.close()


def test_an_eviction_that_is_itself_evicted_is_named_by_the_next(path: Path) -> None:
    """Years without a collector: whatever is gone is in the range of an event that is still there."""
    spool = Spool(path, "nd-a-1", BOOT, max_bytes=2_000)
    for n in range(500):
        spool.commit(speed(n), "ftth", at(n))
    events = [m.data for m in messages(everything(spool, at(999))) if isinstance(m, EventResult)]
    assert min(event.first_seq or 0 for event in events) == 1
    spool.close()


def test_the_bound_holds_after_a_restart(path: Path) -> None:
    for boot in range(4):
        spool = Spool(path, "nd-a-1", UUID(int=boot), max_bytes=ROOM)
        for n in range(10):
            spool.commit(speed(n, error_detail="x" * 100), "ftth", at(n))
            assert spool.size_bytes() <= ROOM
        spool.close()


def test_a_result_over_the_contracts_bound_is_refused_and_nothing_else_changes(spool: Spool) -> None:
    kept = spool.commit(speed(), "ftth", at(1))
    big = Latency(method="icmp", anchors=tuple("x" * 2000 for _ in range(8)), sent=1, received=0, loss_percent=100)
    with pytest.raises(SpoolError, match=r"a latency result of \d+ bytes is over the contract's bound"):
        spool.commit(big, "ftth", at(2))
    assert [one.seq for one in everything(spool, at(3))] == [kept]


@pytest.mark.parametrize("damage", ["text", "pages", "head"])
def test_a_damaged_file_is_set_aside_and_a_new_spool_begins(path: Path, damage: str) -> None:
    spool = Spool(path, "nd-a-1", BOOT)
    for n in range(200):
        spool.commit(speed(n, error_detail="x" * 200), "ftth", at(n))
    old_id = spool.id
    spool.close()
    raw = bytearray(path.read_bytes())
    if damage == "text":
        raw = bytearray(b"not a database at all\n" * 100)
    elif damage == "pages":
        raw[4096:] = os.urandom(len(raw) - 4096)
    else:
        raw[:100] = bytes(100)
    path.write_bytes(raw)
    spool = Spool(path, "nd-a-1", BOOT)
    (news,) = spool.take_events()
    assert news.name == "spool_reset"
    assert spool.id != old_id  # so that a number under the new id is another result
    (aside,) = [file for file in path.parent.iterdir() if ".damaged-" in file.name]
    assert aside.read_bytes() == raw
    assert aside.name in (news.detail or "")
    assert spool.commit(speed(), "ftth", at(1)) == 1
    spool.close()
    spool = Spool(path, "nd-a-1", BOOT)
    assert spool.take_events() == []
    spool.close()


def test_a_disk_without_room_refuses_and_keeps_all_that_was_there(path: Path, spool: Spool) -> None:
    seqs = [spool.commit(speed(n), "ftth", at(n)) for n in range(5)]
    before = everything(spool, at(9))
    size = spool.size_bytes()
    grown = path.with_name("spool.db-wal").stat().st_size
    with full_disk(grown):
        for n in range(3):
            with pytest.raises(SpoolError, match=r"spool\.db: .*; free some space or replace the card"):
                spool.commit(speed(error_detail="x" * 512), "ftth", at(10 + n))
        assert everything(spool, at(20)) == before
    assert spool.size_bytes() == size
    assert spool.commit(speed(), "ftth", at(30)) > seqs[-1]
    assert everything(spool, at(40))[: len(before)] == before


def test_a_full_disk_evicts_nothing_that_it_can_not_note(path: Path) -> None:
    spool = Spool(path, "nd-a-1", BOOT, max_bytes=2_000)
    while spool.size_bytes() + 500 < 2_000:
        spool.commit(speed(error_detail="x" * 100), "ftth", at(1))
    before = everything(spool, at(2))
    with full_disk(path.with_name("spool.db-wal").stat().st_size), pytest.raises(SpoolError):
        spool.commit(speed(error_detail="x" * 500), "ftth", at(3))
    assert everything(spool, at(4)) == before
    spool.close()


def test_a_disk_that_is_full_at_the_start_is_said_in_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    with full_disk(), pytest.raises(SpoolError, match=r"spool\.db: .*; free some space"):
        Spool(path, "nd-a-1", BOOT)


def test_a_folder_that_can_not_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(
        SpoolError, match=r"spool\.db: unable to open database file; .*check that the folder is writable"
    ):
        Spool(tmp_path / "spool.db", "nd-a-1", BOOT)


def test_two_threads_commit_and_forget_without_losing_count(spool: Spool) -> None:
    def work(line: str) -> None:
        for n in range(100):
            seq = spool.commit(speed(n), line, at(n))
            if n % 2:
                spool.remove_acked([seq])

    threads = [threading.Thread(target=work, args=(f"l{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.depth() == 150
    stored = spool._db.execute("SELECT sum(length(data) + ?) FROM results", (ROW_OVERHEAD_BYTES,)).fetchone()[0]
    assert spool.size_bytes() == stored


class SpoolMachine(RuleBasedStateMachine):
    """A spool beside a dict of what it must hold: through commits, acks, clocks, kills and reboots."""

    BOUND = 6_000

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.boot, self.now_s, self.synced = 0, 10.0, False
        self.expected: dict[int, float] = {}
        """seq -> its figure"""
        self.sent: dict[int, bytes] = {}
        self.gone: set[int] = set()
        self.last_seq = 0
        self.spool = self.open()

    def open(self) -> Spool:
        return Spool(self.folder / "spool.db", "nd-a-1", UUID(int=self.boot), self.BOUND)

    def clock(self) -> ClockReading:
        return at(self.now_s, self.synced)

    @rule(mbps=st.floats(0, 1000), fill=st.integers(0, 400))
    def commit(self, mbps: float, fill: int) -> None:
        seq = self.spool.commit(speed(mbps, error_detail="x" * fill), "ftth", self.clock())
        assert seq > self.last_seq
        self.last_seq = seq
        self.expected[seq] = mbps

    @rule(seconds=st.sampled_from([0.5, 60, 700]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def clock_is_set(self) -> None:
        self.synced = True

    @rule(limit=st.integers(1, 64))
    def publish(self, limit: int) -> None:
        for one in self.spool.pending(limit, self.clock(), HOLD_S):
            assert self.sent.setdefault(one.seq, one.payload) == one.payload

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        seqs = data.draw(st.sets(st.sampled_from(sorted(self.sent)), max_size=5))
        self.spool.remove_acked(seqs)
        self.gone |= seqs
        for seq in seqs:
            self.expected.pop(seq, None)

    @rule()
    def kill_and_start_again(self) -> None:
        """Leaves the files as a SIGKILL would: copied while open, the WAL not folded in."""
        copy = self.folder.with_name(self.folder.name + "-after")
        shutil.copytree(self.folder, copy)
        self.spool.close()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        self.spool = self.open()

    @rule()
    def reboot(self) -> None:
        self.spool.close()
        self.boot, self.now_s, self.synced = self.boot + 1, 10.0, False
        self.spool = self.open()

    @invariant()
    def it_holds_what_it_must(self) -> None:
        held = {
            row["seq"]: msgspec.json.decode(row["data"])
            for row in self.spool._db.execute("SELECT seq, data FROM results")
        }
        evictions = [event for event in held.values() if event.get("name") == "evicted"]
        acked = [msgspec.json.decode(self.sent[s])["data"] for s in self.gone if b'"evicted"' in self.sent[s]]
        spans = [(event["first_seq"], event["last_seq"]) for event in evictions + acked]
        for seq in [seq for seq in self.expected if any(first <= seq <= last for first, last in spans)]:
            del self.expected[seq]
        assert {s: d["down_mbps"] for s, d in held.items() if d.get("name") is None} == self.expected
        assert not held.keys() & self.gone
        assert self.spool.size_bytes() <= self.BOUND + 700  # an eviction's note comes on top of what it made room for
        assert self.spool.depth() == len(held)
        self.last_seq = max([self.last_seq, *held])

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)


def test_the_file_is_sqlite_that_any_tool_can_read(path: Path, spool: Spool) -> None:
    """For a person with a laptop and the card of a dead unit."""
    spool.commit(speed(12.5), "ftth", at(1))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        assert db.execute("SELECT line, json_extract(data, '$.down_mbps') FROM results").fetchall() == [("ftth", 12.5)]
