"""Which characters a text may have: control, bidi and invisible characters end here, and nowhere else.

A page, a terminal or a Word file shows a text as it is, so what could act on them must not get that far. What a program
sends is cleaned (`clean_json`, `printable`); what a person types is refused with the character's number
(`unfit_characters`). Vietnamese needs no invisible character: its marks are combining ones, and those are printable.
"""

import json
import re
import unicodedata
from functools import lru_cache

TEXT_PATTERN = (
    r"^[^\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]*$"
    r"(?!\n)"
)
"""In the schemas: control characters, what is invisible or turns the direction of writing, and what is no character."""

_UNPRINTABLE = re.compile(r"[^ -~]+")
_ESCAPE = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|([bfnrt])|.)", re.DOTALL
)
"""Of JSON, one by one: a number (two make a surrogate pair), a control character by its letter, anything else."""


def printable(text: str) -> str:
    """The text with a space for each character that cannot be printed."""
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: "".join(c if c.isprintable() else " " for c in found[0]), text)


def unfit_characters(text: str) -> str:
    """What a person must not write, as `U+200B, U+202E`; empty if the text is fit. Any kind of space is fit."""
    unfit = dict.fromkeys(c for c in text if not (c.isprintable() or unicodedata.category(c) == "Zs"))
    return ", ".join(f"U+{ord(c):04X}" for c in unfit)


def clean_json(payload: bytes) -> bytes:
    """A JSON document with a space for each character in it that cannot be printed, escaped or not.

    A lone surrogate, with which a document can't be decoded at all, and bytes that are not UTF-8 are such characters.
    """
    text = payload.decode(errors="replace")
    if "\\" in text:
        text = _ESCAPE.sub(_clean_escape, text)
    return printable(text).encode()


@lru_cache(4096)
def _clean_character(escape: str) -> str:
    return escape if json.loads(f'"{escape}"').isprintable() else " "


def _clean_escape(found: re.Match[str]) -> str:
    number, control = found.groups()
    return _clean_character(found[0]) if number else " " if control else found[0]
