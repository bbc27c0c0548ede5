"""Between points and rows, the same for every store: what may be written, and what a reader gets back."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec import DecodeError, Struct, json
from msgspec import inspect as mi

from collector.store.derived_schemas import Kind
from collector.store.points import EPOCH, SCHEMAS, Point, Rejection, Value, when
from collector.store.row_types import NOT_STORED, Download, EventRow, HealthRow, LatencyRow, OutageRow, Sample, SpeedRow
from xomnet.contract.flat_fields import FlatField, flat_fields

R = TypeVar("R", bound=Struct)

MEASUREMENT_OF: dict[type[Struct], str] = {
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

    read: Mapping[str, Callable[[Any], Any]]
    """Column -> how its value is made of what the database gave."""
    required: frozenset[str]
    absent: Mapping[str, Any]
    """What has no default and may be missing all the same: figures of a failed test, empty lists."""
    within: Mapping[str, tuple[type[Struct], Mapping[str, str]]]
    """Attribute -> the structure that it holds, and its attributes by their columns."""
    raw: frozenset[str]


def _plan(kind: type[Struct]) -> _Plan:
    schema = SCHEMAS[MEASUREMENT_OF[kind]]
    fields = [field for field in flat_fields(kind) if field.name not in NOT_STORED]
    own = [field for field in fields if field.is_required and field.owner is kind]
    absent = {field.name: () if field.is_list else None for field in own if field.is_list or field.may_be_none}
    within: dict[str, tuple[type[Struct], dict[str, str]]] = {}
    for field in fields:
        if field.owner is not kind:
            attribute, inner = field.path
            within.setdefault(attribute, (field.owner, {}))[1][field.name] = inner
    return _Plan(
        read={field.name: _reader(field, schema[field.name]) for field in fields},
        required=frozenset(field.name for field in own) - absent.keys(),
        absent=absent,
        within=within,
        raw=frozenset(field.name for field in fields if field.is_raw),
    )


def _reader(field: FlatField, kind: Kind) -> Callable[[Any], Any]:
    """Lists are stored as text: words with commas between them, anything else as JSON. A database may say 1 for 1.0 and
    for true: the types are those of the contract.
    """
    if not isinstance(field.kind, mi.VarTupleType):
        return kind
    if isinstance(field.kind.item_type, mi.StrType):
        return _words
    return partial(_items, type_=field.type)


def _items(text: str, type_: Any) -> Any:
    """Of a list of anything else; empty if an earlier version stored what the contract refuses now."""
    try:
        return json.decode(text, type=type_)
    except DecodeError:
        return ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


_PLANS = {kind: _plan(kind) for kind in MEASUREMENT_OF}


def columns_of(kind: type[Struct], raw: bool = True) -> list[str]:
    """The fields that make up a row of this kind, beside its time; raw material only where it is asked for."""
    plan = _PLANS[kind]
    return [name for name in plan.read if raw or name not in plan.raw]


def row_of(kind: type[R], time_ns: int, values: Mapping[str, Any]) -> R | None:
    """A row from what a database gave back; None where a field is missing that every such result has."""
    plan = _PLANS[kind]
    found = {name: read(value) for name, read in plan.read.items() if (value := values.get(name)) is not None}
    if not plan.required <= found.keys():
        return None
    for attribute, (structure, names) in plan.within.items():
        if parts := {inner: found.pop(name) for name, inner in names.items() if name in found}:
            found[attribute] = structure(**parts)
    return kind(**{**plan.absent, "at": when(time_ns), **found})


def rows_of(kind: type[R], columns: Sequence[str], found: Iterable[Sequence[Any]]) -> list[R]:
    """Rows in the order of `found`: time and values of these columns."""
    if issubclass(kind, Sample):
        return _samples_of(kind, columns, found)
    rows = (row_of(kind, at, dict(zip(columns, cells, strict=True))) for at, *cells in found)
    return [row for row in rows if row is not None]


def _samples_of(kind: type[R], columns: Sequence[str], found: Iterable[Sequence[Any]]) -> list[R]:
    """The same of what is read by the ten thousand, in half the time: none of its fields is required."""
    plan = _PLANS[kind]
    at, *names = kind.__struct_fields__
    empty = kind(**{**plan.absent, at: EPOCH})
    reads = [
        (0, _nothing, None) if name in NOT_STORED else (1 + columns.index(name), plan.read[name], getattr(empty, name))
        for name in names
    ]
    return [
        kind(when(row[0]), *[read(row[n]) if row[n] is not None else absent for n, read, absent in reads])
        for row in found
    ]


def _nothing(_: Any) -> None:
    return None


def own_point(measurement: str, tags: Mapping[str, str], time_ns: int, values: Mapping[str, Any]) -> Point:
    """A point of the collector's own from what a database gave back: empty tags and absent fields are left out."""
    schema = SCHEMAS[measurement]
    fields = {name: kind(value) for name, kind in schema.items() if (value := values.get(name)) is not None}
    return Point(measurement, {tag: text for tag, text in tags.items() if text}, fields, time_ns)


class TypedPoint(NamedTuple):
    """A point as it was given, and its fields as the contract types them."""

    point: Point
    fields: dict[str, Value]


def check_points(points: Iterable[Point]) -> tuple[list[TypedPoint], list[Rejection]]:
    """The points that may be written, and those that break the contract."""
    good: list[TypedPoint] = []
    bad: list[Rejection] = []
    for point in points:
        try:
            good.append(TypedPoint(point, _fields(point)))
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
    fields = point.fields
    if not fields or ("spool" in schema and not ("spool" in fields and "seq" in fields)):
        raise _BadField("a point without fields, or a result without spool and seq")
    if not 0 <= point.time_ns <= _LARGEST:
        raise _BadField(f"a time outside 1970 to 2262: {point.time_ns} ns")
    for name, text in point.tags.items():
        _check_text(name, text)
    if unknown := fields.keys() - schema.keys():
        raise _BadField(f"{point.measurement} has no field {min(unknown)!r}")
    return {name: _coerce(name, schema[name], value) for name, value in fields.items()}


def _coerce(name: str, kind: Kind, value: Value) -> Value:
    if type(value) is kind and not isinstance(value, str) and -_LARGEST <= value <= _LARGEST:  # nearly every one
        return value
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
