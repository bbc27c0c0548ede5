"""What makes a result one result, in both stores: whatever else is stored, and whenever it comes again."""

import dataclasses
import datetime as dt
import errno
import fcntl
import random
import uuid
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from collector.store import Store, influx, influx_places
from collector.store.errors import StoreUnavailable
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.line_protocol import line_protocol
from collector.store.points import Point, Rejection, milliseconds
from collector.store.rows import check_points
from collector.store.sqlite import SqliteStore
from collector.store.sqlite_schema import column_list
from collector.store.write_turn import WriteTurn, slot_of
from tests.support.services import InfluxV2
from tests.support.stored import AGENT, LINE, NOW, SPOOL, event, health, latency, outage, received, speed, tagged

HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
EARLIER, LATER = NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=1)
THIEFS = "11111111-2222-4333-8444-555555555555"
MAKERS: list[Callable[..., Point]] = [speed, latency, outage]


def of_spool(point: Point, spool: str) -> Point:
    return dataclasses.replace(point, fields={**point.fields, "spool": spool})


def reopened(store: Store, request: pytest.FixtureRequest) -> Store:
    """Another process with the same database."""
    if isinstance(store, SqliteStore):
        other: Store = SqliteStore(store._path)
    else:
        assert isinstance(store, InfluxStore)
        other = InfluxStore(store._url, "any", store._bucket.name)
    request.addfinalizer(other.close)
    return other


def receipts(store: Store, line: LineId = LINE) -> list[int | None]:
    """Of the line's download tests, in the order of time."""
    return [row.received_ms for row in store.speed(line, EARLIER, LATER)]


# --- others' results


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("seq", "spool"), [(7 + 1000, SPOOL), (7, THIEFS), (7 + 3000, THIEFS)])
def test_a_thief_replaces_no_result(
    store: Store, request: pytest.FixtureRequest, seq: int, spool: str, restarted: bool
) -> None:
    honest = [make(NOW, 7) for make in MAKERS] + [health(NOW, 7), event(NOW, 7, "started")]
    assert store.add([received(point, NOW) for point in honest]).known == {}
    forged = [of_spool(make(NOW, seq), spool) for make in MAKERS]
    forged += [of_spool(health(NOW, seq), spool), of_spool(event(NOW, seq, "started"), spool)]
    then = reopened(store, request) if restarted else store
    assert then.add([received(point, NOW + HOUR) for point in forged]) == ([], {}, frozenset())
    for rows in (then.speed(LINE, EARLIER, LATER), then.latency(LINE, EARLIER, LATER)):
        assert sorted(row.received_ms or 0 for row in rows) == [milliseconds(NOW), milliseconds(NOW + HOUR)]
        assert {row.at for row in rows} == {NOW}
    assert len(then.outages(LINE, EARLIER, LATER)) == 2
    assert len(then.events("started", EARLIER, LATER)[LINE]) == 2
    assert len(then.samples(EARLIER, LATER)[LINE]) == len(then.figures.downloads(EARLIER, LATER)[LINE]) == 2
    assert then.figures.counts(EARLIER, LATER) == {LINE: 6}
    assert set(then.add([*honest, *forged]).known.values()) == {milliseconds(NOW), milliseconds(NOW + HOUR)}
    assert then.figures.counts(EARLIER, LATER) == {LINE: 6}


def test_a_batch_keeps_both_as_well(store: Store) -> None:
    points = [speed(NOW, 7), of_spool(speed(NOW, 7), THIEFS), speed(NOW, 1007), speed(NOW, 8)]
    assert store.add(points) == ([], {}, frozenset())
    assert len(store.speed(LINE, EARLIER, LATER)) == 4


def test_a_microsecond_holds_a_thousand_results_of_a_line_and_no_more(store: Store) -> None:
    if isinstance(store, SqliteStore):
        return
    assert store.add([speed(NOW, 1 + 1000 * n) for n in range(1000)]).rejections == []
    more = speed(NOW, 5)
    assert store.add([speed(NOW + MINUTE, 6), more]).rejections == [
        Rejection(more, "1000 other results of the same microsecond and line are stored")
    ]
    assert len(store.speed(LINE, EARLIER, LATER)) == 1001


# --- the same result again


