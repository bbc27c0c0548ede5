"""Every word that the dashboards say, from `texts/vi.yaml` and `texts/en.yaml`."""

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
    """The texts of one language; a missing one is a KeyError with its path."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.table: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))

    def __call__(self, *path: str) -> str:
        found: Any = self.table
        for step in path:
            try:
                found = found[step]
            except (KeyError, TypeError) as error:
                raise KeyError(f"{self.language}.yaml: {'.'.join(path)}") from error
        return str(found).strip()

    def access(self, access: Access) -> str:
        return access_types.word(access, self.language)

    def state(self, state: State) -> str:
        """Mark and word, as everywhere in xomnet."""
        look = LOOKS[state]
        return f"{look.mark} {look.vi if self.language == 'vi' else look.en}"


@cache
def words(language: Language) -> Words:
    return Words(language)
