"""A spool whose file has lost its tail, or a bit of it: what opens is a part of what was committed, unaltered."""

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from agent.delivery import spool_file
from agent.delivery.spool import Spool, SpoolError
from tests.unit.test_spool import BOOT, HOLD_S, NEXT_BOOT, at, everything, messages, speed
from xomnet.contract.messages import Event, EventResult

STEP = 512


@dataclass
class Life:
    """The files of a spool in mid-life, and all that it ever promised."""

    folder: Path
    payloads: dict[tuple[UUID, int], bytes] = field(default_factory=dict)
    """(spool, number) -> as it went out"""
    after: list[set[int]] = field(default_factory=list)
    """What it held after each transaction since the last fold of the WAL into the file."""

    @property
    def db(self) -> Path:
        return self.folder / "spool.db"

    @property
    def wal(self) -> Path:
        return self.folder / "spool.db-wal"


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    """300 commits and their answers; what is in memory only, so that thousands of starts take seconds."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield lived(Path(name))


def lived(folder: Path) -> Life:
    working, life = folder / "working", Life(folder / "life")
    rng = random.Random(1)
    spool = Spool(working / "spool.db", "nd-a-1", BOOT)
    held: set[int] = set()
    for n in range(300):
        if n == 240:
            spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            life.after = [set(held)]
        seq = spool.commit(speed(n, error_detail="x" * rng.randrange(80)), rng.choice(("ftth", "4g")), at(n))
        held.add(seq)
        life.after.append(set(held))
        if rng.random() < 0.15:
            life.payloads |= {(spool.id, one.seq): one.payload for one in everything(spool, at(n))}
            gone = set(rng.sample(sorted(held), len(held) // 4))
            spool.remove_acked(gone)
            held -= gone
            life.after.append(set(held))
    life.payloads |= {(spool.id, one.seq): one.payload for one in everything(spool, at(400))}
    shutil.copytree(working, life.folder)
    spool.close()
    (life.folder / "spool.db-shm").unlink()
    return life


def opened_again(life: Life, folder: Path, boot: UUID = NEXT_BOOT) -> tuple[set[int], list[str]]:
    """Opens a torn copy as the unit does after the power is back. Returns which of the promised results it still holds,
    and what it reports. Whatever else it gives must be new: under a name and number that nobody has seen.
    """
    spool = Spool(folder / "spool.db", "nd-a-1", boot)
    try:
        try:
            return worked_with(life, spool)
        except SpoolError:  # the damage showed only now: a new file has begun
            return worked_with(life, spool)
    finally:
        spool.close()


def worked_with(life: Life, spool: Spool) -> tuple[set[int], list[str]]:
    fresh = spool.commit(speed(7777), "ftth", at(5))
    spool.commit(Event(name="started"), None, at(6))
    found = everything(spool, at(7))
    held = set()
    for one, message in zip(found, messages(found), strict=True):
        known = life.payloads.get((message.spool, message.seq))
        if known is not None:
            assert one.payload == known, "a result was altered, or its number given to another"
            held.add(message.seq)
        else:
            assert message.seq >= fresh or (isinstance(message, EventResult) and message.data.name == "evicted")
    assert (spool.id, fresh) not in life.payloads, "a number that was published is given to another result"
    spool.commit_receipts(at(8), 1)
    news = [event.name for event in spool.take_events()]
    told = [msgspec.json.decode(one.payload)["data"].get("name", "manifest") for one in everything(spool, at(9))]
    return held, [*news, *(name for name in told if name != "manifest")]


def torn_copy(life: Life, name: str) -> Path:
    copy = life.folder.with_name(name)
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(life.folder, copy)
    return copy


def test_a_wal_that_ends_anywhere_gives_a_state_that_the_spool_was_once_in(life: Life) -> None:
    wal = life.wal.read_bytes()
    assert len(wal) > 200 * STEP
    states = []
    for size in range(0, len(wal), STEP):
        copy = torn_copy(life, "torn")
        (copy / "spool.db-wal").write_bytes(wal[:size])
        held, news = opened_again(life, copy)
        assert news == ["started"]
        assert held in life.after
        states.append(max(i for i, state in enumerate(life.after) if state == held))
    assert states == sorted(states)
    assert len(set(states)) > 60


def test_a_file_that_ends_anywhere_is_set_aside_or_gives_what_was_promised(life: Life) -> None:
    raw = life.db.read_bytes()
    said = []
    for size in range(0, len(raw), STEP):
        for wal in (True, False):
            copy = torn_copy(life, "torn")
            (copy / "spool.db").write_bytes(raw[:size])
            if not wal:
                (copy / "spool.db-wal").unlink()
            _, news = opened_again(life, copy)
            said.append("spool_reset" in news)
    assert sum(said) > len(said) / 2


@pytest.mark.parametrize("which", ["spool.db", "spool.db-wal"])
def test_bits_that_flip_never_alter_a_result(life: Life, which: str) -> None:
    raw = (life.folder / which).read_bytes()
    rng = random.Random(2)
    said: list[str] = []
    for _ in range(400):
        copy = torn_copy(life, "torn")
        flipped = bytearray(raw)
        for place in rng.sample(range(len(raw)), rng.choice((1, 1, 4))):
            flipped[place] ^= 1 << rng.randrange(8)
        (copy / which).write_bytes(flipped)
        if which == "spool.db":
            (copy / "spool.db-wal").unlink()
        said += opened_again(life, copy)[1]
    if which == "spool.db":
        assert "spool_reset" in said
        assert "evicted" in said  # a row whose own sum is wrong, where SQLite saw nothing


def test_a_row_that_lost_its_last_columns_is_not_taken_for_good(tmp_path: Path) -> None:
    """So a bit in the header of a row reads: the sum is among what is gone."""
    spool = Spool(tmp_path / "spool.db", "nd-a-1", BOOT)
    bad, good = (spool.commit(speed(n), "ftth", at(n)) for n in (1, 2))
    with spool._db:
        spool._db.execute("UPDATE results SET spool=NULL, not_before_us=NULL, sum=NULL WHERE seq=?", (bad,))
    assert [one.seq for one in everything(spool, at(3))] == [good]
    (evicted,) = [m.data for m in messages(everything(spool, at(3))) if isinstance(m.data, Event)]
    assert (evicted.name, evicted.first_seq, evicted.last_seq) == ("evicted", bad, bad)
    spool.close()


def test_every_bit_of_the_first_page_may_flip(life: Life) -> None:
    """The header and the schema: an error in there must not end the unit each time that it starts."""
    raw = life.db.read_bytes()
    rng = random.Random(3)
    for place in rng.sample(range(1024), 300):
        copy = torn_copy(life, "torn")
        flipped = bytearray(raw)
        flipped[place] ^= 1 << rng.randrange(8)
        (copy / "spool.db").write_bytes(flipped)
        opened_again(life, copy)


def test_a_number_that_was_published_before_a_tear_is_not_given_again(tmp_path: Path) -> None:
    """The card says that it has written, the result goes out, the power fails, and the card has not."""
    path = tmp_path / "spool.db"
    spool = Spool(path, "nd-a-1", BOOT)
    first = spool.commit(speed(1), "ftth", at(1))
    shutil.copytree(tmp_path, tmp_path.with_name("before"))
    lost = [spool.commit(speed(n), "ftth", at(n)) for n in range(2, 9)]
    name = spool.id
    spool.close()
    again = Spool(tmp_path.with_name("before") / "spool.db", "nd-a-1", NEXT_BOOT)
    new = again.commit(speed(99), "ftth", at(1))
    assert again.id == name  # so that the manifests go on
    assert new > lost[-1]
    assert [p.seq for p in everything(again, at(2))] == [first, new]
    again.close()


def test_a_restart_in_the_same_boot_leaves_no_number_out(tmp_path: Path) -> None:
    seqs = []
    for _ in range(3):
        spool = Spool(tmp_path / "spool.db", "nd-a-1", BOOT)
        seqs.append(spool.commit(speed(), "ftth", at(1)))
        spool.close()
    assert seqs == [1, 2, 3]


def test_damage_that_shows_only_later_begins_a_new_spool_at_once(tmp_path: Path) -> None:
    """A page that was good at the start: the commit that meets it fails, the next one is kept."""
    path = tmp_path / "spool.db"
    spool = Spool(path, "nd-a-1", BOOT)
    before = spool.id
    for n in range(50):
        spool.commit(speed(n), "ftth", at(n))
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._db.execute("PRAGMA cache_size=0")
    raw = bytearray(path.read_bytes())
    raw[1024:] = bytes(len(raw) - 1024)
    path.write_bytes(raw)
    with pytest.raises(SpoolError):
        everything(spool, at(51))
    seq = spool.commit(speed(5), "ftth", at(60))
    assert spool.id != before
    assert [event.name for event in spool.take_events()] == ["spool_reset"]
    assert [one.seq for one in spool.pending(9, at(61), HOLD_S)] == [seq]
    spool.close()


def test_a_closed_spool_is_not_a_damaged_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", "nd-a-1", BOOT)
    spool.commit(speed(), "ftth", at(1))
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.commit(speed(), "ftth", at(2))
    assert [file.name for file in tmp_path.iterdir() if "damaged" in file.name] == []


def test_a_disk_that_refuses_is_not_a_damaged_file() -> None:
    for code, damage in [
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_ERROR, True),
    ]:
        error = sqlite3.OperationalError("x")
        error.sqlite_errorcode = code
        assert spool_file.is_damage(error) is damage
