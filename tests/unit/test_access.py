"""The access types have one home: their order and their words are the same wherever a person reads them."""

from typing import get_args

import pytest

from collector.report.texts import ReportTexts
from collector.texts.texts import LANGUAGES, Language, Texts
from collector.texts.words import access_word
from grafana.words import words
from xomnet.access import ACCESSES, word
from xomnet.contract.messages import Access


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
