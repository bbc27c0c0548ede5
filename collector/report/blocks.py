"""What a report is made of, whatever it is printed as: plain values in one language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from collector.judge.verdict import VerdictName


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows; `value` is the number behind it, for a spreadsheet, to be shown with `digits` decimals."""

    text: str
    value: float | int | None = None
    digits: int = 0
    share: bool = False
    """The value is a share of 1, shown in percent."""
    verdict: VerdictName | None = None
    """The text is the word of a verdict: it may be coloured."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    title: str
    width: float
    """A share of the others'."""
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`total`, where there is one, is the last row."""

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the chart: how many lines have which verdict."""

    label: str
    counts: Mapping[VerdictName, int]


@dataclass(frozen=True, slots=True)
class Bars:
    """The chart: each bar is the whole of its lines, in parts by verdict."""

    title: str
    bars: Sequence[Bar]
    legend: Mapping[VerdictName, str]


Block = Paragraph | Points | Table | Bars


@dataclass(frozen=True, slots=True)
class Section:
    """`level` 1 is a chapter, 2 a part of one."""

    title: str
    level: Literal[1, 2]
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Front:
    """The head of an administrative document, after Nghị định 30/2020/NĐ-CP, annex I; dotted where nothing is known."""

    parent: str
    authority: str
    number: str
    nation: str
    motto: str
    place_and_date: str
    kind: str
    subject: str
    scope: str | None
    status: str
    """Whether the figures are final: closed, not closed, or of a month that is not over."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Below the text: whom it goes to, and who signs."""

    to: str
    recipients: Sequence[str]
    signer: str


@dataclass(frozen=True, slots=True)
class Annex:
    """On pages of its own, across."""

    kind: str
    title: str
    note: str
    table: Table


@dataclass(frozen=True, slots=True)
class Document:
    language: str
    front: Front
    opening: str
    sections: Sequence[Section]
    closing: Closing
    annex: Annex
    page: str
    """A line at the foot of each page: what this is, and when it was made."""
