"""The access types of a line: one definition of their order and their words."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from xomnet.contract.messages import Access


class AccessWord(NamedTuple):
    """As it stands within a sentence."""

    en: str
    vi: str


WORDS: Mapping[Access, AccessWord] = {
    "mobile": AccessWord("mobile", "di động"),
    "fixed": AccessWord("fixed", "cố định"),
}
ACCESSES: tuple[Access, ...] = tuple(WORDS)
"""In the order of every table, which is that of the provincial plan."""


def word(access: Access, language: Literal["vi", "en"]) -> str:
    """The access type in words."""
    return WORDS[access].vi if language == "vi" else WORDS[access].en
