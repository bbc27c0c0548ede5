"""The list of wrong words finds them where they are wrong, and nowhere else."""

import pytest
import yaml

from tests.words import LIST, check, rules, tracked

RULES = rules(yaml.safe_load(LIST.read_text(encoding="utf-8")))


def words(path: str, text: str) -> list[str]:
    return [one.word for one in check(path, text, RULES)]


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("agent/loop.py", "def told_of(self): ...", ["told_of"]),
        ("agent/loop.py", '"""Begins anew."""', ["anew"]),
        ("agent/loop.py", "manewvre = recommended", []),
        ("docs/officer.vi.md", "danh bạ", ["danh bạ"]),
        ("docs/officer.vi.md", "anew", []),
        ("docs/operator.vi.md", "Broker đã dừng", ["Broker"]),
        ("docs/operator.vi.md", "đặt `broker.host`", []),
        ("docs/operator.en.md", "The broker is away", []),
        ("docs/method.md", "a share of 95 %", ["5 %"]),
        ("grafana/rules.py", "x = 5 % y", []),
        ("grafana/rules.py", '"NOT CERTAIN", "not_certain"', ["NOT CERTAIN"]),
    ],
)
def test_a_wrong_word_is_found_where_it_is_wrong(path: str, text: str, wrong: list[str]) -> None:
    assert words(path, text) == wrong


def test_a_catalogue_is_english_in_its_ids_and_vietnamese_in_its_texts() -> None:
    catalogue = 'msgid "Anew."\nmsgstr "anew"\nmsgid "x"\nmsgstr ""\n"danh bạ"\n'
    assert words("collector/texts/locale/vi.po", catalogue) == ["Anew", "danh bạ"]


def test_pages_guides_code_and_catalogues_are_read() -> None:
    paths = tracked()
    for one in ("README.md", "docs/officer.vi.md", "agent/loop.py", "collector/web/templates/line.html"):
        assert one in paths