def test_a_result_that_comes_again_keeps_its_receipt_and_is_said_to_be_known(
    store: Store, request: pytest.FixtureRequest
) -> None:
    first = [received(make(NOW, n), NOW, late=n == 2) for n, make in enumerate(MAKERS, 1)]
    assert store.add(first) == ([], {}, frozenset())
    for again in (store, reopened(store, request)):
        points = [received(make(NOW, n), NOW + HOUR, late=True) for n, make in enumerate(MAKERS, 1)]
        added = again.add(points)
        assert added == ([], dict.fromkeys(map(id, points), milliseconds(NOW)), frozenset({id(points[1])}))
        assert again.find(points) == added
        assert receipts(again) == [milliseconds(NOW)]
        assert [row.late for row in again.latency(LINE, EARLIER, LATER)] == [True]
        assert [row.late for row in again.speed(LINE, EARLIER, LATER)] == [None]


def test_finding_writes_nothing(store: Store) -> None:
    assert store.find([speed(NOW, 1), speed(NOW, 1)]) == ([], {}, frozenset())
    assert store.speed(LINE, EARLIER, LATER) == []


def test_a_registry_that_was_corrected_in_between_doubles_nothing(store: Store) -> None:
    store.add([received(speed(NOW, 1), NOW), received(health(NOW, 2), NOW)])
    again = [tagged(speed(NOW, 1), hamlet="Xóm 6", isp="FPT"), tagged(health(NOW, 2), area="Ninh Bình")]
    assert store.add(again).known == dict.fromkeys(map(id, again), milliseconds(NOW))
    assert store.figures.counts(EARLIER, LATER) == {LINE: 1}


def test_the_same_result_twice_in_a_batch_counts_once(store: Store) -> None:
    twins = [received(speed(NOW, 1), NOW), received(speed(NOW, 1), NOW + HOUR)]
    assert store.add(twins) == ([], {id(twins[1]): milliseconds(NOW)}, frozenset())
    assert receipts(store) == [milliseconds(NOW)]


def test_the_twin_of_a_result_that_the_database_refuses_is_refused(influx_v2: InfluxV2) -> None:
    bucket = f"identity-{uuid.uuid4().hex[:12]}"
    influx_v2.create(bucket)
    influx_v2.write(bucket, f'speed,agent=alien reordered_packets="many" {int(NOW.timestamp())}000000000')
    store = InfluxStore(influx_v2.url, "any", bucket)
    bad = [speed(NOW, 1, reordered_packets=3), speed(NOW, 1, reordered_packets=3)]
    added = store.add([*bad, of_spool(speed(NOW, 1), THIEFS)])
    assert [id(rejection.point) for rejection in added.rejections] == [id(bad[0]), id(bad[1])]
    assert added.known == {}
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    store.close()


# --- what 0.1.0 has stored


def write_as_before(store: Store, points: list[Point]) -> None:
    """As 0.1.0 did, which knew neither receipts nor places."""
    if isinstance(store, InfluxStore):
        for one in check_points(points)[0]:
            store._post(store._bucket, line_protocol(one))
        return
    assert isinstance(store, SqliteStore)
    with store._transaction() as connection:
        for point in points:
            named = {"time_ns": point.time_ns, **point.tags, **point.fields}
            marks = ", ".join("?" * len(named))
            statement = f"INSERT INTO {point.measurement} ({column_list(list(named))}) VALUES ({marks})"
            connection.execute(statement, list(named.values()))


def test_what_was_stored_by_0_1_0_is_known_by_its_time_and_not_doubled(store: Store) -> None:
    old = [make(NOW, 3, line=line) for make in MAKERS for line in (LINE, LineId(AGENT, "4g"))] + [health(NOW, 4)]
    write_as_before(store, old)
    again = [received(tagged(point, hamlet="Xóm 6"), NOW + HOUR) for point in old]
    assert store.add(again) == ([], dict.fromkeys(map(id, again), milliseconds(NOW)), frozenset())
    assert receipts(store) == [None]
    assert store.figures.counts(EARLIER, LATER) == {LINE: 3, LineId(AGENT, "4g"): 3}
    forged = received(speed(NOW, 1003), NOW + HOUR)
    assert store.add([forged]).known == {}
    assert receipts(store) == [None, milliseconds(NOW + HOUR)]


