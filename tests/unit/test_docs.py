"""The guides name everything that a reader may meet: settings with their defaults, flags, codes, figures, paths."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect as mi

from agent.measure import download
from agent.net import sockets
from agent.settings import AgentSettings
from collector.metrics import Metrics
from collector.settings import CollectorSettings
from collector.store.row_types import EventRow, LatencyRow, OutageRow, SpeedRow
from collector.texts import words
from collector.web import openapi, views
from xomnet.contract.flat_fields import declared_fields
from xomnet.contract.messages import FLAGS
from xomnet.contract.remote_settings import CHANGEABLE
from xomnet.registry.registry import COLUMNS
from xomnet.states import LOOKS, STATES

ROOT = Path(__file__).parents[2]
LANGUAGES = ("vi", "en")
MAX_LINES = 260


def guide(name: str, language: str) -> str:
    return (ROOT / f"docs/{name}.{language}.md").read_text(encoding="utf-8")


def of_operator(language: str) -> str:
    """The operator's guide, and those of the alerts and of delivery, each of which is a sitting of its own."""
    return guide("operator", language) + guide("alerts", language) + guide("delivery", language)


def keys(type_: mi.Type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each key that a file may have, dotted, with its default; `[]` stands for a list's items."""
    if isinstance(type_, mi.UnionType):
        for one in type_.types:
            yield from keys(one, prefix)
    elif isinstance(type_, mi.VarTupleType):
        yield from keys(type_.item_type, prefix + "[]")
    elif isinstance(type_, mi.StructType):
        if type_.tag_field:
            yield f"{prefix}.{type_.tag_field}".lstrip("."), msgspec.NODEFAULT
        for field in type_.fields:
            key = f"{prefix}.{field.encode_name}".lstrip(".")
            inner = list(keys(field.type, key))
            yield from inner or [(key, field.default)]


def row(text: str, key: str) -> str:
    """The table's row of a key."""
    return next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), "")


def codes(*files: str, named: tuple[str, ...], argument: int = 0) -> set[str]:
    """An argument, the first by default, where it is constant, of the calls so named: what the code may say."""
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in named and len(node.args) > argument:
                match node.args[argument]:
                    case ast.Constant(value=str(code)):
                        found.add(code)
                    case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                        found.add(start + "404")
            for word in node.keywords:
                if word.arg == "error" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str):
                    found.add(word.value.value)
    return found


AGENT_FILES = tuple(str(file.relative_to(ROOT)) for file in (ROOT / "agent").rglob("*.py"))
ERRORS = codes(*AGENT_FILES, named=("MeasurementError",)) | {
    *sockets._CODES.values(),
    *download.LINE_ERRORS,
    *words.ERRORS,
}
REJECTIONS = codes("collector/ingest/validate.py", "collector/ingest/intake.py", named=("RefusedMessage", "refuse"))
FIGURES = {
    line.split()[2] for line in Metrics().text().decode().splitlines() if line.startswith("# TYPE")
}  # with `_total`, as they are asked for


def shown(default: Any) -> str | None:
    """A default as a guide writes it; None where there is no single word for it."""
    match default:
        case bool():
            return str(default).lower()
        case int() | float():
            return f"`{default:g}`"
        case str():
            return f"`{default}`"
        case _:
            return None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("settings", [AgentSettings, CollectorSettings])
def test_every_key_of_the_settings_has_a_row_with_its_default(settings: type, language: str) -> None:
    text = of_operator(language) + guide("technician", language)
    wrong = []
    for key, default in keys(mi.type_info(settings)):
        default_shown = shown(default)
        if not (found := row(text, key)) or (default_shown is not None and default_shown not in found):
            wrong.append((key, default))
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("name", "words_"),
    [
        ("technician", FLAGS | ERRORS | REJECTIONS),
        ("operator", REJECTIONS | FIGURES | set(COLUMNS) | set(openapi.document()["paths"])),
        ("officer", FLAGS | set(STATES)),
    ],
)
def test_every_word_that_a_reader_may_meet_is_explained(name: str, words_: set[str], language: str) -> None:
    text = of_operator(language) if name == "operator" else guide(name, language)
    assert not sorted(word for word in words_ if f"`{word}`" not in text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_remote_settings_are_named_with_what_may_come_of_them(language: str) -> None:
    text = guide("deploy", language)
    events = codes("agent/control/config_trial.py", "agent/control/remote_config.py", named=("add_note",), argument=1)
    refusals = codes("agent/control/remote_config.py", named=("RequestRefused",))
    assert {"settings_rolled_back", "settings_reset"} <= events
    assert not sorted(word for word in {*CHANGEABLE, *events, *refusals} if f"`{word}`" not in text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("view", [views.SpeedView, views.LatencyView, views.OutageView, views.EventView])
def test_every_column_of_a_csv_has_a_row_in_the_order_of_the_file(view: type[msgspec.Struct], language: str) -> None:
    """One table for each kind of results: `error` and `at` are columns of both."""
    rows = " ".join(re.findall(r"^\| `(\w+)` \|", guide("officer", language), re.MULTILINE))
    assert " ".join(view.__struct_fields__) in rows


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [SpeedRow, LatencyRow, OutageRow, EventRow])
def test_a_column_of_a_csv_has_the_unit_of_its_field(kind: type[msgspec.Struct], language: str) -> None:
    text = guide("officer", language)
    units = {field.name: field.unit for field, _ in declared_fields(kind) if field.unit is not None}
    assert units.pop(views.RECEIVED_MS) == "ms"  # said as a time
    shown = {name: row(text, name).split("|")[2].strip() for name in units}
    written = {"s": "giây", "bytes": "byte"} if language == "vi" else {}
    assert not [name for name, unit in units.items() if not shown[name].endswith(written.get(unit, unit))]


def test_the_codes_are_found_in_the_code() -> None:
    assert {"stalled", "http_404", "budget", "interface_missing", "dns_failure"} <= ERRORS
    assert {"unknown_agent", "unknown_line", "store", "oversize"} <= REJECTIONS
    assert {"xomnet_results_stored_total", "xomnet_lines"} <= FIGURES


@pytest.mark.parametrize("name", ["technician", "operator", "officer"])
def test_a_state_is_called_as_on_the_page(name: str) -> None:
    assert not [look.vi for look in LOOKS.values() if look.vi not in guide(name, "vi")]
    assert not [look.en for look in LOOKS.values() if look.en not in guide(name, "en")]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["technician", "operator", "officer", "alerts"])
def test_a_guide_is_not_longer_than_a_sitting(name: str, language: str) -> None:
    assert len(guide(name, language).splitlines()) <= MAX_LINES
