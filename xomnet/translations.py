"""A catalogue of translations (`.po`), read as it is, so that a translator's change needs no build.

Written out, since neither gettext of the standard library reads one, nor has a unit room for Babel's 30 MB.
"""

import ast
import re
from functools import cache
from pathlib import Path

_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr|msgstr\[0\]|msgstr\[[1-9]\]) )?("(?:[^"\\]|\\.)*")', re.ASCII)


class CatalogueError(Exception):
    """A line that can't be read as one of a catalogue; the text names it."""


@cache
def translations(catalogue: Path) -> dict[str, str]:
    """English id -> text. A plural's text, of a language with one form, stands under its singular id.

    Left out is what has no text yet, or is marked fuzzy. Raises OSError, CatalogueError.
    """
    found: dict[str, str] = {}
    entry: dict[str, str] = {}
    fuzzy, key = False, ""
    for number, line in enumerate([*catalogue.read_text(encoding="utf-8").splitlines(), ""], 1):
        text = line.strip()
        if not text:
            if not fuzzy and (translated := entry.get("msgstr") or entry.get("msgstr[0]")) and entry["msgid"]:
                found[entry["msgid"]] = translated
            entry, fuzzy = {}, False
        elif text.startswith("#"):
            fuzzy = fuzzy or (text.startswith("#,") and "fuzzy" in text)
        elif match := _LINE.fullmatch(text):
            key = match[1] or key
            if match[1] and key in entry:
                raise CatalogueError(f"{catalogue}, line {number}: found {key} again; allowed: an empty line before it")
            entry[key] = entry.get(key, "") + ast.literal_eval(match[2])
        else:
            raise CatalogueError(f'{catalogue}, line {number}: found {text!r}; allowed: msgid "…", msgstr "…", # …')
    return found
