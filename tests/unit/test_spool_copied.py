"""A card in two machines: what the copy may send, and under which name."""

import shutil
from pathlib import Path

from agent.delivery import spool_file
from agent.delivery.spool import Spool
from agent.delivery.spool_file import machine_id
from tests.unit.test_budget import full_disk
from tests.unit.test_spool import BOOT, NEXT_BOOT, at, everything, messages, speed
from xomnet.contract.messages import SpeedResult

ONE, OTHER = "serial-number:aaaa", "serial-number:bbbb"


def copied(tmp_path: Path, waiting: int = 2) -> tuple[Spool, Path]:
    """A spool with results that wait, still in use, and a copy of its card."""
    original = Spool(tmp_path / "one/spool.db", "nd-a-1", BOOT, machine=ONE)
    for n in range(waiting):
        original.commit(speed(n), "ftth", at(n))
    original.commit(speed(500), "ftth", at(50, synced=False), error_s=None)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    return original, tmp_path / "other/spool.db"


def test_a_copy_begins_a_name_of_its_own_and_says_so(tmp_path: Path) -> None:
    original, path = copied(tmp_path)
    copy = Spool(path, "nd-a-1", NEXT_BOOT, machine=OTHER)
    (news,) = copy.take_events()
    assert (news.name, news.count) == ("spool_cloned", 1)
    assert str(original.id) in (news.detail or "")
    assert copy.id != original.id
    mine = {(m.spool, m.seq): m for m in messages(everything(original, at(60)))}
    new = copy.commit(speed(9), "ftth", at(1))
    theirs = {(m.spool, m.seq): m for m in messages(everything(copy, at(60)))}
    assert {key for key in theirs if key in mine} == {(original.id, 1), (original.id, 2)}
    assert all(theirs[key] == mine[key] for key in theirs if key in mine)  # the same bytes: stored once
    assert set(theirs) - set(mine) == {(copy.id, new)}
    again = Spool(path, "nd-a-1", NEXT_BOOT, machine=OTHER)
    assert (again.id, again.take_events()) == (copy.id, [])
    for spool in (original, copy, again):
        spool.close()


def test_an_answer_to_the_old_name_takes_out_the_old_and_no_other(tmp_path: Path) -> None:
    original, path = copied(tmp_path)
    copy = Spool(path, "nd-a-1", NEXT_BOOT, machine=OTHER)
    new = copy.commit(speed(9), "ftth", at(1))
    copy.remove_acked([1, 2, new], original.id)
    assert [m.seq for m in messages(everything(copy, at(2)))] == [new]
    copy.remove_acked([new])
    assert copy.depth() == 0
    original.close()
    copy.close()


def test_the_copys_manifests_begin_with_its_own_results(tmp_path: Path) -> None:
    original, path = copied(tmp_path)
    copy = Spool(path, "nd-a-1", NEXT_BOOT, machine=OTHER)
    new = copy.commit(speed(9), "ftth", at(1))
    copy.commit_receipts(at(2), 1)
    told = [m.data for m in messages(everything(copy, at(3))) if m.data.__class__.__name__ == "Event"]
    assert [(e.first_seq, e.last_seq, e.count) for e in told if e.count] == [(new, new, 1)]  # type: ignore[union-attr]
    original.close()
    copy.close()


def test_a_copy_on_a_full_disk_sends_nothing_of_its_own_until_it_has_a_name(tmp_path: Path) -> None:
    original, path = copied(tmp_path, waiting=20)  # the WAL is longer than its index, which must be made
    with full_disk(path.with_name("spool.db-wal").stat().st_size):
        copy = Spool(path, "nd-a-1", NEXT_BOOT, machine=OTHER)
        assert {m.spool for m in messages(everything(copy, at(60, synced=False)))} == {original.id}
    copy.commit(speed(9), "ftth", at(1))
    assert copy.id != original.id
    assert sum(isinstance(m, SpeedResult) and m.spool == copy.id for m in messages(everything(copy, at(60)))) == 1
    original.close()
    copy.close()


def test_a_card_without_the_spool_begins_a_new_one(tmp_path: Path) -> None:
    ids = set()
    for flash in ("one", "two"):
        spool = Spool(tmp_path / flash / "spool.db", "nd-a-1", BOOT, machine=ONE)
        assert spool.commit(speed(), "ftth", at(1)) == 1
        assert spool.take_events() == []
        ids.add(spool.id)
        spool.close()
    assert len(ids) == 2


def test_a_machine_that_can_not_be_told_changes_nothing(tmp_path: Path) -> None:
    """No serial number at one start, or the first one of a version that asks for it."""
    found = []
    for one in (None, ONE, None, "machine-id:cccc", "machine-id:cccc"):
        spool = Spool(tmp_path / "spool.db", "nd-a-1", BOOT, machine=one)
        spool.commit(speed(), "ftth", at(1))
        found.append((spool.id, spool.take_events()))
        spool.close()
    assert len({name for name, _ in found}) == 1
    assert all(news == [] for _, news in found)


def test_a_machine_is_known_by_its_board_else_by_its_system(tmp_path: Path) -> None:
    board, system = tmp_path / "serial-number", tmp_path / "machine-id"
    assert machine_id((board, system)) is None
    system.write_text("3d1219c7\n")
    by_system = machine_id((board, system))
    board.write_bytes(b"10000000abcdef\0")
    by_board = machine_id((board, system))
    assert by_system is not None
    assert by_board is not None
    assert by_system.startswith("machine-id:")
    assert by_board.startswith("serial-number:")
    assert "abcdef" not in by_board
    board.write_bytes(b"10000000abcdef")
    assert machine_id((board, system)) == by_board
    assert spool_file.SERIALS[0].name == "serial-number"
