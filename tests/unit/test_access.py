"""The access types have one home: their order and their words are the same wherever a person reads them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from collector.report.texts import ReportTexts
from collector.texts.texts import LANGUAGES, Language, Texts
from collector.texts.words import access_word
from grafana.words import words
from tests.support.packages import PACKAGES, ROOT, files_of
from xomnet.access import ACCESSES, word
from xomnet.contract.messages import Access

PROGRAMS = (*PACKAGES, "grafana")
HOMES = {"xomnet/access.py", "xomnet/contract/messages.py"}


def test_every_access_type_has_its_place_and_its_words() -> None:
    assert sorted(ACCESSES) == sorted(get_args(Access))
    assert [word(access, "en") for access in ACCESSES] == ["mobile", "fixed"]
    assert [word(access, "vi") for access in ACCESSES] == ["di động", "cố định"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("access", ACCESSES)
def test_page_report_and_grafana_say_the_same_word(access: Access, language: Language) -> None:
    said = word(access, language)
    assert access_word(Texts(language), access) == ReportTexts(language).access(access) == said.capitalize()
    assert words(language).access(access) == said


def listed(file: Path) -> Iterator[str]:
    """Lists of the access types: a tuple, a set, a dictionary, a Literal, an enumeration."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(keys=parts):
                found = {part.value for part in parts if isinstance(part, ast.Constant)}
            case ast.ClassDef(body=body):
                found = {
                    part.value.value
                    for part in body
                    if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant)
                }
            case _:
                continue
        if set(get_args(Access)) <= found:
            yield ast.unparse(node)


def test_no_other_program_file_lists_the_access_types() -> None:
    found = {str(file.relative_to(ROOT)) for file in files_of(PROGRAMS) if list(listed(file))}
    assert found - {"collector/alerts/digest.py"} == HOMES
