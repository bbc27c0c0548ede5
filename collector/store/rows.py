"""Between points and rows, the same for every store: what may be written, and what a reader gets back."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_type_hints

from collector.store import Download, EventRow, HealthRow, LatencyRow, OutageRow, Rejection, Sample, SpeedRow
from collector.store.derived_schemas import Kind
from collector.store.points import SCHEMAS, Point, Value, when

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)
else:
    R = TypeVar("R")

MEASUREMENT_OF: dict[type, str] = {
    SpeedRow: "speed",
    Sample: "speed",
    Download: "speed",
    LatencyRow: "latency",
    OutageRow: "outage",
    HealthRow: "health",
    EventRow: "event",
}
"""Where the rows of each kind are read from."""

_LARGEST = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_REASON_LETTERS = 400


class _BadField(ValueError):
    """A value that the contract does not allow."""


class _Plan(NamedTuple):
    """How the rows of a kind are made, worked out once."""

    types: Mapping[str, Callable[[Any], Any]]
    required: frozenset[str]
    absent: Mapping[str, None]
    """Fields that have no default but may be None."""


def _plan(kind: type[Any]) -> _Plan:
    schema = SCHEMAS[MEASUREMENT_OF[kind]]
    fields = [field for field in dataclasses.fields(kind) if field.name != "at"]
    hints = get_type_hints(kind)
    types: dict[str, Callable[[Any], Any]] = {
        field.name: _words if hints[field.name] == tuple[str, ...] else schema[field.name] for field in fields
    }
    bare = {field.name for field in fields if field.default is dataclasses.MISSING}
    absent = {name for name in bare if isinstance(None, hints[name])}
    return _Plan(types, frozenset(bare - absent), dict.fromkeys(absent))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


_PLANS = {kind: _plan(kind) for kind in MEASUREMENT_OF}


def columns_of(kind: type[Any]) -> list[str]:
    """The fields that make up a row of this kind, beside its time."""
    return list(_PLANS[kind].types)


def row_of(kind: type[R], time_ns: int, values: Mapping[str, Any]) -> R | None:
    """A row from what a database gave back; None where a field is missing that every such result has.

    A database may say 1 for 1.0 and for true: the types are those of the contract.
    """
    types, required, absent = _PLANS[kind]
    found = {name: type_(value) for name, type_ in types.items() if (value := values.get(name)) is not None}
    return kind(**{**absent, "at": when(time_ns), **found}) if required <= found.keys() else None


def rows_of(kind: type[R], found: Iterable[tuple[int, Mapping[str, Any]]]) -> list[R]:
    """Rows in the order of `found`: pairs of time and values."""
    return [row for time_ns, values in found if (row := row_of(kind, time_ns, values)) is not None]


def own_point(measurement: str, tags: Mapping[str, str], time_ns: int, values: Mapping[str, Any]) -> Point:
    """A point of the collector's own from what a database gave back: empty tags and absent fields are left out."""
    schema = SCHEMAS[measurement]
    fields = {name: kind(value) for name, kind in schema.items() if (value := values.get(name)) is not None}
    return Point(measurement, {tag: text for tag, text in tags.items() if text}, fields, time_ns)


class Typed(NamedTuple):
    """A point as it was given, and its fields as the contract types them."""

    point: Point
    fields: dict[str, Value]


def typed(points: Iterable[Point]) -> tuple[list[Typed], list[Rejection]]:
    """The points that may be written, and those that break the contract."""
    good: list[Typed] = []
    bad: list[Rejection] = []
    for point in points:
        try:
            good.append(Typed(point, _fields(point)))
        except _BadField as error:
            bad.append(rejection(point, str(error)))
    return good, bad


def rejection(point: Point, reason: str) -> Rejection:
    """With a reason that fits into an ack: one line, of limited length."""
    return Rejection(point, _CONTROL.sub(" ", reason)[:_REASON_LETTERS])


def _fields(point: Point) -> dict[str, Value]:
    schema = SCHEMAS.get(point.measurement)
    if schema is None:
        raise _BadField(f"no measurement is called {point.measurement!r}")
    if not point.fields or any(name in schema and name not in point.fields for name in ("spool", "seq")):
        raise _BadField("a point without fields, or a result without spool and seq")
    if not 0 <= point.time_ns <= _LARGEST:
        raise _BadField(f"a time outside 1970 to 2262: {point.time_ns} ns")
    for name, text in point.tags.items():
        _check_text(name, text)
    for name in point.fields:
        if name not in schema:
            raise _BadField(f"{point.measurement} has no field {name!r}")
    return {name: _coerced(name, schema[name], value) for name, value in point.fields.items()}


def _coerced(name: str, kind: Kind, value: Value) -> Value:
    if kind is str and isinstance(value, str):
        return _check_text(name, value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _BadField(f"{name} is {value}, not a number")
        number = kind(value)
        if number != value or abs(number) > _LARGEST:
            raise _BadField(f"{name} is {value}, which is not a number of type {kind.__name__}")
        return number
    raise _BadField(f"{name} is {value!r}, not of type {kind.__name__}")


def _check_text(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _BadField(f"{name} is not Unicode text: {text!r}") from error
    return text
