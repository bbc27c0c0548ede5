"""A finding: what a check has found, and what to do about it."""

from typing import Literal

from msgspec import Struct

Mark = Literal["ok", "warn", "fail", "skip"]
MARKS: dict[Mark, str] = {"ok": "✔", "warn": "▲", "fail": "✖", "skip": "–"}


class Sentence(Struct, frozen=True):
    """A sentence of the catalogue: its English text is its id, `values` fill its placeholders."""

    english: str
    values: dict[str, str | int | float] = {}


class Finding(Struct, frozen=True):
    """`name` is the same in every language: a word of NAMES, an interface, a line. Only `fail` must be fixed."""

    name: str
    mark: Mark
    found: tuple[Sentence, ...]
    remedy: Sentence | None = None


def say(english: str, /, **values: str | int | float) -> Sentence:
    """A sentence of the catalogue; the test of the texts looks for these calls."""
    return Sentence(english, values)


def ok(name: str, *found: Sentence) -> Finding:
    return Finding(name, "ok", found)


def skip(name: str, *found: Sentence) -> Finding:
    """Not checked, or nothing to check."""
    return Finding(name, "skip", found)


def warn(name: str, found: Sentence | tuple[Sentence, ...], remedy: Sentence | None) -> Finding:
    """The unit works; a person should know, or look at it later."""
    return Finding(name, "warn", found if isinstance(found, tuple) else (found,), remedy)


def fail(name: str, found: Sentence | tuple[Sentence, ...], remedy: Sentence | None) -> Finding:
    """The unit, or this line, can't do its work as it stands."""
    return Finding(name, "fail", found if isinstance(found, tuple) else (found,), remedy)
