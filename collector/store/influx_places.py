"""Where a result stands in InfluxDB, which knows a point by its tags and nanosecond alone. Pure.

A result is known by unit, line, measurement, microsecond, spool and seq. The last three digits of its nanoseconds are
its place in the microsecond: `seq` mod 1000, or the next one that is free. What is later than all that is stored of its
line is surely new; about the rest the database is asked first.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from collector.store.points import Point, Rejection
from collector.store.rows import TypedPoint, rejection

PLACES = 1000
MAX_UNITS = 20_000
MAX_GAP_US, MAX_RANGE_US = 600_000_000, 3_600_000_000
"""Times that are nearer than this are asked for together, but no longer range: a thief may claim any times."""


class LineKey(NamedTuple):
    agent: str
    line: str
    measurement: str


class StoredResult(NamedTuple):
    """What a database says of a result. One of 0.1.0 has no receipt and counts as received when it was measured."""

    key: LineKey
    time_ns: int
    spool: str
    seq: int
    received_ms: int
    late: bool

    @property
    def micros(self) -> int:
        """Microseconds since 1970."""
        return self.time_ns // PLACES


def stored_result(one: TypedPoint) -> StoredResult:
    """What the database will say once it is stored."""
    point, fields = one
    tags, at = point.tags, point.time_ns
    key = LineKey(tags.get("agent", ""), tags.get("line", ""), point.measurement)
    received, late = fields.get("received_ms"), bool(fields.get("late"))
    received_ms = at // 10**6 if received is None else int(received)
    return StoredResult(key, at, str(fields["spool"]), int(fields["seq"]), received_ms, late)


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

    def unknown(self, results: Iterable[StoredResult]) -> dict[str, int]:
        """The units that are to be learned, with the oldest of their microseconds."""
        oldest: dict[str, int] = {}
        for result in results:
            agent = result.key.agent
            if agent in self._units:
                self._units.move_to_end(agent)
            else:
                oldest[agent] = min(result.micros, oldest.get(agent, result.micros))
        return oldest

    def learn(self, agents: Collection[str], since: int, latest: Mapping[LineKey, int]) -> None:
        """All that is stored of these units since a microsecond is in `latest`, or before it."""
        for agent in agents:
            self._units[agent] = _UnitTimes(since - 1)
        for key, at in latest.items():
            self._units[key.agent].latest[key] = at
        while len(self._units) > MAX_UNITS:
            self._units.popitem(last=False)

    def is_new(self, result: StoredResult) -> bool:
        """Whether it is later than all that is stored of its line and measurement."""
        unit = self._units.get(result.key.agent)
        return unit is not None and result.micros > unit.latest.get(result.key, unit.floor)

    def note(self, result: StoredResult) -> None:
        """It is stored."""
        unit = self._units.get(result.key.agent)
        if unit is not None and result.micros > unit.latest.get(result.key, unit.floor):
            unit.latest[result.key] = result.micros

    def forget_if(self, is_unknown: Callable[[str], bool]) -> None:
        """Nobody knows what is stored of such units."""
        for agent in [agent for agent in self._units if is_unknown(agent)]:
            del self._units[agent]


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
    moved: dict[int, Point] = field(default_factory=dict)
    """id of each point in `new` that has another place than its own -> the point that was given."""
    known: dict[int, StoredResult] = field(default_factory=dict)
    """id of each point that was given and is stored."""
    twins: list[tuple[Point, Point]] = field(default_factory=list)
    """Points in `known` whose like is in `new`, and that one, as both were given."""
    rejections: list[Rejection] = field(default_factory=list)

    def given(self, point: Point) -> Point:
        """The point that was given, of one in `new` or given itself."""
        return self.moved.get(id(point), point)


_Places = dict[int, tuple[StoredResult, Point | None]]
"""Of a line's microsecond: place -> what is there, and its point where that is about to be written."""


def place(results: Sequence[TypedPoint], told: Sequence[StoredResult], stored: Iterable[StoredResult]) -> Placed:
    """A place for each result beside what is stored in its microsecond. `told` is `stored_result` of each."""
    taken: dict[tuple[LineKey, int], _Places] = {}
    for there in stored:
        taken.setdefault((there.key, there.micros), {})[there.time_ns % PLACES] = there, None
    placed = Placed()
    for one, mine in zip(results, told, strict=True):
        micros, own = divmod(mine.time_ns, PLACES)
        places = taken.get((mine.key, micros))
        if places is None:
            taken[mine.key, micros] = {own: (mine, one.point)}
            placed.new.append(one)
        else:
            _place_among(places, one, mine, own, placed)
    return placed


def _place_among(places: _Places, one: TypedPoint, mine: StoredResult, own: int, placed: Placed) -> None:
    for like, point in places.values():
        if (like.spool, like.seq) == (mine.spool, mine.seq):
            placed.known[id(one.point)] = like
            if point is not None:
                placed.twins.append((one.point, point))
            return
    free = next((n % PLACES for n in range(own, own + PLACES) if n % PLACES not in places), None)
    if free is None:
        reason = f"{PLACES} other results of the same microsecond and line are stored"
        placed.rejections.append(rejection(one.point, reason))
        return
    places[free] = mine, one.point
    if free != own:
        given, one = one.point, one._replace(point=replace(one.point, time_ns=mine.time_ns - own + free))
        placed.moved[id(one.point)] = given
    placed.new.append(one)
