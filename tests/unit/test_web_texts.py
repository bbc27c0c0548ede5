"""Every sentence of the page exists in Vietnamese, and numbers and times are written as Vietnamese write them."""

import ast
import dataclasses
import datetime as dt
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from collector.alerts import remediation
from collector.alerts.conditions import CONDITIONS
from collector.texts import texts, words
from collector.texts.texts import CATALOGUE, Texts, vietnamese
from collector.web import overview, pages
from collector.web.pages import TEMPLATES, environment

SPEAKING = (
    Path(words.__file__),
    Path(texts.__file__),
    *Path(pages.__file__).parent.glob("*.py"),
    *Path(remediation.__file__).parent.rglob("*.py"),
)
VI, EN = Texts("vi"), Texts("en")


def ids_of_templates() -> set[str]:
    found = set()
    for file in TEMPLATES.glob("*.html"):
        for call in environment.parse(file.read_text(encoding="utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in ("_", "n_"):
                assert isinstance(call.args[0], nodes.Const), f"{file.name}: a sentence that is no constant"
                found.add(call.args[0].value)
    return found


def ids_of_code() -> set[str]:
    """Constants given to `t.text` and `t.plural`; words kept in tables are added by name."""
    found = {*words.FLAGS.values(), *words.ERRORS.values(), *remediation.OF_FLAGS.values()}
    for file in SPEAKING:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("text", "plural")
            ):
                for argument in call.args[:1]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        found.add(argument.value)
    for condition in CONDITIONS:
        parts = (condition.texts, condition.grafana)
        values = (getattr(part, field.name) for part in parts for field in dataclasses.fields(part))
        found |= {value for value in values if isinstance(value, str) and value != condition.grafana.wait}
    return found | {*overview.COUNT_TEXTS.values()}


def test_every_sentence_has_a_vietnamese_translation_and_none_is_left_over() -> None:
    used = ids_of_templates() | ids_of_code()
    assert len(used) > 80
    assert sorted(used - vietnamese().keys()) == []
    assert sorted(vietnamese().keys() - used) == []


def test_a_translation_has_the_placeholders_of_its_original() -> None:
    with CATALOGUE.open("rb") as file:
        for message in read_po(file, locale="vi"):
            if not message.id:
                continue
            original = message.id if isinstance(message.id, str) else message.id[1]
            text = str(message.string if isinstance(message.string, str) else next(iter(message.string or ())))
            assert set(re.findall(r"{\w+}", original)) == set(re.findall(r"{\w+}", text)), original
            assert not message.fuzzy


@pytest.mark.parametrize(
    ("value", "target", "vi", "en"),
    [
        (1234.56, None, "1.234,6", "1,234.6"),
        (169.8, 150, "169,8", "169.8"),
        (69.97, 70, "69,97", "69.97"),
        (149.95, 150, "149,9", "149.9"),
        (70.0, 70, "70,0", "70.0"),
        (69.9999999, 70, "70,0000", "70.0000"),
        (0.0, 70, "0,0", "0.0"),
    ],
)
def test_a_speed_is_never_rounded_across_its_target(value: float, target: float | None, vi: str, en: str) -> None:
    assert VI.mbps(value, target) == vi
    assert EN.mbps(value, target) == en


@given(st.floats(0, 2000), st.sampled_from([70.0, 150.0, 37.5]))
def test_what_is_read_is_on_the_same_side_of_the_target_as_what_was_measured(value: float, target: float) -> None:
    read = float(EN.mbps(value, target).replace(",", ""))
    assert (read < target) == (value < target) or abs(value - target) < 1e-4


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.6, "60%"), (0.998, "99,8%"), (1.0, "100%"), (1.129, "113%"), (0.0, "0%")]
)
def test_a_share_is_never_rounded_across_one_hundred(ratio: float, text: str) -> None:
    assert VI.percent(ratio) == text


@pytest.mark.parametrize(
    ("seconds", "vi", "en"),
    [
        (4, "4 giây", "4 s"),
        (119, "119 giây", "119 s"),
        (600, "10 phút", "10 min"),
        (7300, "2 giờ", "2 h"),
        (86_400, "24 giờ", "24 h"),
        (30 * 86_400, "30 ngày", "30 days"),
    ],
)
def test_a_length_of_time_has_its_unit(seconds: float, vi: str, en: str) -> None:
    assert VI.span(seconds) == vi
    assert EN.span(seconds) == en


def test_times_are_those_of_viet_nam() -> None:
    when = dt.datetime(2026, 11, 22, 17, 4, 11, tzinfo=dt.UTC)
    assert VI.moment(when) == "00:04:11 23/11/2026"
    assert EN.moment(when) == "23 Nov 2026 00:04:11"
    assert VI.tick(dt.datetime(2026, 11, 22, 17, tzinfo=dt.UTC), 3600) == "23/11"


def test_english_has_a_singular() -> None:
    assert EN.plural("{n} test", "{n} tests", 1) == "1 test"
    assert EN.plural("{n} test", "{n} tests", 1200) == "1,200 tests"
    assert VI.plural("{n} test", "{n} tests", 1) == "1 phép đo"


def test_an_unknown_word_of_a_newer_unit_is_shown_as_it_is() -> None:
    assert words.remarks(EN, ("new_flag",), "new_error") == ["failed: new_error", "new_flag"]
