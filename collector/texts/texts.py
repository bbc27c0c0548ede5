"""What the page says, in Vietnamese and English: sentences, numbers, times.

Message ids are the English sentences; `locale/vi.po` has the Vietnamese ones and is read as it is, so that a
translator's change needs no build. Placeholders are named: `{n} of {total}`.
"""

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import ClassVar, Literal, get_args
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal

from xomnet.contract.fields import Field
from xomnet.plan import PROVINCE_TIME
from xomnet.states import LOOKS, State
from xomnet.translations import translations

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
"""The default first."""

LOCAL = ZoneInfo(PROVINCE_TIME)
CATALOGUE = Path(__file__).parent / "locale" / "vi.po"

MINUTE, HOUR, DAY = 60, 3600, 86_400


def vietnamese(catalogue: Path = CATALOGUE) -> dict[str, str]:
    """English id -> Vietnamese."""
    return translations(catalogue)


@dataclass(frozen=True, slots=True)
class Texts:
    """One language. Nothing here is HTML: templates escape what they show."""

    language: Language
    catalogue: ClassVar[Path] = CATALOGUE

    @property
    def locale(self) -> Locale:
        return _locale(self.language)

    def text(self, english: str, /, **values: object) -> str:
        """The sentence of an id, its placeholders filled."""
        found = vietnamese(self.catalogue).get(english, english) if self.language == "vi" else english
        return found.format(**values) if values else found

    def plural(self, one: str, many: str, n: int, /, **values: object) -> str:
        """As `text`, in the number's form; `{n}` is the number, written as the language does."""
        found = vietnamese(self.catalogue).get(one, many) if self.language == "vi" else one if n == 1 else many
        return found.format(n=self.number(n, 0), **values)

    def state(self, state: State) -> str:
        """The word of a state."""
        return LOOKS[state].vi if self.language == "vi" else LOOKS[state].en

    def label(self, field: Field) -> str:
        """The label of a measured field."""
        return field.vi if self.language == "vi" else field.en

    def number(self, value: float, digits: int = 1) -> str:
        """1.234,5 in Vietnamese, 1,234.5 in English."""
        return _number(value, digits, self.language)

    def mbps(self, value: float, target: float | None = None) -> str:
        """One decimal, or as many as it takes not to round a figure across its target: 69,97, not 70,0, of 70."""
        digits = 1
        while target is not None and digits < 4 and (value < target) != (round_decimal(value, digits) < target):
            digits += 1
        return self.number(value, digits)

    def target(self, value: float) -> str:
        """A target or plan: no decimals where it has none."""
        return self.number(value, 0 if value == int(value) else 1)

    def percent(self, ratio: float) -> str:
        """A share such as 60%; as `mbps`, never rounded across 100%."""
        value, digits = ratio * 100, 0
        while digits < 3 and (value < 100) != (round_decimal(value, digits) < 100):
            digits += 1
        return f"{self.number(value, digits)}%"

    def share(self, ratio: float) -> str:
        """A share rounded down to two decimals: 99.99% if one of a million is missing, 100% if none is."""
        value = math.floor(ratio * 10_000) / 100
        return f"{self.number(value, 0 if value in (0, 100) else 2)}%"

    def span(self, seconds: float) -> str:
        """A length of time in its largest fitting unit."""
        if seconds < 2 * MINUTE:
            return self.text("{n} s", n=self.number(seconds, 0))
        if seconds < 2 * HOUR:
            return self.text("{n} min", n=self.number(seconds / MINUTE, 0))
        if seconds < 2 * DAY:
            return self.text("{n} h", n=self.number(seconds / HOUR, 0))
        return self.plural("{n} day", "{n} days", round(seconds / DAY))

    def ago(self, seconds: float) -> str:
        """How long ago something was."""
        return self.text("{span} ago", span=self.span(seconds))

    def moment(self, when: dt.datetime) -> str:
        """Date and time to the second, in the province's time."""
        return self._format(when, "HH:mm:ss dd/MM/yyyy" if self.language == "vi" else "d MMM yyyy HH:mm:ss")

    def minute(self, when: dt.datetime) -> str:
        """Day and minute, for a table or a chart."""
        return self._format(when, "HH:mm dd/MM" if self.language == "vi" else "d MMM HH:mm")

    def second(self, when: dt.datetime) -> str:
        """Day and second, for tests that follow each other quickly."""
        return self._format(when, "HH:mm:ss dd/MM" if self.language == "vi" else "d MMM HH:mm:ss")

    def tick(self, when: dt.datetime, step_s: float) -> str:
        """The label of a mark on a time axis whose marks are `step_s` apart; a midnight shows its date."""
        local = when.astimezone(LOCAL)
        if step_s < MINUTE:
            return self._format(when, "HH:mm:ss")
        if step_s >= DAY or (local.hour, local.minute) == (0, 0):
            return self._format(when, "d/M" if self.language == "vi" else "d MMM")
        return self._format(when, "HH:mm")

    def _format(self, when: dt.datetime, pattern: str) -> str:
        return str(format_datetime(when, pattern, tzinfo=LOCAL, locale=self.locale))


def round_decimal(value: float, digits: int) -> Decimal:
    """The one rounding: Babel's own would take 149.95 for 150.0 where Python's takes it for 149.9."""
    return Decimal(f"{value:.{digits}f}")


@lru_cache(maxsize=20_000)
def _number(value: float, digits: int, language: Language) -> str:
    pattern = f"#,##0.{'0' * digits}" if digits else "#,##0"
    return str(format_decimal(round_decimal(value, digits), pattern, locale=_locale(language)))


@cache
def _locale(language: Language) -> Locale:
    return Locale.parse(language)
