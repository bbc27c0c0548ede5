"""Where a result stands in InfluxDB, which knows a point by its tags and nanosecond alone. Pure.

A result is known by unit, line, measurement, microsecond, spool and seq. The last three digits of its nanoseconds are
its place in the microsecond: `seq` mod 1000, or the next one that is free. What is later than all that is stored of its
line is surely new; about the rest the database is asked first.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from collector.store.points import Point, Rejection, milliseconds, when
from collector.store.rows import TypedPoint, rejection

PLACES = 1000
MAX_UNITS = 20_000
MAX_GAP_US, MAX_RANGE_US = 600_000_000, 3_600_000_000
"""Times that are nearer than this are asked for together, but no longer range: a thief may claim any times."""


class LineKey(NamedTuple):
    agent: str
    line: str
    measurement: str


def key_of(point: Point) -> LineKey:
    return LineKey(point.tags.get("agent", ""), point.tags.get("line", ""), point.measurement)


def micros(point: Point) -> int:
    """Microseconds since 1970."""
    return point.time_ns // PLACES


class StoredResult(NamedTuple):
    """What a database says of a result. One of 0.1.0 has no receipt and counts as received when it was measured."""

    key: LineKey
    time_ns: int
    spool: str
    seq: int
    received_ms: int
    late: bool


def stored_result(point: Point) -> StoredResult:
    """What a point will say once it is stored."""
    fields = point.fields
    received, late = fields.get("received_ms"), bool(fields.get("late"))
    received_ms = milliseconds(when(point.time_ns)) if received is None else int(received)
    return StoredResult(key_of(point), point.time_ns, str(fields["spool"]), int(fields["seq"]), received_ms, late)


@dataclass(slots=True)
class _UnitTimes:
    floor: int
    """Nothing later is stored of a line and measurement that `latest` does not have."""
    latest: dict[LineKey, int] = field(default_factory=dict)


class LatestTimes:
    """Of each line and measurement, the latest microsecond that is stored, for MAX_UNITS units; others are learned
    again.
    """

    def __init__(self) -> None:
        self._units: OrderedDict[str, _UnitTimes] = OrderedDict()

    def unknown(self, points: Iterable[Point]) -> dict[str, int]:
        """The units that are to be learned, with the oldest of their microseconds."""
        oldest: dict[str, int] = {}
        for point in points:
            agent = point.tags.get("agent", "")
            if agent in self._units:
                self._units.move_to_end(agent)
            else:
                oldest[agent] = min(micros(point), oldest.get(agent, micros(point)))
        return oldest

    def learn(self, agents: Collection[str], since: int, latest: Mapping[LineKey, int]) -> None:
        """All that is stored of these units since a microsecond is in `latest`, or before it."""
        for agent in agents:
            self._units[agent] = _UnitTimes(since - 1)
        for key, at in latest.items():
            self._units[key.agent].latest[key] = at
        while len(self._units) > MAX_UNITS:
            self._units.popitem(last=False)

    def is_new(self, point: Point) -> bool:
        """Whether it is later than all that is stored of its line and measurement."""
        key = key_of(point)
        unit = self._units.get(key.agent)
        return unit is not None and micros(point) > unit.latest.get(key, unit.floor)

    def note(self, point: Point) -> None:
        """It is stored."""
        key = key_of(point)
        unit = self._units.get(key.agent)
        if unit is not None:
            unit.latest[key] = max(micros(point), unit.latest.get(key, unit.floor))

    def forget(self, agents: Iterable[str]) -> None:
        """Nobody knows what is stored of them."""
        for agent in agents:
            self._units.pop(agent, None)

    def clear(self) -> None:
        self._units.clear()


def ranges(times: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of neighbouring microseconds."""
    first = last = None
    for at in sorted(set(times)):
        if first is None or last is None or at - last > MAX_GAP_US or at - first > MAX_RANGE_US:
            if first is not None and last is not None:
                yield first, last
            first = at
        last = at
    if first is not None and last is not None:
        yield first, last


@dataclass(slots=True)
class Placed:
    """What is to be written of results, and what is not."""

    new: list[TypedPoint] = field(default_factory=list)
    """With the times of their places."""
    given: dict[int, Point] = field(default_factory=dict)
    """id of each point in `new` -> the point that was given."""
    known: dict[int, StoredResult] = field(default_factory=dict)
    """id of each point that was given and is stored."""
    twins: list[tuple[Point, Point]] = field(default_factory=list)
    """Points in `known` whose like is in `new`, and that one, as both were given."""
    rejections: list[Rejection] = field(default_factory=list)


def place(results: Sequence[TypedPoint], stored: Iterable[StoredResult]) -> Placed:
    """A place for each result beside what is stored in its microsecond."""
    taken: dict[tuple[LineKey, int], dict[int, tuple[StoredResult, Point | None]]] = {}
    for result in stored:
        taken.setdefault((result.key, result.time_ns // PLACES), {})[result.time_ns % PLACES] = result, None
    placed = Placed()
    for one in results:
        mine = stored_result(one.point)
        places = taken.setdefault((mine.key, micros(one.point)), {})
        like = next((there for there in places.values() if there[0][2:4] == mine[2:4]), None)
        if like is not None:
            placed.known[id(one.point)] = like[0]
            if like[1] is not None:
                placed.twins.append((one.point, like[1]))
        elif len(places) == PLACES:
            reason = f"{PLACES} other results of the same microsecond and line are stored"
            placed.rejections.append(rejection(one.point, reason))
        else:
            first = mine.time_ns % PLACES
            free = next(n % PLACES for n in range(first, first + PLACES) if n % PLACES not in places)
            places[free] = mine, one.point
            moved = one if free == first else one._replace(point=_moved(one.point, free))
            placed.new.append(moved)
            placed.given[id(moved.point)] = one.point
    return placed


def _moved(point: Point, place_: int) -> Point:
    return replace(point, time_ns=micros(point) * PLACES + place_)
