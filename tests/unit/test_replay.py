"""Replay without processes: who takes which unit, what is refused, and how long a database is waited for."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.archive.record import Record
from collector.archive.replay import MAX_TRIES, Share, patiently, point_of_record, replay_records
from collector.ingest.archive_record import ArchiveRecord
from collector.ingest.validate import RefusedMessage
from collector.rollups.aggregate import HOUR
from collector.store import Added
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.points import Point, Rejection
from tests.support.rebuilt import LINES, quarantine
from tests.support.sender import result
from tests.support.stored import AGENT, registry

pytestmark = pytest.mark.date

NOW = dt.datetime(2026, 10, 14, 3, 20, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def record(
    seq: int, received_ms: int = NOW_MS, late: bool = False, agent: str = AGENT, **more: object
) -> ArchiveRecord:
    message = result(seq, **{"agent": agent, "at": NOW.isoformat(), **more})
    return ArchiveRecord(received_ms, agent, msgspec.json.encode(message), late)


class NewStore:
    """Has nothing yet, and refuses some numbers."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses, self.batches = refuses, list[list[Point]]()

    def add(self, points: list[Point]) -> Added:
        self.batches.append(list(points))
        return Added([Rejection(one, "no room") for one in points if one.fields["seq"] == self.refuses], {})


@given(st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True), unique=True), st.integers(1, 5))
def test_each_unit_is_of_one_share(agents: list[str], of: int) -> None:
    assert all(sum(Share(number, of).has(agent) for number in range(of)) == 1 for agent in agents)


def test_a_result_is_as_it_was_at_its_receipt() -> None:
    point = point_of_record(record(7), registry())
    assert isinstance(point, Point)
    assert (point.fields["received_ms"], "late" in point.fields) == (NOW_MS, False)
    late = point_of_record(record(7, late=True), registry())
    assert isinstance(late, Point)
    assert late.fields == {**point.fields, "late": True}
    early = point_of_record(record(7, NOW_MS - 25 * 3_600_000), registry())
    assert isinstance(early, RefusedMessage)
    assert early.code == "future", "by the clock of then, whatever time it is now"


def test_what_the_database_would_not_keep_is_refused_with_the_setting() -> None:
    found = point_of_record(record(7), registry(), NOW + dt.timedelta(seconds=1))
    assert isinstance(found, RefusedMessage)
    assert (found.code, found.reason) == ("store", "measured 2026-10-14, before what is kept (store.keep_days)")


def test_everything_is_counted_and_the_first_of_each_code_named() -> None:
    store = NewStore(refuses=2)
    blocks = [
        [record(1), record(2), record(3, line="no-such")],
        [ArchiveRecord(NOW_MS, "", b"{}"), record(4, agent="nd-unknown"), record(5, line="no-such")],
    ]
    outcome = replay_records(blocks, registry(), store, Share(), None, lambda *_: None)  # type: ignore[arg-type]
    assert (outcome.results, outcome.added) == (5, 1)
    assert outcome.refused == {"store": 1, "unknown_line": 2, "unknown_agent": 1}
    assert outcome.examples["store"] == f"{AGENT}, received 2026-10-14 03:20: no room"
    assert outcome.examples["unknown_agent"].startswith("nd-unknown, received 2026-10-14 03:20: ")
    assert [one.payload for one in outcome.own] == [b"{}"]
    assert [len(batch) for batch in store.batches] == [2]
    assert outcome.hour_instants == [NOW.replace(minute=0)]


def test_hours_of_what_the_database_refuses_are_not_computed_again() -> None:
    """Their roll-ups may outlive the results, in a database that deletes by itself."""
    store = NewStore(refuses=2)
    before = (NOW - 3 * HOUR).isoformat()
    blocks = [[record(1), record(2, at=before)]]
    outcome = replay_records(blocks, registry(), store, Share(), None, lambda *_: None)  # type: ignore[arg-type]
    assert outcome.hour_instants == [NOW.replace(minute=0)]


def test_what_a_later_version_decided_is_counted_and_keeps_nothing_else_from_coming_back(tmp_path: Path) -> None:
    record_, entry = Record(tmp_path), msgspec.json.encode(quarantine(LINES[0].agent))
    payloads = [b'{"record":"closed_month","version":99,"month":"2026-10"}', b'{"record":"signature"}', entry]
    own = [ArchiveRecord(n, "", payload) for n, payload in enumerate(payloads)]
    assert record_.restore(own, dry_run=True) == record_.restore(own, dry_run=False) == (1, 0, 2)
    assert len(record_.exclusions.current().entries) == 1
    record_.close()


def failing(times: int, error: StoreUnavailable) -> Callable[[], str]:
    left = [error] * times

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    return attempt


def test_a_database_that_is_away_is_waited_for_and_one_that_refuses_is_not() -> None:
    waits: list[float] = []
    assert patiently(failing(3, StoreUnavailable("down", 7)), waits.append) == "done"
    assert waits == [7, 7, 7]
    with pytest.raises(StoreUnavailable):
        patiently(failing(MAX_TRIES, StoreUnavailable("down", 1)), waits.append)
    with pytest.raises(StoreRefused):
        patiently(failing(1, StoreRefused("no such bucket")), pytest.fail)  # type: ignore[arg-type]
