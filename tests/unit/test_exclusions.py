"""Which entry decides about a result, for any entries; the table on disk; pages that lose nothing."""

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from collector.ingest.results_command import EntryError, check_unit, parse_time
from collector.report.closed import ClosedMonths
from collector.store import exclusion_table
from collector.store.errors import StoreUnavailable
from collector.store.excluding_store import ExcludingStore, _latest_counted
from collector.store.exclusion_table import ExclusionTable, read_exclusions
from collector.store.exclusions import MEASURED_AHEAD, Exclusion, Exclusions
from collector.store.line_id import LineId
from collector.store.pages import TICK, pages_back
from collector.store.points import EPOCH, milliseconds
from collector.store.row_types import Sample, Stamp
from tests.support.stored import registry

BEGIN = dt.datetime(2026, 10, 14, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
times = st.integers(0, 12).map(lambda n: BEGIN + n * HOUR)
servers = st.sampled_from(["s1", "s2"])
lines = st.builds(LineId, st.sampled_from(["a", "b"]), st.sampled_from(["ftth", "4g", ""]))


@st.composite
def entries(draw: st.DrawFn) -> Exclusion:
    since, until = draw(times), draw(st.none() | times)
    line = draw(lines)
    return Exclusion(
        action=draw(st.sampled_from(["exclude", "count"])),
        scope=draw(st.sampled_from(["unit", "line", "server"])),
        agent=line.agent,
        line=line.line,
        server=draw(servers),
        basis=draw(st.sampled_from(["received", "measured"])),
        since=since,
        until=until,
        reason=draw(st.sampled_from(["quarantine", "server_off"])),
        by="Lan",
        at=BEGIN,
    )


@st.composite
def results(draw: st.DrawFn) -> tuple[LineId, Sample]:
    """Measured at any time before it was received, or at most a day after; version 0.1 said no time of receipt."""
    at = draw(times) + draw(st.sampled_from([dt.timedelta(0), dt.timedelta(milliseconds=1), -TICK]))
    received = draw(st.none() | st.integers(-24, 12).map(lambda n: milliseconds(at + n * HOUR)))
    late = draw(st.sampled_from([None, True]))
    return draw(lines), Sample(at, 1.0, received_ms=received, late=late, server=draw(st.none() | servers))


def decided(made: list[Exclusion], line: LineId, row: Sample) -> str | None:
    """As the guide says it, word for word."""
    verdict = "late" if row.late else None
    for one in made:
        time = row.at if one.basis == "measured" or row.received_ms is None else ms(row.received_ms)
        meant = {
            "unit": one.agent == line.agent,
            "line": (one.agent, one.line) == line,
            "server": row.server is not None and one.server == row.server,
        }[one.scope]
        if meant and one.since <= time and (one.until is None or time < one.until):
            verdict = one.reason if one.action == "exclude" else None
    return verdict


def ms(since_1970: int) -> dt.datetime:
    return EPOCH + dt.timedelta(milliseconds=since_1970)


@given(st.lists(entries(), max_size=6), results())
def test_the_latest_entry_that_covers_a_result_decides(made: list[Exclusion], result: tuple[LineId, Sample]) -> None:
    line, row = result
    expected = decided(made, line, row)
    assert Exclusions(made).of_row(line, row) == expected
    (marked,) = Exclusions(made).marked(line, [row])
    assert marked.excluded == expected
    assert marked == row or expected is not None


@given(st.lists(entries(), max_size=4), entries(), results())
def test_a_release_counts_what_the_quarantine_covered_and_changes_nothing_else(
    made: list[Exclusion], entry: Exclusion, result: tuple[LineId, Sample]
) -> None:
    line, row = result
    out, counted = (Exclusion(**{**fields(entry), "action": action}) for action in ("exclude", "count"))
    after = Exclusions([*made, out, counted]).of_row(line, row)
    covered = Exclusions([out]).of_row(line, row) == entry.reason
    assert after == (None if covered else Exclusions(made).of_row(line, row))


def fields(entry: Exclusion) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Exclusion.__struct_fields__}


