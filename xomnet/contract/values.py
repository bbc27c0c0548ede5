"""The kinds of values that messages are made of: what each may hold."""

import datetime as dt
from typing import Annotated

from msgspec import Meta

from xomnet.contract.topics import NAME_PATTERN

MAX_TEXT = 512
"""Characters of a Text."""
MAX_COUNT = 2**53
"""JSON readers that hold numbers as floats are exact up to here."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text = Annotated[str, Meta(max_length=MAX_TEXT, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Word = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,47}$(?!\n)")]
Words = Annotated[tuple[Word, ...], Meta(max_length=32)]
Instant = Annotated[dt.datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Mbps = Annotated[float, Meta(ge=0, le=1e6)]
Ms = Annotated[float, Meta(ge=0, le=1e7)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Dbm = Annotated[float, Meta(ge=-200, le=50)]
Decibel = Annotated[float, Meta(ge=-100, le=100)]
Celsius = Annotated[float, Meta(ge=-100, le=250)]


def to_text(text: str) -> str:
    """The text as a Text holds it: what cannot be printed becomes a space, and what is too long is cut."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_TEXT]
