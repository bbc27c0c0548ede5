"""Tables of a Word document, written as its XML: thousands of cells one by one through python-docx take minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

TWIPS_A_MM = 56.7
MARGIN_MM = 0.9


@dataclass(frozen=True, slots=True)
class DocxCell:
    """A cell: sizes in points, colours as #rrggbb."""

    text: str
    side: Literal["left", "right", "center"] = "left"
    size: float = 9.5
    bold: bool = False
    colour: str | None = None
    fill: str | None = None


def table(
    rows: Sequence[Sequence[DocxCell]], widths_mm: Sequence[float], borders: bool, head: bool, together: bool
) -> Any:
    """An element for the body. With a `head` the first row is repeated on each page; `together` keeps the rows on one
    page with what follows.
    """
    grid = "".join(f'<w:gridCol w:w="{_twips(width)}"/>' for width in widths_mm)
    body = "".join(_row(row, widths_mm, head and n == 0, together) for n, row in enumerate(rows))
    edges = "".join(
        f'<w:{edge} w:val="single" w:sz="4" w:space="0" w:color="777777"/>'
        for edge in ("top", "left", "bottom", "right", "insideH", "insideV")
    )
    margins = "".join(f'<w:{edge} w:w="{_twips(MARGIN_MM)}" w:type="dxa"/>' for edge in ("left", "right"))
    return parse_xml(
        f'<w:tbl {nsdecls("w")}><w:tblPr><w:tblW w:w="{_twips(sum(widths_mm))}" w:type="dxa"/>'
        f"{f'<w:tblBorders>{edges}</w:tblBorders>' if borders else ''}"
        f'<w:tblLayout w:type="fixed"/><w:tblCellMar>{margins}</w:tblCellMar></w:tblPr>'
        f"<w:tblGrid>{grid}</w:tblGrid>{body}</w:tbl>"
    )


def _row(row: Sequence[DocxCell], widths_mm: Sequence[float], head: bool, together: bool) -> str:
    cells = "".join(_cell(cell, width, head or together) for cell, width in zip(row, widths_mm, strict=True))
    return f"<w:tr><w:trPr><w:cantSplit/>{'<w:tblHeader/>' if head else ''}</w:trPr>{cells}</w:tr>"


def _cell(cell: DocxCell, width_mm: float, keep: bool) -> str:
    fill = f'<w:shd w:val="clear" w:color="auto" w:fill="{cell.fill.lstrip("#")}"/>' if cell.fill else ""
    colour = f'<w:color w:val="{cell.colour.lstrip("#")}"/>' if cell.colour else ""
    return (
        f'<w:tc><w:tcPr><w:tcW w:w="{_twips(width_mm)}" w:type="dxa"/>{fill}</w:tcPr>'
        f"<w:p><w:pPr>{'<w:keepNext/>' if keep else ''}"
        f'<w:spacing w:before="20" w:after="20"/><w:jc w:val="{cell.side}"/></w:pPr>'
        f"<w:r><w:rPr>{'<w:b/>' if cell.bold else ''}{colour}"
        f'<w:sz w:val="{round(2 * cell.size)}"/></w:rPr>'
        f'<w:t xml:space="preserve">{escape(cell.text)}</w:t></w:r></w:p></w:tc>'
    )


def _twips(mm: float) -> int:
    return round(mm * TWIPS_A_MM)