@given(st.lists(entries(), max_size=4), results(), times, times)
def test_a_line_that_no_entry_may_touch_has_no_result_that_one_decides(
    made: list[Exclusion], result: tuple[LineId, Sample], since: dt.datetime, until: dt.datetime
) -> None:
    line, row = result
    of_lines = Exclusions([one for one in made if one.scope != "server"])
    if since <= row.at < until and not of_lines.may_touch(line, since, until):
        assert of_lines.of_row(line, row) == ("late" if row.late else None)


def test_an_entry_that_ended_touches_nothing_that_is_measured_a_day_later() -> None:
    one = Exclusion(
        **{"action": "exclude", "scope": "unit", "agent": "a", "basis": "received", "reason": "quarantine"},  # type: ignore[arg-type]
        **{"since": BEGIN, "until": BEGIN + HOUR, "by": "Lan", "at": BEGIN},  # type: ignore[arg-type]
    )
    known, line = Exclusions([one]), LineId("a", "ftth")
    assert known.may_touch(line, EPOCH, EPOCH + HOUR), "a thief writes any time of measurement"
    assert known.may_touch(line, BEGIN + HOUR + MEASURED_AHEAD - TICK), "its clock may be a day ahead"
    assert not known.may_touch(line, BEGIN + HOUR + MEASURED_AHEAD)
    assert not known.may_touch(LineId("b", "ftth"), BEGIN)


# --- pages


@given(st.lists(st.integers(0, 8), max_size=40), st.integers(1, 12))
def test_pages_from_the_latest_back_hold_everything_once_and_part_no_instant(instants: list[int], size: int) -> None:
    rows = [Stamp(BEGIN + n * TICK, place) for place, n in enumerate(sorted(instants))]

    def read(since: dt.datetime, until: dt.datetime, latest: int) -> list[Stamp]:
        return [row for row in rows if since <= row.at < until][-latest:]

    pages = [list(page) for page in pages_back(read, BEGIN, BEGIN + HOUR, size)]
    assert [row for page in reversed(pages) for row in page] == rows
    assert sum(len({row.at for row in page}) for page in pages) == len(set(instants))


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([None, "quarantine"])), max_size=40), st.integers(1, 10))
def test_what_is_left_out_takes_no_place_of_what_counts(made: list[tuple[int, str | None]], latest: int) -> None:
    rows = [Sample(BEGIN + n * HOUR, 1.0, excluded=why) for n, why in sorted(made, key=lambda one: one[0])]
    found = _latest_counted([rows[-7:], rows[:-7]], latest)
    counted = [row for row in rows if row.excluded is None]
    assert [row for row in found if row.excluded is None] == counted[-latest:]
    assert len(found) == min(latest, len(rows))
    assert found == sorted(found, key=lambda row: row.at)


# --- the table


def quarantine(note: str = "stolen") -> Exclusion:
    given: dict[str, Any] = {"action": "exclude", "scope": "unit", "agent": "a", "basis": "received", "by": "Lan"}
    return Exclusion(**given, since=BEGIN, reason="quarantine", note=note, at=BEGIN)


def test_entries_of_another_process_are_seen_and_none_can_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusion_table, "LOOK_EVERY_S", 0.0)
    file = tmp_path / "record.db"
    assert read_exclusions(file).entries == ()
    assert not file.exists()
    one, other = ExclusionTable(file), ExclusionTable(file)
    for n in range(3):
        one.add(quarantine(str(n)))
        assert [entry.note for entry in other.current().entries] == [str(m) for m in range(n + 1)]
    assert other.current().version == 3
    assert [entry.note for entry in other.current().after(1)] == ["1", "2"]
    assert read_exclusions(file).entries == one.current().entries
    with sqlite3.connect(file) as db:
        for statement in ("UPDATE exclusions SET entry = ''", "DELETE FROM exclusions"):
            with pytest.raises(sqlite3.IntegrityError, match="only added"):
                db.execute(statement)
    one.set_applied("rollups", 2)
    assert (other.applied("rollups"), other.applied("other")) == (2, 0)
    for table in (one, other):
        table.close()


def test_who_may_not_see_the_record_is_told_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", forbidden)
    for read in (lambda: read_exclusions(tmp_path / "record.db"), lambda: ClosedMonths.open_existing(tmp_path)):
        with pytest.raises(StoreUnavailable, match="Permission denied; run this as the collector's user"):
            read()


