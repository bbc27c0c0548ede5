"""From a result and its registry row to a database point: the one place that fixes measurement, tags, fields, time."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec import inspect as mi
from msgspec.structs import astuple

from collector.store.derived_schemas import OWN, Kind
from xomnet.contract.flat_fields import FlatField, flat_fields
from xomnet.contract.messages import KIND_OF, HealthResult, Result
from xomnet.registry.registry import LineRow

Value = float | int | bool | str

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TAGS = ("agent", "line", "access", "isp", "hamlet", "area")
PLACE_TAGS = ("scope", "place", "access")
"""Of a figure over many lines: `scope` is `all`, `area` or `isp`, and `place` which one."""


@dataclass(frozen=True, slots=True)
class Point:
    """One row of the database. Its identity is measurement, tags and time; `fields` are typed by the contract."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value]
    time_ns: int


class Rejection(NamedTuple):
    """A point that the database will never take."""

    point: Point
    reason: str


def _kind(field: FlatField) -> Kind:
    """The database type of a field: lists are stored as text, everything else as itself."""
    return {mi.FloatType: float, mi.IntType: int, mi.BoolType: bool}.get(type(field.kind), str)


ENVELOPE: dict[str, Kind] = {
    "spool": str,
    "seq": int,
    "clock": str,
    "at_error_s": float,
    "received_ms": int,  # since 1970, by the server's clock; absent where a version before 0.2 stored it
    "late": bool,  # true where it came later than the unit's own reports explain; else absent
}
"""The fields that every result has beside what was measured."""

SCHEMAS: dict[str, dict[str, Kind]] = {
    kind: {field.name: _kind(field) for field in flat_fields(data)} | ENVELOPE for data, kind in KIND_OF.items()
} | OWN
"""Measurement -> field -> type: of every kind of result, and the collector's own."""

RESULTS: tuple[str, ...] = tuple(name for name, fields in SCHEMAS.items() if "spool" in fields)
"""The measurements that hold what units sent; the others are the collector's own."""

COUNTED = ("speed", "latency", "outage")
"""What the roll-ups are made of."""


def tags_in(measurement: str) -> tuple[str, ...]:
    """The tags that a measurement has."""
    return PLACE_TAGS if measurement.startswith("place_") else TAGS


def identity_of(measurement: str) -> tuple[str, ...]:
    """What tells two points of a measurement apart, beside their time and, of results, spool and seq."""
    return PLACE_TAGS if measurement.startswith("place_") else ("agent", "line")


def time_ns(when: dt.datetime, seq: int = 0) -> int:
    """Nanoseconds since 1970. The contract's times are microseconds; the last three digits keep apart, by their
    sequence numbers, two results of one line that a step of the clock put in one microsecond.
    """
    return ((when - EPOCH) // dt.timedelta(microseconds=1)) * 1000 + seq % 1000


def milliseconds(when: dt.datetime) -> int:
    """Milliseconds since 1970: how a time of receipt is stored."""
    return (when - EPOCH) // dt.timedelta(milliseconds=1)


def received_at(received_ms: int) -> dt.datetime:
    """The instant of a stored time of receipt."""
    return EPOCH + dt.timedelta(milliseconds=received_ms)


def when(time_ns: int) -> dt.datetime:
    """The instant of a point, to the microsecond."""
    return EPOCH + dt.timedelta(microseconds=time_ns // 1000)


def tags_of(row: LineRow, line: str | None) -> dict[str, str]:
    """The tags of a registry row; for a result of the unit itself (`line` None) without those of the line."""
    place = {"agent": row.agent, "hamlet": row.hamlet, "area": row.area}
    return place if line is None else {**place, "line": row.line, "access": row.access, "isp": row.isp}


def point_of(result: Result, row: LineRow, received: dt.datetime | None = None) -> Point:
    """The point of a result, with the tags of the row in force when it was measured."""
    measurement = str(result.__struct_config__.tag)
    fields: dict[str, Value] = {"spool": str(result.spool), "seq": result.seq, "clock": result.clock}
    if received is not None:
        fields["received_ms"] = milliseconds(received)
    if result.at_error_s is not None:
        fields["at_error_s"] = float(result.at_error_s)
    _add_values(fields, result.data, _PLANS[measurement])
    line = None if isinstance(result, HealthResult) else result.line
    return Point(measurement, tags_of(row, line), fields, time_ns(result.at, result.seq))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return msgspec.json.encode(value).decode()


class _Cell(NamedTuple):
    """How an attribute of a structure is stored: as a field, or, of a structure within it, as several."""

    name: str
    convert: Callable[[Any], Value]
    within: Sequence["_Cell"] = ()


def _plan(fields: Iterable[FlatField], depth: int = 0) -> Iterator[_Cell]:
    """Of the attributes in their order."""
    for attribute, group in groupby(fields, key=lambda field: field.path[depth]):
        first, *more = group
        if len(first.path) > depth + 1:
            yield _Cell(attribute, _text, tuple(_plan([first, *more], depth + 1)))
        else:
            kind = _kind(first)
            yield _Cell(first.name, _text if kind is str else kind)


_PLANS = {kind: tuple(_plan(flat_fields(data))) for data, kind in KIND_OF.items()}


def _add_values(fields: dict[str, Value], data: Struct, plan: Sequence[_Cell]) -> None:
    """Adds what is not absent, named as in `flat_fields`."""
    for (name, convert, within), value in zip(plan, astuple(data), strict=True):
        if value is None or value == ():
            continue
        if within:
            _add_values(fields, value, within)
        else:
            fields[name] = convert(value)
