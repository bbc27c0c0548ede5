"""What a person may write about a line: one line of text."""

from typing import Annotated

from msgspec import Meta

from xomnet.contract.characters import TEXT_PATTERN

Words = Annotated[str, Meta(min_length=1, max_length=200, pattern=TEXT_PATTERN)]
Note = Annotated[str, Meta(max_length=200, pattern=TEXT_PATTERN)]
