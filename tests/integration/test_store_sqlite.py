"""What only a file can do to the collector: fill the disk, be damaged, be locked, be older than the contract."""

import datetime as dt
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import SCHEMAS, Point, time_ns
from collector.store.sqlite import SqliteStore
from tests.support.stored import AGENT, LINE, NOW, latency, speed, tagged

EARLIER, LATER = NOW - dt.timedelta(days=60), NOW + dt.timedelta(days=60)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    opened.close()


# --- what was confirmed stays

WRITER = """
import datetime as dt, sys
from pathlib import Path
from collector.store.sqlite import SqliteStore
from tests.support.stored import NOW, speed

store = SqliteStore(Path(sys.argv[1]))
start = dt.datetime.fromisoformat(sys.argv[2])
for n in range(1, 1_000_000):
    store.write([speed(start + dt.timedelta(milliseconds=n), n)])
    print(n, flush=True)
"""


def test_every_confirmed_write_survives_a_kill(path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), NOW.isoformat()],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    confirmed = [int(writer.stdout.readline()) for _ in range(50)]
    writer.kill()
    confirmed += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait(10)
    store = SqliteStore(path)
    stored = {row.at for row in store.speed(LINE, EARLIER, LATER)}
    assert stored >= {NOW + dt.timedelta(milliseconds=n) for n in confirmed}
    store.close()


def test_two_units_cloned_from_one_card_lose_nothing(store: SqliteStore) -> None:
    store.write([speed(NOW, 7, down_mbps=10.0)])
    store.write([speed(NOW + MINUTE, 7, down_mbps=20.0)])
    assert [row.down_mbps for row in store.speed(LINE, EARLIER, LATER)] == [10.0, 20.0]


def test_a_stored_result_is_never_altered(store: SqliteStore) -> None:
    store.write([speed(NOW, 7, down_mbps=10.0)])
    store.write([tagged(speed(NOW, 7, down_mbps=99.0), isp="another")])
    assert [row.down_mbps for row in store.speed(LINE, EARLIER, LATER)] == [10.0]


# --- the disk


def fill(store: SqliteStore) -> int:
    """Writes until the disk is full; returns how many points were confirmed."""
    for n in range(1, 10_000):
        try:
            store.write([speed(NOW + dt.timedelta(seconds=n), n, server="x" * 400)])
        except StoreUnavailable:
            return n - 1
    raise AssertionError("the disk never filled")


LIMITED = """
import resource, signal, sys
from pathlib import Path
from collector.store.sqlite import SqliteStore
from tests.integration.test_store_sqlite import EARLIER, LATER, LINE, fill

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(Path(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
confirmed = fill(store)
assert confirmed > 100, confirmed
assert len(store.speed(LINE, EARLIER, LATER)) == confirmed
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert len(store.speed(LINE, EARLIER, LATER)) == confirmed
from tests.support.stored import NOW, speed
assert store.write([speed(NOW, 99_999)]) == []
assert len(store.speed(LINE, EARLIER, LATER)) == confirmed + 1
store.close()
"""


def test_a_file_that_may_not_grow_is_unavailable_and_keeps_what_it_has(path: Path) -> None:
    subprocess.run([sys.executable, "-c", LIMITED, str(path)], check=True, timeout=60, cwd=Path(__file__).parents[2])


def test_a_full_disk_is_unavailable_and_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    store = SqliteStore(small_disk / "store.db")
    confirmed = fill(store)
    with pytest.raises(StoreUnavailable, match="full") as raised:
        store.write([speed(NOW, 99_999, server="y" * 400)])
    assert not isinstance(raised.value, StoreRefused)
    assert len(store.speed(LINE, EARLIER, LATER)) == confirmed
    ballast.unlink()
    assert store.write([speed(NOW, 99_999)]) == []
    assert len(store.speed(LINE, EARLIER, LATER)) == confirmed + 1
    store.close()


# --- the file


