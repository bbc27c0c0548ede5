"""A measured field is declared once: whoever lists fields has it, or is named here for forgetting it."""

import ast
import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct, structs
from msgspec import inspect as mi

from collector.store.points import ENVELOPE, SCHEMAS, tags_in, time_ns
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, SpeedRow, StoredRow
from collector.store.rows import MEASUREMENT_OF, columns_of, row_of
from collector.texts.texts import Texts
from collector.web import figures, openapi, views
from grafana.files import DASHBOARDS, dashboard
from tests.support.filled import filled
from tests.support.packages import files_of
from xomnet.contract.fields import UNITS
from xomnet.contract.flat_fields import FlatField, declared_fields, flat_fields, flat_values
from xomnet.contract.messages import KIND_OF, Data, Interface, Latency, Speed

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DATA = tuple(KIND_OF)
ROWS: tuple[type[StoredRow], ...] = (SpeedRow, LatencyRow, OutageRow, HealthRow, EventRow)
VIEWS: dict[type[StoredRow], type[views.StoredView]] = {
    SpeedRow: views.SpeedView,
    LatencyRow: views.LatencyView,
    OutageRow: views.OutageView,
    HealthRow: views.HealthView,
    EventRow: views.EventView,
}
BY_NUMBER = {"spool", "seq"}
"""What names a result; `Store.numbers` finds results by it."""

NOT_FILLED: dict[type[Struct], set[str]] = {Latency: {"flags"}}
"""Fields of version 1 of the contract for which the unit has no value so far."""

NUMBERS_WITHOUT_UNIT = {
    "load1",
    *("streams", "reordered_packets", "sent", "received", "failed_probes", "spool_depth", "throttled", "overrides"),
    *("first_seq", "last_seq", "count", "rx_errors", "tx_errors"),
}

each_kind = pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)


def structures(data: type[Struct]) -> Iterator[type[Struct]]:
    """A kind of result, and those of which it holds a list."""
    yield data
    for field in flat_fields(data):
        if isinstance(field.kind, mi.VarTupleType) and isinstance(field.kind.item_type, mi.StructType):
            yield from structures(field.kind.item_type.cls)


def names(data: type[Struct]) -> list[str]:
    return [field.name for field in flat_fields(data)]


@each_kind
def test_every_field_is_declared_with_a_label_of_its_own_in_both_languages(data: type[Data]) -> None:
    for structure in structures(data):
        assert not [field.name for field in flat_fields(structure) if field.declared is None]
        labels = [(declared.en, declared.vi) for _, declared in declared_fields(structure)]
        for language in zip(*labels, strict=True):
            assert len(set(language)) == len(labels)
            assert all(label.strip() == label != "" for label in language)


@each_kind
def test_every_number_has_its_unit_in_its_name(data: type[Data]) -> None:
    def is_number(field: FlatField) -> bool:
        kind = field.kind.item_type if isinstance(field.kind, mi.VarTupleType) else field.kind
        return isinstance(kind, mi.FloatType | mi.IntType)

    fields = [field for structure in structures(data) for field in flat_fields(structure) if is_number(field)]
    assert {field.name for field in fields if field.unit is None} <= NUMBERS_WITHOUT_UNIT


def test_the_kinds_that_hold_a_list_of_structures_are_looked_into() -> None:
    assert {one for data in DATA for one in structures(data)} == {*DATA, Interface}
    units = {field.name: field.unit for field, _ in declared_fields(Speed)}
    assert units["series_mbps"] == UNITS["mbps"]


