"""What a check gives: one row of what was found, and what to do about it."""

from typing import Literal

from msgspec import Struct

Mark = Literal["ok", "warn", "fail", "skip"]
MARKS: dict[Mark, str] = {"ok": "✔", "warn": "▲", "fail": "✖", "skip": "–"}


class Said(Struct, frozen=True):
    """A sentence: its English is its id in the catalogue, values fill its placeholders."""

    english: str
    values: dict[str, str | int | float] = {}


class Finding(Struct, frozen=True):
    """`name` is the same in every language: a word of ours, an interface, a line. Only `fail` is a thing to fix."""

    name: str
    mark: Mark
    found: tuple[Said, ...]
    remedy: Said | None = None


def say(english: str, /, **values: str | int | float) -> Said:
    """A sentence of the catalogue; the test of the texts looks for these calls."""
    return Said(english, values)


def ok(name: str, *found: Said) -> Finding:
    return Finding(name, "ok", found)


def skip(name: str, *found: Said) -> Finding:
    """Not looked at, or nothing to be looked at."""
    return Finding(name, "skip", found)


def warn(name: str, found: Said | tuple[Said, ...], remedy: Said | None) -> Finding:
    """The unit works; somebody should know, or look later."""
    return Finding(name, "warn", found if isinstance(found, tuple) else (found,), remedy)


def fail(name: str, found: Said | tuple[Said, ...], remedy: Said | None) -> Finding:
    """The unit, or this line, can't do its work as it stands."""
    return Finding(name, "fail", found if isinstance(found, tuple) else (found,), remedy)