@pytest.mark.parametrize("damage", ["not a database", "header", "middle", "cut"])
def test_a_damaged_file_is_refused_by_name_and_with_a_remedy(path: Path, damage: str) -> None:
    store = SqliteStore(path)
    store.write([speed(NOW + dt.timedelta(seconds=n), n) for n in range(1, 500)])
    store.close()
    whole = bytearray(path.read_bytes())
    if damage == "not a database":
        whole[:] = b"agent,line,access\n" * 1000
    elif damage == "header":
        whole[:100] = b"\xff" * 100
    elif damage == "middle":
        whole[4096 * 10 : 4096 * 14] = b"\xa5" * 4096 * 4
    else:
        del whole[4096 * 8 :]
    path.write_bytes(whole)
    with pytest.raises(StoreRefused) as raised:
        SqliteStore(path)
    assert str(path) in str(raised.value)
    assert "is damaged" in str(raised.value)
    assert ".recover" in str(raised.value)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match=r"nowhere.*must exist"):
        SqliteStore(tmp_path / "nowhere" / "store.db")


def test_a_file_of_an_older_contract_gains_the_new_columns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: kind for name, kind in SCHEMAS["speed"].items() if name not in {"trimmed_mbps", "link_mbps"}}
    with monkeypatch.context() as before:
        before.setitem(SCHEMAS, "speed", older)
        store = SqliteStore(path)
        store.write([_without(speed(NOW, 1), older)])
        store.close()
    store = SqliteStore(path)
    store.write([speed(NOW + MINUTE, 2, trimmed_mbps=88.0)])
    assert [row.trimmed_mbps for row in store.speed(LINE, EARLIER, LATER)] == [None, 88.0]
    store.close()


def test_a_file_of_a_newer_contract_is_used_as_far_as_it_is_known(path: Path) -> None:
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE speed ADD COLUMN beauty REAL")
    connection.close()
    store = SqliteStore(path)
    assert store.write([speed(NOW, 1)]) == []
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    store.close()


