"""What a person may write about a line: one line of text."""

from typing import Annotated

from msgspec import Meta

_PLAIN = r"^[^\x00-\x1f\x7f]*$(?!\n)"
Words = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PLAIN)]
Note = Annotated[str, Meta(max_length=200, pattern=_PLAIN)]