def test_what_0_1_0_stored_twice_under_a_renamed_hamlet_still_counts_once(store: Store) -> None:
    if isinstance(store, SqliteStore):
        return
    write_as_before(store, [speed(NOW, 3), tagged(speed(NOW, 3), hamlet="Xóm Năm")])
    assert len(store.speed(LINE, EARLIER, LATER)) == 1
    assert len(store.add([speed(NOW, 3)]).known) == 1
    assert len(store.speed(LINE, EARLIER, LATER)) == 1


# --- what only InfluxDB needs


@pytest.fixture
def influx_store(influx_v2: InfluxV2, tmp_path: Path) -> Iterator[InfluxStore]:
    bucket = f"identity-{uuid.uuid4().hex[:12]}"
    influx_v2.create(bucket)
    store = InfluxStore(influx_v2.url, "any", bucket, turn=tmp_path / "turn")
    yield store
    store.close()


def test_results_that_come_in_order_cost_one_question_for_a_unit(
    influx_store: InfluxStore, influx_v2: InfluxV2
) -> None:
    lines = [LineId(f"nd-{unit}", line) for unit in range(50) for line in ("ftth", "4g")]
    before = influx_v2.front.requests("GET /query")
    for n in range(1, 21):
        assert influx_store.add([speed(NOW + n * MINUTE, n, line) for line in lines]).rejections == []
    assert influx_v2.front.requests("GET /query") - before == 1


@pytest.mark.parametrize("gap", [dt.timedelta(seconds=40), HOUR])
def test_what_comes_again_is_asked_for_in_few_questions(
    influx_store: InfluxStore, influx_v2: InfluxV2, gap: dt.timedelta
) -> None:
    points = [received(speed(NOW + n * gap, n), NOW) for n in range(500)]
    influx_store.add(points)
    before = influx_v2.front.requests("GET /query")
    assert len(influx_store.add(points).known) == 500
    assert influx_v2.front.requests("GET /query") - before <= (1 if gap < HOUR else 30)


def test_a_dense_range_is_asked_for_one_by_one(influx_store: InfluxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influx, "MAX_IN_RANGE", 10)
    points = [received(speed(NOW + dt.timedelta(seconds=n), n), NOW) for n in range(50)]
    influx_store.add(points)
    assert len(influx_store.add(points).known) == 50
    assert len(receipts(influx_store)) == 50


def test_times_are_joined_where_they_are_near_and_never_over_long() -> None:
    minute = 60_000_000
    assert list(influx_places.ranges([])) == []
    assert list(influx_places.ranges([5, 5])) == [(5, 5)]
    assert list(influx_places.ranges([0, 9 * minute, 20 * minute])) == [(0, 9 * minute), (20 * minute, 20 * minute)]
    found = list(influx_places.ranges(range(0, 300 * minute, minute)))
    assert len(found) == 5
    assert max(last - first for first, last in found) <= 60 * minute


