"""What names a line in the store and everywhere above it."""

from typing import NamedTuple, Self

from xomnet.registry.registry import LineRow


class LineId(NamedTuple):
    agent: str
    line: str

    @classmethod
    def of(cls, row: LineRow) -> Self:
        return cls(row.agent, row.line)
