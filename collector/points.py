"""From a result and its registry row to a database point: the one place that fixes measurement, tags, fields, time."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as mi

from xomnet.messages import RESULT_TYPES, HealthResult, Result
from xomnet.registry import LineRow
from xomnet.states import STATES

Value = float | int | bool | str
Kind = type[float] | type[int] | type[bool] | type[str]

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


SCHEMAS: dict[str, dict[str, Kind]] = {str(_struct(kind).tag): _fields(kind) for kind in RESULT_TYPES}
"""Measurement -> field -> type, for every kind of result."""

SCHEMAS["line_state"] = {
    "state": str,
    "median_mbps": float,
    "low_mbps": float,
    "high_mbps": float,
    "now_mbps": float,
    "samples": int,
    "target_mbps": float,
    "ratio": float,
    "age_s": float,
    "lat": float,
    "lon": float,
    "state_code": int,  # the place of the state in xomnet.states.STATES: 0 is the worst
    "since_s": float,  # for how long the line has been in this state
    "failed": int,  # tests of the window that failed
    "rtt_ms": float,  # of the last hour: median of the probes' medians
    "loss_percent": float,  # of the last hour: lost of sent
    "latency_bad": int,  # 1 or 0: over the limit of the settings
    "loss_bad": int,
    "maintenance": int,  # 1 while a person has said that the line is worked on
    "acknowledged": int,  # 1 where a person has taken the present trouble on
}

_PLACE_STATE: dict[str, Kind] = {"lines": int, **dict.fromkeys(STATES, int), "share": float, "ratio": float}
SCHEMAS["place_state"] = _PLACE_STATE
"""Each minute, for the province and each area, ISP (PLACE_TAGS): lines by state; `share` meeting of
those that are judged (meeting or short); `ratio` the median of theirs."""

SCHEMAS["unit_state"] = {
    "online": int,
    "unhealthy": int,
    "problem": str,  # the first of what is wrong, a word; absent where nothing is
    "version": str,
    "age_s": float,  # of the last health
    "temp_c": float,
    "throttled": int,
    "clock_synced": int,
    "disk_free_bytes": int,
    "spool_depth": int,
    "completeness": float,
    "lat": float,
    "lon": float,
}
"""Each minute, for every registered unit."""

SCHEMAS["collector_state"] = {"up": int, "lines": int, "units": int, "units_online": int}
"""Each minute: while it is written, somebody judges."""

_ROLLED: dict[str, Kind] = {
    "tests": int,
    "counted": int,
    "failed": int,
    "median_mbps": float,
    "mean_mbps": float,
    "p5_mbps": float,
    "p95_mbps": float,
    "target_mbps": float,
    "ratio": float,
    "bytes": int,
    "rtt_ms": float,
    "rtt_p95_ms": float,
    "rtt_loaded_ms": float,
    "jitter_ms": float,
    "loss_percent": float,
    "probes": int,
    "outages": int,
    "outage_s": float,
}
SCHEMAS["line_hour"] = SCHEMAS["line_day"] = _ROLLED
"""What a line gave in an hour or a day of the province's time, at its beginning."""

_PLACE_ROLLED: dict[str, Kind] = {**_ROLLED, "lines": int, "measured": int, "meeting": int, "share": float}
SCHEMAS["place_hour"] = SCHEMAS["place_day"] = _PLACE_ROLLED
"""The same of a place and access: figures are medians over its lines, counts are sums; `meeting` lines have a median at
or above their target, `share` is of those measured."""

_MONTH: dict[str, Kind] = {
    "verdict": str,
    "verdict_code": int,  # the place in collector.verdict.VERDICTS: 0 is the worst
    "samples": int,
    "days": int,
    "peak_samples": int,
    "failed": int,
    "excluded": int,
    "expected": int,
    "median_mbps": float,
    "low_mbps": float,
    "high_mbps": float,
    "mean_mbps": float,
    "p5_mbps": float,
    "p95_mbps": float,
    "consistency": float,
    "target_mbps": float,
    "ratio": float,
}
SCHEMAS["line_month"] = _MONTH
"""The verdict of a line's month, at its beginning; of the present month as it would be now."""

SCHEMAS["place_month"] = {
    **{name: int for name in ("lines", "met", "not_met", "not_certain", "unmeasured")},
    "share": float,
    "ratio": float,
}
"""The verdicts of a place and access: how many lines of each; `share` met of met and not met."""


SCHEMAS["completeness"] = {
    "expected": int,
    "stored": int,
    "rejected": int,
    "evicted": int,
    "missing": int,
    "ratio": float,
}

RESULTS: tuple[str, ...] = tuple(name for name, fields in SCHEMAS.items() if "spool" in fields)
"""The measurements that hold what units sent; the others are the collector's own."""


COUNTED = ("speed", "latency", "outage")
"""What the roll-ups are made of."""

ROLLED = tuple(f"{of}_{time}" for of in ("line", "place") for time in ("hour", "day", "month"))
"""Figures of a time that has passed, or passes: kept for years."""

EVERY_MINUTE = ("line_state", "place_state", "unit_state", "collector_state")
"""What is of the moment only; the roll-ups are for years."""


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