def filled_in(tree: ast.Module, structure: str) -> Iterator[str]:
    """The fields that a module gives to a structure that it makes, or that a function which returns one replaces."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name == structure:
                yield from given(node, tree)
            case ast.FunctionDef(returns=ast.Name(id=name)) if name == structure:
                for one in ast.walk(node):
                    if isinstance(one, ast.Call) and ast.unparse(one.func) == "replace":
                        yield from given(one, tree)


def given(call: ast.Call, tree: ast.Module) -> Iterator[str]:
    """The names of its arguments; where it takes a mapping, every text of the module."""
    for argument in call.keywords:
        if argument.arg is not None:
            yield argument.arg
        else:
            yield from (str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))


def owners(data: type[Struct]) -> set[type[Struct]]:
    """A kind of result, and each structure within it."""
    return {field.owner for structure in structures(data) for field in flat_fields(structure)}


@each_kind
def test_the_unit_fills_every_field(data: type[Data]) -> None:
    trees = [ast.parse(file.read_bytes()) for file in files_of(["agent"])]
    for owner in owners(data):
        filled_by_unit = {field for tree in trees for field in filled_in(tree, owner.__name__)}
        assert {*owner.__struct_fields__} - filled_by_unit == NOT_FILLED.get(owner, set()), owner


@each_kind
def test_every_field_has_a_column_in_the_database(data: type[Data]) -> None:
    assert list(SCHEMAS[KIND_OF[data]]) == [*names(data), *ENVELOPE]


@each_row
def test_every_stored_field_is_read(row: type[StoredRow]) -> None:
    stored = SCHEMAS[MEASUREMENT_OF[row]].keys()
    assert stored - BY_NUMBER == {*columns_of(row)} - BY_NUMBER


@each_row
def test_raw_material_is_left_out_where_it_is_not_asked_for_and_nothing_needs_it(row: type[StoredRow]) -> None:
    raw = {field.name for field in flat_fields(row) if field.is_raw}
    assert {*columns_of(row)} - {*columns_of(row, raw=False)} == raw
    assert all(field.is_list or not field.is_required for field in flat_fields(row) if field.is_raw)


@each_row
def test_a_row_holds_what_the_database_gave(row: type[StoredRow]) -> None:
    whole = structs.replace(whole_row(row), excluded=None)  # not stored: an exclusion may come later
    cells = {name: as_stored(value) for name, value in flat_values(whole) if name != "at"}
    assert row_of(row, time_ns(AT), cells) == whole
    assert cells.keys() == {*columns_of(row)}


@each_row
def test_rest_and_csv_carry_every_field(row: type[StoredRow]) -> None:
    view = VIEWS[row]
    declared = {field.name for field, _ in declared_fields(row)}
    assert declared <= {*view.__struct_fields__}, "the header of the CSV is this list"
    schema = openapi.document()["components"]["schemas"][view.__name__]["properties"]
    assert declared <= schema.keys()
    assert not [name for name in declared - {"flags"} if not schema[name].get("description")]


@each_row
@pytest.mark.parametrize("language", ["vi", "en"])
def test_all_figures_of_a_result_are_all_of_its_fields(row: type[StoredRow], language: Any) -> None:
    t, whole = Texts(language), whole_row(row)
    shown = dict(figures.figures(whole, t))
    assert list(shown) == [t.label(declared) for _, declared in declared_fields(row)]
    for field, declared in declared_fields(row):
        unit = {None: "", "bytes": "MB"}.get(field.unit, field.unit)
        assert shown[t.label(declared)].strip().endswith(str(unit))
    lists = [field for field, _ in declared_fields(row) if field.name.startswith("series_")]
    assert len(figures.charts(whole, t)) == len(lists)


def test_the_table_of_recent_tests_has_the_columns_of_the_declaration() -> None:
    t, declared = Texts("vi"), [(f.name, d) for f, d in declared_fields(Speed) if d.shown == "column"]
    columns = figures.columns(t)
    assert [(name, heading) for name, heading, _ in columns] == [(name, t.label(one)) for name, one in declared]
    assert "down_mbps" in dict(declared), "the page sets its figure in bold"
    row = whole_row(SpeedRow)
    assert isinstance(row, SpeedRow)
    assert len(figures.cells(row, t)) == len(columns)


@pytest.mark.parametrize("key", sorted(DASHBOARDS))
def test_grafana_asks_for_fields_that_exist(key: str) -> None:
    asked = 0
    for query in queries(dashboard(key, "en")):
        measurements = {name for name in re.findall(r'FROM "(\w+)"', query) if name in SCHEMAS}
        known = {name for one in measurements for name in (one, *SCHEMAS[one], *tags_in(one))}
        known |= {*re.findall(r'AS "(\w+)"', query)}
        used = {*re.findall(r'"(\w+)"', query)}
        assert used <= known, query
        asked += len(measurements)
    assert asked > 5


def queries(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "query" and isinstance(one, str) and one.startswith(("SELECT", "SHOW")):
                yield one
            else:
                yield from queries(one)
    elif isinstance(value, list):
        for one in value:
            yield from queries(one)


def whole_row(row: type[StoredRow]) -> StoredRow:
    return structs.replace(filled(row), at=AT)


def as_stored(value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(value) if isinstance(value[0], str) else json.dumps(plain(value))
    return value


def plain(value: Any) -> Any:
    return [structs.asdict(one) if isinstance(one, Struct) else one for one in value]
