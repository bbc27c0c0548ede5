"""What a person reads of one stored result: every declared field with its label and its unit. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from msgspec import Struct, structs

from collector.store.points import received_at
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, SpeedRow
from collector.svg import element, path, picture
from collector.texts.texts import MINUTE, Texts
from collector.texts.words import exclusion_word
from collector.web.charts import reduce_points
from xomnet.contract.flat_fields import FlatField, declared_fields, flat_values
from xomnet.contract.messages import Speed

COLUMNS = [(field, declared) for field, declared in declared_fields(Speed) if declared.shown == "column"]
"""Of the table of recent tests."""

BITS = frozenset({"throttled"})
"""Fields whose bits have a meaning each: written as `vcgencmd` writes them."""

SOON = dt.timedelta(minutes=2)
"""A result that comes so soon after its test needs no word about it."""

SERIES_POINTS, SERIES_HEIGHT = 120, 100.0


@dataclass(frozen=True, slots=True)
class ResultFigures:
    """All figures of a result; `name` is its place on the page."""

    name: str
    title: str
    figures: list[tuple[str, str]]
    charts: list[Markup]
    open: bool = False


def figures_of_test(row: SpeedRow, chosen: bool, t: Texts) -> ResultFigures:
    title = t.text("All figures of the test at {moment}", moment=t.second(row.at))
    return ResultFigures("test", title, figures(row, t), charts(row, t), chosen)


def figures_of_latency(row: LatencyRow, t: Texts) -> ResultFigures:
    title = t.text("All figures of the latency measured at {moment}", moment=t.second(row.at))
    return ResultFigures("latency", title, figures(row, t), charts(row, t))


def figures_of_outage(row: OutageRow, t: Texts) -> ResultFigures:
    title = t.text("All figures of the outage from {moment}", moment=t.second(row.at))
    return ResultFigures("outage", title, figures(row, t), charts(row, t))


def figures_of_unit(agent: str, row: HealthRow, t: Texts) -> ResultFigures:
    title = t.text("Unit {agent} at {moment}", agent=agent, moment=t.second(row.at))
    return ResultFigures("unit", title, figures(row, t), charts(row, t))


def figures_of_event(row: EventRow, t: Texts) -> str:
    """All of an event in a line; its receipt only where it is not counted."""
    shown = row if row.excluded is not None else structs.replace(row, received_ms=None)
    return "; ".join(f"{label}: {text}" for label, text in figures(shown, t))


def figures(row: Struct, t: Texts) -> list[tuple[str, str]]:
    """Label and text of each declared field that the result has, in the order of the declaration."""
    values = dict(flat_values(row))
    if (received := values.get("received_ms")) is not None:
        values["received_ms"] = _receipt(received, values["at"], t)
    if (reason := values.get("excluded")) is not None:
        values["excluded"] = exclusion_word(reason, t)
    return [
        (t.label(declared), _text(field, values[field.name], t))
        for field, declared in declared_fields(type(row))
        if field.name in values
    ]


def received_after(received_ms: int, at: dt.datetime) -> dt.timedelta:
    """How long after it was measured a result came."""
    return received_at(received_ms) - at


def _receipt(received_ms: int, at: dt.datetime, t: Texts) -> str:
    moment, after = t.moment(received_at(received_ms)), received_after(received_ms, at)
    if after < SOON:
        return moment
    return t.text("{moment} ({span} after it was measured)", moment=moment, span=t.span(after.total_seconds()))


def columns(t: Texts) -> list[tuple[str, str, str]]:
    """Name, heading and unit of each column of the table of recent tests."""
    return [(field.name, t.label(declared), _unit(field)) for field, declared in COLUMNS]


def cells(row: SpeedRow, t: Texts) -> list[str | None]:
    """The texts of a test in these columns; None where it has none."""
    values = dict(flat_values(row))
    return [_cell(field, values.get(field.name), t) for field, _ in COLUMNS]


def charts(row: Struct, t: Texts) -> list[Markup]:
    """A curve of each series of figures in a result, fluid in width."""
    values = dict(flat_values(row))
    return [
        _curve(values[field.name], t.label(declared))
        for field, declared in declared_fields(type(row))
        if field.name in values and _is_series(values[field.name])
    ]


def _is_series(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], float)


def _curve(values: Sequence[float], label: str) -> Markup:
    top = max(*values, 1e-9)
    points = reduce_points([(float(i), SERIES_HEIGHT * (1 - v / top)) for i, v in enumerate(values)], SERIES_POINTS)
    box = f"0 0 {len(values) - 1} {SERIES_HEIGHT:g}"
    return picture(label, element("path", d=path(points)), class_="series", viewBox=box, preserveAspectRatio="none")


def _cell(field: FlatField, value: Any, t: Texts) -> str | None:
    return None if value is None else _number(field, value, t) if isinstance(value, int | float) else str(value)


def _unit(field: FlatField) -> str:
    return "MB" if field.unit == "bytes" else field.unit or ""


def _unit_suffix(field: FlatField) -> str:
    """The unit as it follows a number."""
    unit = _unit(field)
    return unit if unit in ("", "%") else f" {unit}"


def _number(field: FlatField, value: float, t: Texts) -> str:
    match field.unit:
        case "ms":
            return t.number(value, 1 if value < 10 else 0)
        case "bytes":
            return t.number(value / 1e6)
        case "dBm":
            return t.number(value, 0)
        case None:
            return t.number(value, 0 if isinstance(value, int) else 2)
        case _:
            return t.number(value)


def _text(field: FlatField, value: Any, t: Texts) -> str:
    match value:
        case bool():
            return t.text("yes") if value else t.text("no")
        case int() if field.name in BITS:
            return f"{value:#x}"
        case int() | float() if field.unit == "bytes" and value >= 1e9:
            return f"{t.number(value / 1e9)} GB"
        case int() | float() if field.unit == "s" and value >= 2 * MINUTE:
            return t.span(value)
        case int() | float():
            return _number(field, value, t) + _unit_suffix(field)
        case (float(), *_):
            return f"{_number(field, min(value), t)}–{_number(field, max(value), t)}{_unit_suffix(field)}"
        case (Struct(), *_):
            return "; ".join(", ".join(f"{label} {text}" for label, text in figures(one, t)) for one in value)
        case tuple():
            return ", ".join(value)
        case _:
            return str(value)
