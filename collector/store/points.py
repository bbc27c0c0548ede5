"""From a result and its registry row to a database point: the one place that fixes measurement, tags, fields, time."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as mi

from collector.store.derived_schemas import OWN, Kind
from xomnet.contract.messages import RESULT_TYPES, HealthResult, Result
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


def _kind(type_: mi.Type) -> Kind:
    """The database type of a field: lists are stored as text, everything else as itself."""
    if isinstance(type_, mi.UnionType):
        type_ = next(t for t in type_.types if not isinstance(t, mi.NoneType))
    return {mi.FloatType: float, mi.IntType: int, mi.BoolType: bool}.get(type(type_), str)


def _fields(result: type[Result]) -> dict[str, Kind]:
    data = next(f.type for f in _struct(result).fields if f.name == "data")
    assert isinstance(data, mi.StructType)
    return {**dict(_columns(data)), "spool": str, "seq": int, "clock": str, "at_error_s": float}


def _columns(data: mi.StructType, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """The fields of a structure within it stand on their own, so that a database can compare them: `radio_rsrp_dbm`."""
    for field in data.fields:
        inner = _structure(field.type)
        if inner is None:
            yield prefix + field.encode_name, _kind(field.type)
        else:
            yield from _columns(inner, f"{prefix}{field.encode_name}_")


def _structure(type_: mi.Type) -> mi.StructType | None:
    types = type_.types if isinstance(type_, mi.UnionType) else (type_,)
    return next((one for one in types if isinstance(one, mi.StructType)), None)


def _read(data: msgspec.Struct, kinds: Mapping[str, Kind], into: dict[str, Value], prefix: str = "") -> None:
    """What is not absent, named as in _columns and typed as `kinds` says."""
    for attribute in data.__struct_fields__:
        value = getattr(data, attribute)
        if value is None or value == ():
            continue
        name = prefix + attribute
        if isinstance(value, msgspec.Struct):
            _read(value, kinds, into, f"{name}_")
        else:
            kind = kinds[name]
            into[name] = _text(value) if kind is str else kind(value)


def _struct(kind: type[Result]) -> mi.StructType:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return info


SCHEMAS: dict[str, dict[str, Kind]] = {str(_struct(kind).tag): _fields(kind) for kind in RESULT_TYPES} | OWN
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


def when(time_ns: int) -> dt.datetime:
    """The instant of a point, to the microsecond."""
    return EPOCH + dt.timedelta(microseconds=time_ns // 1000)


def tags_of(row: LineRow, line: str | None) -> dict[str, str]:
    """The tags of a registry row; for a result of the unit itself (`line` None) without those of the line."""
    place = {"agent": row.agent, "hamlet": row.hamlet, "area": row.area}
    return place if line is None else {**place, "line": row.line, "access": row.access, "isp": row.isp}


def point_of(result: Result, row: LineRow) -> Point:
    """The point of a result, with the tags of the row in force when it was measured."""
    measurement = str(result.__struct_config__.tag)
    fields: dict[str, Value] = {"spool": str(result.spool), "seq": result.seq, "clock": result.clock}
    if result.at_error_s is not None:
        fields["at_error_s"] = float(result.at_error_s)
    _read(result.data, SCHEMAS[measurement], fields)
    line = None if isinstance(result, HealthResult) else result.line
    return Point(measurement, tags_of(row, line), fields, time_ns(result.at, result.seq))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return msgspec.json.encode(value).decode()
