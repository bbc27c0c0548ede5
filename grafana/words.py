"""Every word that the dashboards say, from `texts/vi.yaml` and `texts/en.yaml`; the states' from xomnet/states.py."""

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from xomnet import access as access_types
from xomnet.contract.messages import Access
from xomnet.states import LOOKS, State

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
FOLDER = Path(__file__).parent / "texts"


class Words:
    """The texts of one language; a missing one is a KeyError with its path.

    States and verdicts have one word each: a text writes `{short}` or `{met}` in its place.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self.table: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
        self._terms: dict[str, str] = {
            **{state: look.vi if language == "vi" else look.en for state, look in LOOKS.items()},
            **self.table["verdicts"],
        }

    def __call__(self, *path: str) -> str:
        found: Any = self.table
        for step in path:
            try:
                found = found[step]
            except (KeyError, TypeError) as error:
                raise KeyError(f"{self.language}.yaml: {'.'.join(path)}") from error
        return str(found).strip().format_map(self._terms)

    def column(self, name: str) -> str:
        """The heading of a column; a count of lines in a state, or with a verdict, is headed by its word."""
        return self._terms[name] if name in self._terms else self("columns", name)

    def access(self, access: Access) -> str:
        return access_types.word(access, self.language)

    def state(self, state: State) -> str:
        """Mark and word, as everywhere in xomnet."""
        return f"{LOOKS[state].mark} {self._terms[state]}"


@cache
def words(language: Language) -> Words:
    return Words(language)
