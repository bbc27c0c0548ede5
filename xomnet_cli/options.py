"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document instead of text.")]
Config = Annotated[
    Path, typer.Option(metavar="FILE", help="Settings file (YAML).", exists=True, dir_okay=False, resolve_path=True)
]


class Language(StrEnum):
    VI = "vi"
    EN = "en"


Lang = Annotated[
    Language | None, typer.Option(help="Language of the text.", show_default="that of the system, else Vietnamese")
]


def language_arguments(lang: Language | None) -> tuple[str, ...]:
    """For a program that knows the system's language itself."""
    return () if lang is None else ("--lang", lang.value)
