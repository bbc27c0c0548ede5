"""The registry as a collector keeps it: a stored result never gets other names, however the file is edited."""

import datetime as dt
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from collector.registry.changes import retags
from collector.registry.registry_file import RegistryFile
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.store.sqlite import SqliteStore
from tests.support.stored import health, latency
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import LineRow, Registry, RegistryError
from xomnet.targets import Target, Targets

HEADER = "agent,line,access,hamlet,area,isp,from\n"
ROW = "nd-a-1,ftth,fixed,Xóm 5,Nam Định,VNPT,2026-01-01\n"
OTHER = "nd-b-2,ftth,fixed,Xóm 2,Nam Định,FPT,2026-01-01\n"
LINE = LineId("nd-a-1", "ftth")
TARGETS = Targets([Target(access="fixed", from_=dt.date(2024, 1, 1), down_mbps=150)])
NOON = dt.datetime(2026, 5, 4, 5, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 6, 30, 17, 30, tzinfo=dt.UTC)
TOMORROW = dt.date(2026, 7, 2)
"""In Viet Nam, where it is the first day of July already."""
_seconds = itertools.count()


def clock() -> dt.datetime:
    """A second later at each look."""
    return NOW + next(_seconds) * dt.timedelta(seconds=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines.csv"


def opened(path: Path, store: Store, *rows: str) -> RegistryFile:
    if rows:
        path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return RegistryFile(path, TARGETS, path.parent / "registry.json", store, clock)


def edited(file: RegistryFile, path: Path, *rows: str) -> list[str]:
    """What is said against an edit."""
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    assert file.reload() == (not file.problems)
    return [str(problem) for problem in file.problems]


def hamlet(file: RegistryFile, when: dt.datetime = NOON, line: LineId = LINE) -> str | None:
    row = file.current().at(*line, when)
    return None if row is None else row.hamlet


def test_a_name_under_which_results_are_stored_is_not_changed_and_the_remedy_works(store: Store, path: Path) -> None:
    file = opened(path, store, OTHER, ROW)
    store.write([latency(NOON, 1)])
    (problem,) = edited(file, path, OTHER, ROW.replace("Xóm 5", "Xóm Năm"))
    assert problem == (
        f"{path}, line 3, column hamlet: found 'Xóm Năm', but results of nd-a-1 from 2026-01-01 on are stored with"
        f" 'Xóm 5'; write 'Xóm 5' again, and the change in a new row of this line with from {TOMORROW} or later"
    )
    assert hamlet(file) == "Xóm 5"
    remedy = ROW.replace("Xóm 5", "Xóm Năm").replace("2026-01-01", str(TOMORROW))
    assert edited(file, path, OTHER, ROW, remedy) == []
    assert hamlet(file) == "Xóm 5"
    assert hamlet(file, NOON + dt.timedelta(days=20_000)) == "Xóm Năm"


def test_a_name_that_an_earlier_version_took_with_an_invisible_letter_may_be_corrected(
    store: Store, path: Path
) -> None:
    opened(path, store, OTHER, ROW)
    store.write([latency(NOON, 1)])
    saved = path.parent / "registry.json"
    saved.write_text(saved.read_text().replace("Xóm 5", "Xóm\u200b 5"))
    path.write_text(path.read_text().replace("Xóm 5", "Xóm\u200b 5"))
    again = opened(path, store)
    assert "U+200B" in str(again.problems[0])
    assert hamlet(again) == "Xóm\u200b 5", "the last good one stays"
    assert edited(again, path, OTHER, ROW) == []
    assert hamlet(again) == "Xóm 5"


def test_before_anything_is_stored_a_name_may_be_corrected(store: Store, path: Path) -> None:
    file = opened(path, store, ROW)
    store.write([latency(NOON, 1, LineId("nd-b-2", "ftth"))])
    assert edited(file, path, ROW.replace("Xóm 5", "Xóm Năm")) == []
    assert hamlet(file) == "Xóm Năm"


def test_a_row_put_in_between_must_not_rename_what_is_stored(store: Store, path: Path) -> None:
    file = opened(path, store, ROW)
    store.write([latency(NOON, 1)])
    late = ROW.replace("VNPT", "FPT")
    assert "from 2026-03-01 on" in edited(file, path, ROW, late.replace("2026-01-01", "2026-03-01"))[0]
    assert edited(file, path, ROW, late.replace("2026-01-01", "2026-06-01")) == []


def test_a_row_taken_out_must_not_rename_what_is_stored(store: Store, path: Path) -> None:
    second = ROW.replace("Xóm 5", "Xóm Năm").replace("2026-01-01", "2026-03-01")
    file = opened(path, store, ROW, second)
    store.write([latency(NOON, 1)])
    assert "line 2, column hamlet" in edited(file, path, ROW)[0]
    assert hamlet(file) == "Xóm Năm"


def test_what_is_no_tag_may_be_edited_at_any_time(store: Store, path: Path) -> None:
    file = opened(path, store, ROW)
    store.write([latency(NOON, 1)])
    path.write_text((HEADER + ROW).replace("from\n", "from,plan_mbps\n").replace("-01\n", "-01,300\n"))
    assert file.reload()
    row = file.current().at(*LINE, NOON)
    assert row is not None
    assert row.plan_mbps == 300


def test_a_units_own_results_are_not_renamed_either(store: Store, path: Path) -> None:
    file = opened(path, store, ROW)
    store.write([health(NOON, 1)])
    sooner = ROW.replace("ftth,fixed", "4g,mobile").replace("Xóm 5", "Xóm 9").replace("2026-01-01", "2025-12-01")
    (problem,) = edited(file, path, ROW, sooner)
    assert "the unit's own results of nd-a-1" in problem


def test_a_line_may_go_but_comes_back_under_its_old_name(store: Store, path: Path) -> None:
    file = opened(path, store, ROW, OTHER)
    store.write([latency(NOON, 1)])
    assert edited(file, path, OTHER) == []
    assert hamlet(file) is None
    file = opened(path, store)
    assert len(edited(file, path, OTHER, ROW.replace("Xóm 5", "Xóm Năm"))) == 1
    assert edited(file, path, OTHER, ROW) == []


def test_a_restart_with_a_refused_or_broken_file_goes_on_with_the_last_good_one(store: Store, path: Path) -> None:
    opened(path, store, ROW)
    store.write([latency(NOON, 1)])
    for bad in (ROW.replace("Xóm 5", "Xóm Năm"), ROW.replace("fixed", "fiksed")):
        again = opened(path, store, bad)
        assert len(again.problems) == 1
        assert hamlet(again) == "Xóm 5"
    assert opened(path, store, ROW).problems == []


def test_without_a_good_one_there_is_no_start(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with pytest.raises(RegistryError):
        opened(path, store, ROW.replace("fixed", "fiksed"))
    (tmp_path / "registry.json").write_text("{torn")
    with pytest.raises(RegistryError):
        opened(path, store)
    assert opened(path, store, ROW).problems == []
    store.close()


def test_while_the_database_is_away_a_change_of_names_waits(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    file = opened(path, store, ROW)
    there, store.has_results = store.has_results, away  # type: ignore[method-assign, assignment]
    path.write_text(HEADER + ROW.replace("Xóm 5", "Xóm Năm"))
    assert not file.reload(only_if_changed=True)
    assert hamlet(file) == "Xóm 5"
    store.has_results = there  # type: ignore[method-assign]
    assert file.reload(only_if_changed=True)
    assert hamlet(file) == "Xóm Năm"
    store.close()


def away(*_: object) -> bool:
    raise StoreUnavailable("away")


def test_two_reloads_at_once_do_no_harm(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    file = opened(path, store, ROW)
    threads = [threading.Thread(target=file.reload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.problems == []
    store.close()


def test_thousands_of_lines_are_compared_without_asking_the_store_for_each() -> None:
    def rows(isp: str) -> list[LineRow]:
        return [
            LineRow(f"nd-{n}", line, "fixed", "Xóm 5", "Nam Định", isp if n == 7 else "FPT", dt.date(2026, 1, 1))
            for n in range(2000)
            for line in ("ftth", "4g")
        ]

    found = retags(Registry(rows("VNPT"), TARGETS), Registry(rows("Viettel"), TARGETS))
    assert [one.line for one in found] == [LineId("nd-7", "4g"), LineId("nd-7", "ftth")]


# --- since when a row has been known


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    yield store
    store.close()


def since(file: RegistryFile, line: LineId = LINE, when: dt.datetime | None = None) -> dt.datetime | None:
    row = file.current().at(*line, when or NOW)
    assert row is not None
    return file.registered_since(row)


def test_a_row_counts_from_its_first_sight_also_after_a_restart_and_an_edit(empty: SqliteStore, path: Path) -> None:
    begun = clock()
    first = since(opened(path, empty, ROW))
    assert first is not None
    assert begun < first < clock()
    again = opened(path, empty, ROW.replace("VNPT", "FPT"), OTHER)
    assert since(again) == first
    other = since(again, LineId("nd-b-2", "ftth"))
    assert other is not None
    assert other > first
    path.write_text("broken")
    refused = opened(path, empty)
    assert refused.problems
    assert since(refused) == first


def test_a_row_with_a_later_date_counts_from_its_midnight_in_the_provinces_time(empty: SqliteStore, path: Path) -> None:
    later = ROW.replace("2026-01-01", str(TOMORROW)).replace("Xóm 5", "Xóm 6")
    file = opened(path, empty, ROW, later)
    midnight = dt.datetime.combine(TOMORROW, dt.time(), ZoneInfo(PROVINCE_TIME))
    assert since(file, when=midnight) == midnight
    today = since(file)
    assert today is not None
    assert today < midnight


def test_a_new_row_of_a_line_counts_from_its_own_first_sight(empty: SqliteStore, path: Path) -> None:
    file = opened(path, empty, ROW)
    first = since(file)
    assert edited(file, path, ROW, ROW.replace("2026-01-01", "2026-02-01").replace("Xóm 5", "Xóm 6")) == []
    second = since(file)
    assert first is not None
    assert second is not None
    assert second > first


def test_a_row_that_went_and_comes_back_is_seen_for_the_first_time(empty: SqliteStore, path: Path) -> None:
    file = opened(path, empty, ROW, OTHER)
    first, row = since(file), file.current().at(*LINE, NOW)
    assert edited(file, path, OTHER) == []
    assert first is not None
    assert row is not None
    assert file.registered_since(row) is None
    assert edited(file, path, ROW, OTHER) == []
    again = since(file)
    assert again is not None
    assert again > first


def test_rows_that_an_earlier_version_remembered_count_from_the_upgrade(empty: SqliteStore, path: Path) -> None:
    memory = path.with_name("registry.json")
    opened(path, empty, ROW, OTHER)
    written = msgspec.json.decode(memory.read_bytes())
    assert set(written) == {"rows", "gone", "gone_at", "seen_at"}
    memory.write_bytes(msgspec.json.encode({name: written[name] for name in written if name != "seen_at"}))
    begun = clock()
    upgraded = since(opened(path, empty))
    assert upgraded is not None
    assert upgraded >= begun
    assert since(opened(path, empty)) == upgraded