def test_a_write_whose_answer_was_lost_leaves_the_first_receipt(
    influx_store: InfluxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = influx_store._post

    def lost(*args: object) -> None:
        post(*args)  # type: ignore[arg-type]
        raise StoreUnavailable("no answer")

    old = received(speed(NOW, 1), NOW)
    influx_store.add([old])
    monkeypatch.setattr(influx_store, "_post", lost)
    with pytest.raises(StoreUnavailable):
        influx_store.add([received(speed(NOW + MINUTE, 2), NOW), received(speed(NOW, 1001), NOW)])
    monkeypatch.undo()
    points = [received(speed(NOW + MINUTE, 2), NOW + HOUR), received(speed(NOW, 1001), NOW + HOUR)]
    assert influx_store.add(points).known == dict.fromkeys(map(id, points), milliseconds(NOW))
    assert receipts(influx_store) == [milliseconds(NOW)] * 3


def test_two_processes_replace_nothing_of_each_other(influx_store: InfluxStore, tmp_path: Path) -> None:
    """The collector, and `resend` beside it."""
    other = InfluxStore(influx_store._url, "any", influx_store._bucket.name, turn=tmp_path / "turn")
    influx_store.add([received(speed(NOW, 1), NOW)])
    other.add([received(speed(NOW + MINUTE, 2), NOW)])
    again = [received(speed(NOW + MINUTE, 2), NOW + HOUR), received(speed(NOW + MINUTE, 1002), NOW + HOUR)]
    assert influx_store.add(again).known == {id(again[0]): milliseconds(NOW)}
    assert receipts(influx_store) == [milliseconds(NOW), milliseconds(NOW), milliseconds(NOW + HOUR)]
    other.close()


def test_units_that_share_a_slot_are_all_forgotten_when_another_process_wrote_to_it(
    influx_store: InfluxStore, tmp_path: Path
) -> None:
    twin = next(name for n in range(100_000) if slot_of(name := f"nd-{n}") == slot_of(AGENT))
    of_twin = LineId(twin, "ftth")
    other = InfluxStore(influx_store._url, "any", influx_store._bucket.name, turn=tmp_path / "turn")
    influx_store.add([received(speed(NOW, 1), NOW), received(speed(NOW, 1, of_twin), NOW)])
    other.add([received(speed(NOW + MINUTE, 2), NOW), received(speed(NOW + MINUTE, 2, of_twin), NOW)])
    influx_store.add([received(speed(NOW + HOUR, 3), NOW)])
    influx_store.add([received(speed(NOW + MINUTE, 1002, of_twin), NOW + HOUR)])
    assert receipts(influx_store, of_twin) == [milliseconds(NOW), milliseconds(NOW), milliseconds(NOW + HOUR)]
    other.close()


def test_a_process_that_writes_without_end_is_waited_for_only_so_long(
    influx_store: InfluxStore, tmp_path: Path
) -> None:
    other = InfluxStore(influx_store._url, "any", influx_store._bucket.name, turn=tmp_path / "turn", timeout_s=0.2)
    with influx_store._turn.hold([AGENT]), pytest.raises(StoreUnavailable, match="another process writes"):
        other.add([speed(NOW, 1)])
    with influx_store._turn.hold([AGENT]):
        assert other.add([speed(NOW, 1, LineId("nd-b", "ftth"))]).rejections == [], "of another unit"
    assert other.add([speed(NOW, 1)]).rejections == []
    other.close()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    turn = WriteTurn(tmp_path / "turn", 1.0)
    with monkeypatch.context() as without:
        without.setattr(fcntl, "fcntl", refuse)
        with pytest.raises(StoreUnavailable, match=r"turn: .*No locks available"), turn.hold([AGENT]):
            pass
    with turn.hold([AGENT]):
        pass
    turn.close()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_in_whatever_order_each_result_is_there_once_with_its_first_receipt(
    store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Against a dictionary: spools and numbers that collide, renamed hamlets, restarts, a memory that is too small."""
    monkeypatch.setattr(influx_places, "MAX_UNITS", 2)
    dice = random.Random(seed)
    lines = [LineId(f"nd-{unit}", line) for unit in range(3) for line in ("ftth", "4g")]
    expected: dict[tuple[LineId, dt.datetime, str, int], int] = {}
    for turn in range(40):
        if dice.random() < 0.1:
            store = reopened(store, request)
        now = NOW + turn * MINUTE
        batch = []
        for _ in range(dice.randrange(1, 12)):
            line, spool = dice.choice(lines), dice.choice([SPOOL, THIEFS])
            at = NOW + dice.randrange(3) * dt.timedelta(microseconds=1) + dice.choice([0, 0, turn]) * MINUTE
            seq = dice.randrange(3) + 1000 * dice.randrange(3)
            point = of_spool(tagged(speed(at, seq, line), hamlet=dice.choice(["Xóm 5", "Xóm 6"])), spool)
            batch.append(((line, at, spool, seq), received(point, now)))
        known = {}
        for identity, point in batch:
            if identity in expected:
                known[id(point)] = expected[identity]
            else:
                expected[identity] = milliseconds(now)
        assert store.add([point for _, point in batch]) == ([], known, frozenset())
    for line, of_line in groupby(sorted(expected), key=lambda identity: identity[0]):
        rows = store.speed(line, EARLIER, LATER)
        want = sorted((at, expected[line, at, spool, seq]) for _, at, spool, seq in of_line)
        assert sorted((row.at, row.received_ms or 0) for row in rows) == want
