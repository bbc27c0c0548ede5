"""Every sentence of the checks and of the unit's page exists in Vietnamese, with the same placeholders."""

import ast
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from agent import check as agent_check
from agent import status as agent_status
from agent import web as agent_web
from collector import check as collector_check
from collector.report import texts as of_report
from collector.texts import texts as of_collector
from xomnet import check
from xomnet.check.finding import Sentence, say
from xomnet.check.outcome import NAME_WIDTHS
from xomnet.check.texts import CATALOGUE, NAMES, CheckTexts, Language, default_language
from xomnet.translations import CatalogueError, translations

SPEAKING = [
    file
    for one in (agent_check, agent_status, agent_web, collector_check, check)
    for file in Path(one.__path__[0]).glob("*.py")
]
IN_TABLES = {"{n} min", "{n} h"}


def ids_of_code() -> set[str]:
    """Constants given to `say` and to `t.text`."""
    found: set[str] = set()
    for file in SPEAKING:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            match call.args[0]:
                case ast.Constant(value=str(english)) if name in {"say", "text"}:
                    found.add(english)
    return found


def test_every_sentence_has_a_vietnamese_translation_and_none_is_left_over() -> None:
    used = ids_of_code() | IN_TABLES | set(NAMES)
    assert len(used) > 200
    known = translations(CATALOGUE).keys()
    assert sorted(used - known) == []
    assert sorted(known - used) == []


def test_a_translation_has_the_placeholders_of_its_original() -> None:
    for english, vietnamese in translations(CATALOGUE).items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", vietnamese)), english


@pytest.mark.parametrize("catalogue", [CATALOGUE, of_collector.CATALOGUE, of_report.CATALOGUE])
def test_a_catalogue_is_read_as_babel_reads_it(catalogue: Path) -> None:
    texts = {}
    with catalogue.open("rb") as file:
        for message in read_po(file, locale="vi"):
            english, text = (one if isinstance(one, str) else (one or ("",))[0] for one in (message.id, message.string))
            if english and text:
                texts[english] = text
    assert translations(catalogue) == texts


def test_a_catalogue_with_quotes_several_lines_and_a_fuzzy_entry(tmp_path: Path) -> None:
    file = tmp_path / "vi.po"
    file.write_text(
        'msgid ""\nmsgstr "Language: vi\\n"\n\n'
        '# seen\nmsgid "a \\"b\\" "\n"c"\nmsgstr ""\n"một "\n"hai"\n\n'
        '#, fuzzy\nmsgid "old"\nmsgstr "cũ"\n\n'
        'msgid "none"\nmsgstr ""\n\n'
        'msgid "{n} day"\nmsgid_plural "{n} days"\nmsgstr[0] "{n} ngày"\n'
    )
    assert translations(file) == {'a "b" c': "một hai", "{n} day": "{n} ngày"}


@pytest.mark.parametrize("text", ['msgid "a" b\nmsgstr "c"\n', 'msgid "a"\nmsgstr "b"\nmsgid "c"\nmsgstr "d"\n'])
def test_a_catalogue_that_is_none_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vi.po"
    file.write_text(text)
    with pytest.raises(CatalogueError, match=r"vi\.po, line [13]: found"):
        translations(file)


@pytest.mark.parametrize(
    ("value", "vi", "en"),
    [(168.4, "168,4", "168.4"), (150.0, "150", "150"), (1234.56, "1.234,6", "1,234.6"), (0, "0", "0")],
)
def test_numbers_are_written_as_the_language_does(value: float, vi: str, en: str) -> None:
    assert CheckTexts("vi").number(value) == vi
    assert CheckTexts("en").number(value) == en


def test_a_text_in_a_value_is_left_as_it_is() -> None:
    odd = say("{where}: {reason}", where="{n}", reason="1,5")
    assert odd == Sentence("{where}: {reason}", {"where": "{n}", "reason": "1,5"})
    assert CheckTexts("vi").sentence(odd) == "{n}: 1,5"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "vi"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "C"}, "vi"),
    ],
)
def test_the_language_is_that_of_the_system(environment: dict[str, str], language: str) -> None:
    assert default_language(environment) == language


@pytest.mark.parametrize("language", ["vi", "en"])
def test_every_name_leaves_a_space_before_what_was_found(language: Language) -> None:
    t = CheckTexts(language)
    assert {name for name in NAMES if len(t.name(name)) >= NAME_WIDTHS[language]} == set()


def test_a_row_is_called_by_our_word_or_by_its_line() -> None:
    assert [CheckTexts("vi").name(name) for name in ("power", "eth0", "server 4g")] == [
        "nguồn điện",
        "eth0",
        "máy chủ đo 4g",
    ]
