"""The kinds of values that messages are made of: what each may hold.

The bounds are those of plausibility: what the fastest port of a unit can carry in the longest test, with room. A result
beyond them is refused, so that no sum over them grows out of a database's integer.
"""

import datetime as dt
from typing import Annotated

from msgspec import Meta

from xomnet.contract.characters import TEXT_PATTERN, printable
from xomnet.contract.topics import NAME_PATTERN

MAX_TEXT = 512
"""Characters of a Text."""
MAX_COUNT = 2**53
"""JSON readers that hold numbers as floats are exact up to here."""

MAX_PORT_MBPS = 10_000
"""The fastest port that a unit can have: 10 Gb/s."""
MAX_TEST_S = 600
"""Three times what a unit lets a test take, on however many servers."""
MAX_TEST_BYTES = MAX_PORT_MBPS * 125_000 * MAX_TEST_S
MAX_RECEIPT = 200_000
"""Results that one receipt can count: 40 times the number at which a unit writes one."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text = Annotated[str, Meta(max_length=MAX_TEXT, pattern=TEXT_PATTERN)]
Word = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,47}$(?!\n)")]
Words = Annotated[tuple[Word, ...], Meta(max_length=32)]
Instant = Annotated[dt.datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
TestBytes = Annotated[int, Meta(ge=0, le=MAX_TEST_BYTES)]
Streams = Annotated[int, Meta(ge=0, le=128)]
Packets = Annotated[int, Meta(ge=0, le=10**9)]
Echoes = Annotated[int, Meta(ge=0, le=10_000)]
SpoolDepth = Annotated[int, Meta(ge=0, le=10**8)]
ReceiptCount = Annotated[int, Meta(ge=0, le=MAX_RECEIPT)]
Mbps = Annotated[float, Meta(ge=0, le=10 * MAX_PORT_MBPS)]
"""Ten ports: a test over loopback, or the tenth of a second in which a buffer is emptied, may read above a port's."""
LinkMbps = Annotated[float, Meta(ge=0, le=1e6)]
"""What a port says of itself: a virtual machine's may name the speed of its host's."""
Ms = Annotated[float, Meta(ge=0, le=60_000)]
TestSeconds = Annotated[float, Meta(ge=0, le=MAX_TEST_S)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Dbm = Annotated[float, Meta(ge=-200, le=50)]
Decibel = Annotated[float, Meta(ge=-100, le=100)]
Celsius = Annotated[float, Meta(ge=-100, le=250)]


def to_text(text: str) -> str:
    """The text as a Text holds it: what cannot be printed becomes a space, and what is too long is cut."""
    return printable(text)[:MAX_TEXT]
