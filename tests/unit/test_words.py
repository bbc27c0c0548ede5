"""The list of wrong words finds them where they are wrong, and nowhere else."""

from fnmatch import fnmatch

import pytest
import yaml

from tests.words import LIST, PASSED_OVER, ROOT, check, rules, tracked

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
        ("grafana/rules.py", '"◐ THIẾU DỮ LIỆU", "▼ THIẾU"', ["THIẾU"]),
        ("docs/officer.vi.md", "Đường này chậm; đường truyền kia không", ["Đường"]),
        ("docs/operator.vi.md", "đường dẫn, `--area ĐƯỜNG_DẪN`", []),
        ("docs/officer.vi.md", "CHƯA ĐO ĐƯỢC; CHƯA ĐO", ["CHƯA ĐO"]),
        ("docs/officer.vi.md", "ô phủ sóng; phủ sóng", ["phủ sóng"]),
        ("docs/technician.vi.md", "`ping -s 1400`; ping 20 ms", ["ping"]),
        ("docs/operator.en.md", "dead letters; 32 letters; a letter", ["letters"]),
        ("deploy/tasks.yml", "path: /var/lib/xomnet-upkeep", []),
        ("updater/upgrade.py", "import upkeep", ["upkeep"]),
        ("agent/loop.py", "MOST_BYTES = 5; heapq.most_common", ["MOST_BYTES"]),
    ],
)
def test_a_wrong_word_is_found_where_it_is_wrong(path: str, text: str, wrong: list[str]) -> None:
    assert words(path, text) == wrong


def test_a_catalogue_is_english_in_its_ids_and_vietnamese_in_its_texts() -> None:
    catalogue = 'msgid "Anew."\nmsgstr "anew"\nmsgid "x"\nmsgstr ""\n"danh bạ"\n'
    assert words("collector/texts/locale/vi.po", catalogue) == ["Anew", "danh bạ"]


def test_a_catalogues_ids_and_comments_may_name_what_its_texts_may_not() -> None:
    catalogue = '# máy chủ MQTT = broker\nmsgid "broker"\nmsgstr "broker"\n'
    assert [(one.line, one.word) for one in check("xomnet/check/locale/vi.po", catalogue, RULES)] == [(3, "broker")]


def test_every_file_pattern_of_a_rule_matches_a_file() -> None:
    paths = tracked()
    for rule in RULES:
        for glob in rule.files:
            assert any(fnmatch(path, glob) for path in paths), glob


def test_each_file_that_is_passed_over_exists() -> None:
    for glob in PASSED_OVER:
        assert list(ROOT.glob(glob)), glob


def test_pages_guides_code_and_catalogues_are_read() -> None:
    paths = tracked()
    for one in ("README.md", "docs/officer.vi.md", "agent/loop.py", "collector/web/templates/line.html"):
        assert one in paths