def test_who_only_reads_waits_for_no_writer_and_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: kind for name, kind in SCHEMAS["line_day"].items() if name != "jitter_ms"}
    with monkeypatch.context() as before:
        before.setitem(SCHEMAS, "line_day", older)
        collector = SqliteStore(path)
    collector.write([speed(NOW, 1)])
    busy = sqlite3.connect(path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    reader = SqliteStore(path, busy_s=0.1, read_only=True)
    assert len(reader.speed(LINE, EARLIER, LATER)) == 1
    busy.execute("ROLLBACK")
    with pytest.raises(StoreRefused, match="readonly"):
        reader.write([speed(NOW, 2)])
    assert len(collector.speed(LINE, EARLIER, LATER)) == 1
    assert "jitter_ms" not in {row[1] for row in busy.execute("PRAGMA table_info(line_day)")}
    busy.close()
    reader.close()
    collector.close()


def test_who_only_reads_is_told_that_a_file_is_older_than_its_figures(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes the name of a missing column for a text: every result would be left out as late."""
    older = {name: kind for name, kind in SCHEMAS["latency"].items() if name not in {"received_ms", "late"}}
    with monkeypatch.context() as before:
        before.setitem(SCHEMAS, "latency", older)
        SqliteStore(path).close()
    earlier = SqliteStore(path, read_only=True)
    earlier.ping()
    for _ in range(2):
        with pytest.raises(
            StoreRefused, match=r"earlier version \(it has no latency.received_ms\): start the collector"
        ):
            earlier.last_results(NOW)
    SqliteStore(path).close()
    assert earlier.last_results(NOW) == {}
    earlier.close()


def test_who_only_reads_finds_what_a_collector_left_and_makes_no_file(path: Path) -> None:
    store = SqliteStore(path)
    store.write([speed(NOW, 1)])
    store.close()
    reader = SqliteStore(path, read_only=True)
    assert len(reader.speed(LINE, EARLIER, LATER)) == 1
    reader.close()
    with pytest.raises(StoreRefused):
        SqliteStore(path.with_name("another.db"), read_only=True)
    assert not path.with_name("another.db").exists()


def _without(point: Point, known: dict[str, type]) -> Point:
    return Point(point.measurement, point.tags, {k: v for k, v in point.fields.items() if k in known}, point.time_ns)


# --- several at once


def test_readers_do_not_wait_for_a_writer(store: SqliteStore, path: Path) -> None:
    store.write([speed(NOW, 1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM speed")
    begin = time.monotonic()
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    assert list(store.samples(EARLIER, LATER)) == [LINE]
    assert time.monotonic() - begin < 1
    other.execute("ROLLBACK")
    other.close()


def test_a_write_waits_for_a_lock_only_so_long(path: Path) -> None:
    store = SqliteStore(path, busy_s=0.3)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    with pytest.raises(StoreUnavailable, match="locked"):
        store.write([speed(NOW, 1)])
    assert time.monotonic() - begin < 2
    other.execute("ROLLBACK")
    other.close()
    assert store.write([speed(NOW, 1)]) == []
    store.close()


def test_many_threads_write_and_read_at_once(store: SqliteStore) -> None:
    errors: list[BaseException] = []

    def work(line: LineId) -> None:
        try:
            for n in range(1, 41):
                assert store.write([speed(NOW + dt.timedelta(seconds=n), n, line)]) == []
                assert len(store.speed(line, EARLIER, LATER)) == n
                store.samples(EARLIER, LATER)
                assert store.last_results(EARLIER)[line] == NOW + dt.timedelta(seconds=n)
        except BaseException as error:  # noqa: BLE001  # shown below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(LineId(f"nd-{n}", "ftth"),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# --- room


def state(at: dt.datetime, line: str = "ftth") -> Point:
    tags = {"agent": AGENT, "line": line, "access": "fixed", "isp": "VNPT", "hamlet": "Xóm 5", "area": "A/B"}
    return Point("line_state", tags, {"state": "meeting", "samples": 8, "target_mbps": 150.0}, time_ns(at))


def states(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    rows = [row[0] for row in connection.execute("SELECT time_ns FROM line_state ORDER BY time_ns")]
    connection.close()
    return rows


def test_line_states_are_kept_for_the_days_of_their_setting_and_results_for_ever(path: Path) -> None:
    store = SqliteStore(path, keep_own=dt.timedelta(days=35))
    old, kept = NOW - dt.timedelta(days=36), NOW - dt.timedelta(days=34)
    store.write([state(old), state(kept), speed(old, 1), latency(old, 2)])
    store.write([state(NOW)])
    assert states(path) == [time_ns(kept), time_ns(NOW)]
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    assert len(store.latency(LINE, EARLIER, LATER)) == 1
    store.close()


def test_old_line_states_go_in_small_steps(path: Path) -> None:
    store = SqliteStore(path, keep_own=dt.timedelta(days=35))
    begin = NOW - dt.timedelta(days=50)
    store.write([state(begin + n * MINUTE) for n in range(5000)])
    gone = []
    for n in range(6):
        before = len(states(path))
        store.write([state(NOW + n * MINUTE)])
        gone.append(before + 1 - len(states(path)))
    assert max(gone) <= 1002
    assert sum(gone) == 5000
    store.close()


def test_the_last_state_written_for_a_minute_holds(store: SqliteStore, path: Path) -> None:
    store.write([state(NOW)])
    store.write([Point("line_state", state(NOW).tags, {"state": "short", "samples": 9}, time_ns(NOW))])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT state, samples, target_mbps FROM line_state").fetchall() == [("short", 9, None)]
    connection.close()


# --- speed


def test_4000_lines_are_read_in_time_for_every_minute(store: SqliteStore) -> None:
    """A coarse guard against a lost index; a day of 4,000 lines takes about 0.4 s on one core."""
    lines = [LineId(f"nd-{n:04d}", "ftth") for n in range(4000)]
    for day in range(4):
        for hour in (0, 12):
            at = NOW - dt.timedelta(days=day, hours=hour)
            store.write([speed(at, seq, line) for seq, line in enumerate(lines, 1)])
    begin = time.monotonic()
    samples = store.samples(NOW - dt.timedelta(hours=13), NOW + MINUTE)
    last = store.last_results(EARLIER)
    took = time.monotonic() - begin
    assert (len(samples), len(last)) == (4000, 4000)
    assert took < 5


ALL_LINES = "SELECT time_ns, agent, line, down_mbps, flags, error FROM speed WHERE time_ns >= 1 ORDER BY time_ns"
ONE_LINE = "SELECT down_mbps FROM speed WHERE agent = 'a' AND line = 'b' AND time_ns >= 1 ORDER BY time_ns"


@pytest.mark.parametrize(("statement", "index"), [(ALL_LINES, "COVERING INDEX"), (ONE_LINE, "agent=? AND line=?")])
def test_reads_use_an_index_and_sort_nothing(store: SqliteStore, path: Path, statement: str, index: str) -> None:
    connection = sqlite3.connect(path)
    plan = " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
    connection.close()
    assert index in plan
    assert "B-TREE" not in plan
