"""Texts of the checks and of the unit's page, in Vietnamese and English."""

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from xomnet.check.finding import Sentence
from xomnet.translations import translations

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
CATALOGUE = Path(__file__).parent / "locale" / "vi.po"

NAMES = (
    *("power", "clock", "disk", "broker", "collector", "server", "signal", "names", "service", "backup"),
    *("settings", "targets", "registry", "state", "store", "archive", "alerts", "operator", "permissions"),
)
"""Names of findings that are translated; others are an interface or a line."""
MINUTE, HOUR, DAY = 60, 3600, 86_400


def default_language(environment: Mapping[str, str] = os.environ) -> Language:
    """The language of the system: English if its locale is, else Vietnamese."""
    wanted = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "en" if wanted.startswith("en") else "vi"


@dataclass(frozen=True, slots=True)
class CheckTexts:
    """Texts in one language. No HTML."""

    language: Language

    def text(self, english: str, /, **values: str | int | float) -> str:
        """The text of an id, with its placeholders filled."""
        found = translations(CATALOGUE).get(english, english) if self.language == "vi" else english
        shown = {key: value if isinstance(value, str) else self.number(value) for key, value in values.items()}
        return found.format(**shown) if shown else found

    def sentence(self, sentence: Sentence) -> str:
        return self.text(sentence.english, **sentence.values)

    def sentences(self, found: tuple[Sentence, ...]) -> str:
        """Sentences as one text, joined by commas."""
        return ", ".join(self.sentence(one) for one in found)

    def name(self, name: str) -> str:
        """The name of a finding; its first word may be translated: `server 4g`."""
        first, space, rest = name.partition(" ")
        return (self.text(first) if first in NAMES else first) + space + rest

    def number(self, value: float) -> str:
        """A number with at most one decimal; 1.234,5 in Vietnamese."""
        text = f"{value:,.1f}".removesuffix(".0")
        return text.translate(str.maketrans(",.", ".,")) if self.language == "vi" else text

    def span(self, seconds: float) -> str:
        """A length of time in the largest unit that fits."""
        if seconds < 2 * MINUTE:
            return self.text("{n} s", n=round(seconds, 1 if seconds < 10 else 0))
        for unit_s, limit_s, english in ((MINUTE, 2 * HOUR, "{n} min"), (HOUR, 2 * DAY, "{n} h")):
            if seconds < limit_s:
                return self.text(english, n=round(seconds / unit_s))
        return self.text("{n} days", n=round(seconds / DAY))

    def moment(self, when: dt.datetime, zone: ZoneInfo) -> str:
        """Day and minute of an instant in a time zone."""
        return when.astimezone(zone).strftime("%H:%M %d/%m" if self.language == "vi" else "%d/%m %H:%M")