def test_an_entry_that_the_archive_does_not_take_is_not_made(tmp_path: Path) -> None:
    table = ExclusionTable(tmp_path / "record.db")

    def full(entry: Exclusion) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        table.add(quarantine(), full)
    taken: list[Exclusion] = []
    table.add(quarantine("again"), taken.append)
    assert [entry.note for entry in table.current().entries] == ["again"] == [entry.note for entry in taken]
    table.close()


def test_what_the_archive_puts_back_after_newer_entries_is_older_than_they() -> None:
    line, row = LineId("a", "ftth"), Sample(BEGIN, 1.0)
    stolen = quarantine()
    released = structs.replace(stolen, action="count", at=BEGIN + HOUR)
    for order in ([stolen, released], [released, stolen]):
        assert Exclusions(order).of_row(line, row) is None
        assert list(Exclusions(order).after(1)) == order[1:]


def test_an_entry_is_the_latest_also_where_the_clock_was_set_back() -> None:
    known = Exclusions([quarantine()])
    assert known.next_at(BEGIN - HOUR) == BEGIN + TICK
    assert known.next_at(BEGIN + HOUR) == BEGIN + HOUR
    assert Exclusions().next_at(BEGIN) == BEGIN


class CountingStore:
    """A line that was measured every minute, and how many of its results were read."""

    def __init__(self, minutes: int) -> None:
        self.minutes, self.read = minutes, 0

    def last_results(self, since: dt.datetime, lines: object = None) -> dict[LineId, dt.datetime]:
        return {LineId("a", "ftth"): BEGIN + (self.minutes - 1) * HOUR / 60}

    def stamps(
        self, measurement: str, line: LineId, since: dt.datetime, until: dt.datetime, latest: int
    ) -> list[Stamp]:
        every = [BEGIN + n * HOUR / 60 for n in range(self.minutes)]
        found = [Stamp(at) for at in every if since <= at < until][-latest:]
        self.read += len(found)
        return found


def test_the_past_of_a_line_that_is_left_out_whole_is_not_read_every_minute() -> None:
    store, made, line = CountingStore(20_000), [quarantine()], LineId("a", "ftth")
    counted = ExcludingStore(store, lambda: Exclusions(made))  # type: ignore[arg-type]
    assert counted.last_results(EPOCH, [line]) == {}
    first, store.read = store.read, 0
    for _ in range(10):
        store.minutes += 1
        assert counted.last_results(EPOCH, [line]) == {}
    assert store.read < first / 10
    made.append(structs.replace(made[0], action="count"))
    assert counted.last_results(EPOCH, [line]) == {line: BEGIN + (store.minutes - 1) * HOUR / 60}


# --- what people write


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-11-22", False, "2026-11-21T17:00:00+00:00"),
        ("2026-11-22", True, "2026-11-22T17:00:00+00:00"),
        ("22/11/2026", False, "2026-11-21T17:00:00+00:00"),
        ("2/1/2026 09:30", True, "2026-01-02T02:30:00+00:00"),
        ("2026-11-22 09:30", True, "2026-11-22T02:30:00+00:00"),
        ("2026-11-22T09:30:05", False, "2026-11-22T02:30:05+00:00"),
        ("2026-11-22T02:30:00Z", True, "2026-11-22T02:30:00+00:00"),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, end: bool, expected: str) -> None:
    assert parse_time(text, registry(), end).astimezone(dt.UTC).isoformat() == expected


@pytest.mark.parametrize("text", ["", "yesterday", "22.11.2026", "2026-13-01", "31/02/2026", "2026-11-22 25:00"])
def test_another_text_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(EntryError, match="2026-11-22 09:30"):
        parse_time(text, registry())


def test_a_unit_that_the_registry_does_not_know_is_refused_with_the_closest() -> None:
    with pytest.raises(EntryError, match=r"no unit 'nd-a-2'; the closest: nd-"):
        check_unit(registry(), "nd-a-2", None)
    with pytest.raises(EntryError, match=r"no line '4gg'; the closest: 4g"):
        check_unit(registry(), "nd-a-1", "4gg")
    check_unit(registry(), "nd-a-1", "4g")
