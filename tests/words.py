"""`python -m tests.words`: finds words that docs/words.yaml calls wrong, in every text file of the repository."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs/words.yaml"
TEXT = (".py", ".md", ".html", ".po", ".yaml", ".yml", ".toml", ".css", ".js", ".c", ".sh", ".service", ".timer")
PASSED_OVER = (
    "CHANGELOG.md",  # tells what was called otherwise
    "docs/words.yaml",
    "tests/words.py",
    "tests/unit/test_words.py",
    "docs/deploy-test.md",  # output of runs, as they were
    "bench/results/*",
)
VIETNAMESE = ("*.vi.md", "grafana/texts/vi.yaml")


@dataclass(frozen=True, slots=True)
class Rule:
    """A wrong word; `files` empty: wrong anywhere. `language` None: in texts of either language."""

    pattern: re.Pattern[str]
    instead: str
    language: str | None = None
    files: tuple[str, ...] = ()
    but: tuple[re.Pattern[str], ...] = ()

    def applies(self, path: str) -> bool:
        return not self.files or any(fnmatch(path, glob) for glob in self.files)

    def find(self, line: str) -> str | None:
        """The wrong word of a line; None where there is none, or only where it may stand."""
        for allowed in self.but:
            line = allowed.sub(" ", line)
        found = self.pattern.search(line)
        return found[0] if found else None


class Finding(NamedTuple):
    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: {self.instead}"


def rules(document: Any) -> list[Rule]:
    """The rules of the list's document."""
    found = [
        Rule(_pattern(words), instead, language)
        for language, entries in document["always"].items()
        for words, instead in entries.items()
    ]
    for entry in document["in_context"]:
        but = tuple(re.compile(text) for text in entry.get("but", ()))
        files = tuple(entry["in"])
        found.append(Rule(_pattern(entry["words"]), entry["instead"], entry.get("language"), files, but))
    return found


def _pattern(words: str) -> re.Pattern[str]:
    """A word is bounded by whatever is no letter, so that `told_of` and `so-many` are found too."""
    case = 0 if words.isupper() else re.IGNORECASE
    return re.compile(rf"(?<![^\W\d_])(?:{words.replace(' ', '[ _-]')})(?![^\W\d_])", case)


def check(path: str, text: str, rules: Iterable[Rule]) -> Iterator[Finding]:
    """What is wrong in a file. English rules pass over Vietnamese texts, and the other way round in catalogues."""
    here = [rule for rule in rules if rule.applies(path)]
    language = "vi" if any(fnmatch(path, glob) for glob in VIETNAMESE) else None
    for number, line in enumerate(text.splitlines(), 1):
        if path.endswith(".po"):
            language = "en" if line.startswith("msgid") else "vi" if line.startswith("msgstr") else language
        for rule in here:
            if rule.language is not None and language not in (None, rule.language):
                continue
            if (word := rule.find(line)) is not None:
                yield Finding(path, number, word, rule.instead)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return [
        path
        for path in listed.stdout.splitlines()
        if path.endswith(TEXT) and not any(fnmatch(path, glob) for glob in PASSED_OVER) and (ROOT / path).is_file()
    ]


def main() -> int:
    all_rules = rules(yaml.safe_load(LIST.read_text(encoding="utf-8")))
    found = [one for path in tracked() for one in check(path, (ROOT / path).read_text(encoding="utf-8"), all_rules)]
    for one in found:
        print(one)
    print(f"{len(found)} words to change" if found else "no word of docs/words.yaml found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
