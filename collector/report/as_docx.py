"""The report as an office edits it: a Word document with styles, repeated table heads and page numbers.

The chart is a row of coloured cells, so that it can be edited too.
"""

import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from docx import Document as new_document
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.enum.text import WD_ALIGN_PARAGRAPH as ALIGN
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor

from collector.judge.verdict import VerdictName
from collector.report import docx_tables
from collector.report.blocks import Annex, Bars, Block, Cell, Document, Front, Paragraph, Points, Table, TableColumn
from collector.report.docx_tables import DocxCell
from collector.report.texts import LOOKS

if TYPE_CHECKING:
    from docx.document import Document as Word
    from docx.section import Section as Pages
    from docx.text.paragraph import Paragraph as WordParagraph

FONT = "Times New Roman"
PORTRAIT_MM, ACROSS_MM = 165, 267
LABEL_MM, OFFICE_MM = 45, 72


def as_docx(document: Document) -> bytes:
    """A .docx file."""
    word = new_document()
    word.core_properties.title = document.front.subject
    word.core_properties.author = document.front.authority
    word.core_properties.language = document.language
    _styles(word, document.language)
    _pages(word.sections[0], document.page, first_without_number=True)
    _front(word, document.front)
    opening = word.add_paragraph(document.opening)
    opening.paragraph_format.first_line_indent = Mm(10)
    for section in document.sections:
        word.add_heading(section.title, section.level)
        for block in section.blocks:
            _block(word, block)
    _closing(word, document)
    _annex(word, document.annex, document.page)
    file = io.BytesIO()
    word.save(file)
    return file.getvalue()


def _styles(word: "Word", language: str) -> None:
    for spelling in word.styles.element.iter(qn("w:lang")):  # or every word is underlined as misspelt English
        spelling.set(qn("w:val"), {"vi": "vi-VN", "en": "en-GB"}[language])
    for name, size in (("Normal", 13), ("Heading 1", 13), ("Heading 2", 13), ("List Bullet", 13)):
        style: Any = word.styles[name]
        style.font.name, style.font.size = FONT, Pt(size)
        style.font.color.rgb = RGBColor(0, 0, 0)
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for kind in ("w:ascii", "w:hAnsi", "w:cs", "w:eastAsia"):
            fonts.set(qn(kind), FONT)
        for kind in ("w:asciiTheme", "w:hAnsiTheme", "w:cstheme", "w:eastAsiaTheme"):
            fonts.attrib.pop(qn(kind), None)
        style.paragraph_format.space_after = Pt(4)
        style.paragraph_format.space_before = Pt(10 if name.startswith("Heading") else 0)
    heading: Any = word.styles["Heading 1"]
    heading.font.bold = True
    part: Any = word.styles["Heading 2"]
    part.font.bold, part.font.italic = True, True


def _pages(pages: "Pages", foot: str, first_without_number: bool = False, across: bool = False) -> None:
    """A4 with the margins of Nghị định 30/2020/NĐ-CP; the number in the middle of the upper margin."""
    pages.orientation = WD_ORIENT.LANDSCAPE if across else WD_ORIENT.PORTRAIT
    pages.page_width, pages.page_height = (Mm(297), Mm(210)) if across else (Mm(210), Mm(297))
    pages.top_margin = pages.bottom_margin = Mm(20)
    pages.left_margin, pages.right_margin = (Mm(15), Mm(15)) if across else (Mm(30), Mm(15))
    pages.header_distance = pages.footer_distance = Mm(10)
    pages.different_first_page_header_footer = first_without_number
    pages.header.is_linked_to_previous = pages.footer.is_linked_to_previous = False
    number = pages.header.paragraphs[0]
    number.alignment = ALIGN.CENTER
    _field(number, "PAGE")
    feet = [pages.footer, pages.first_page_footer] if first_without_number else [pages.footer]
    for footer in feet:
        _write(footer.paragraphs[0], foot, size=8.5, align=ALIGN.RIGHT)


def _field(paragraph: "WordParagraph", name: str) -> None:
    for kind, text in (("begin", None), (None, name), ("end", None)):
        element = OxmlElement("w:instrText" if kind is None else "w:fldChar")
        if kind is None:
            element.text = text
        else:
            element.set(qn("w:fldCharType"), kind)
        paragraph.add_run()._r.append(element)


def _write(
    paragraph: "WordParagraph",
    text: str,
    size: float = 13,
    bold: bool = False,
    italic: bool = False,
    align: ALIGN | None = None,
    colour: str | None = None,
) -> "WordParagraph":
    run = paragraph.add_run(text)
    run.font.size, run.bold, run.italic = Pt(size), bold, italic
    if colour is not None:
        run.font.color.rgb = RGBColor.from_string(colour.lstrip("#"))
    if align is not None:
        paragraph.alignment = align
    paragraph.paragraph_format.space_after = Pt(2)
    return paragraph


def _front(word: "Word", front: Front) -> None:
    table = word.add_table(1, 2)
    table.autofit = False
    office, nation = table.rows[0].cells
    for column, cell, width in zip(table.columns, (office, nation), (OFFICE_MM, PORTRAIT_MM - OFFICE_MM), strict=True):
        column.width = cell.width = Mm(width)
    centred = partial(_write, align=ALIGN.CENTER)
    centred(office.paragraphs[0], front.parent, 12)
    _underlined(centred(office.add_paragraph(), front.authority, 12, bold=True), 22)
    centred(office.add_paragraph(), front.number, 12)
    centred(nation.paragraphs[0], front.nation, 12, bold=True)
    _underlined(centred(nation.add_paragraph(), front.motto, 13, bold=True), 18)
    centred(nation.add_paragraph(), front.place_and_date, 13, italic=True)
    kind = centred(word.add_paragraph(), front.kind, 14, bold=True)
    kind.paragraph_format.space_before = Pt(12)
    subject = centred(word.add_paragraph(), front.subject, 14, bold=True)
    if front.scope:
        subject = centred(word.add_paragraph(), front.scope, 13, bold=True)
    _underlined(subject, 60)
    centred(word.add_paragraph(), front.status, 13, italic=True)


def _underlined(paragraph: "WordParagraph", indent_mm: float) -> None:
    """A thin line below, shorter than the column on either side."""
    edge = OxmlElement("w:bottom")
    for key, value in (("val", "single"), ("sz", "4"), ("space", "1"), ("color", "auto")):
        edge.set(qn(f"w:{key}"), value)
    below = paragraph._p.addnext
    line = OxmlElement("w:p")
    below(line)
    rule = type(paragraph)(line, paragraph._parent)
    borders = OxmlElement("w:pBdr")
    borders.append(edge)
    rule._p.get_or_add_pPr().append(borders)
    rule.paragraph_format.left_indent = rule.paragraph_format.right_indent = Mm(indent_mm)
    rule.paragraph_format.space_after = Pt(4)
    rule.paragraph_format.line_spacing = Pt(2)


def _block(word: "Word", block: Block) -> None:
    match block:
        case Paragraph():
            paragraph = word.add_paragraph()
            paragraph.paragraph_format.keep_with_next = block.strong
            paragraph.add_run(block.text).bold = block.strong
        case Points():
            for item in block.items:
                word.add_paragraph(item, style="List Bullet").alignment = ALIGN.JUSTIFY
        case Bars():
            _bars(word, block)
        case Table():
            _table(word, block, PORTRAIT_MM, 9.5)


def _table(word: "Word", table: Table, width_mm: float, size: float) -> None:
    whole = sum(column.width for column in table.columns)
    head = [DocxCell(column.title, _side(column), size, bold=True, fill="#EEEEEE") for column in table.columns]
    rows = [_row(row, table.columns, size, bold=False) for row in table.rows]
    if table.total:
        rows.append(_row(table.total, table.columns, size, bold=True))
    widths = [width_mm * column.width / whole for column in table.columns]
    _add(word, [head, *rows], widths, borders=True, head=True, together=False)
    _gap(word, 6)


def _row(row: Sequence[Cell], columns: Sequence[TableColumn], size: float, bold: bool) -> list[DocxCell]:
    shown = []
    for cell, column in zip(row, columns, strict=True):
        colour = LOOKS[cell.verdict].colour if cell.verdict else None
        shown.append(DocxCell(cell.text, _side(column), size, bold or colour is not None, colour))
    return shown


def _side(column: TableColumn) -> Literal["left", "right"]:
    return "right" if column.right else "left"


def _bars(word: "Word", chart: Bars) -> None:
    title = _write(word.add_paragraph(), chart.title, 11, italic=True)
    legend = word.add_paragraph()
    for name, look in LOOKS.items():
        _write(legend, f"{chart.legend[name]}    ", 10, colour=look.colour)
    for paragraph in (title, legend):
        paragraph.paragraph_format.keep_with_next = True
    for n, bar in enumerate(chart.bars, 1):
        last = n == len(chart.bars)
        parts = [(name, bar.counts[name]) for name in LOOKS if bar.counts[name]]
        whole = sum(count for _, count in parts)
        widths = [LABEL_MM, *((PORTRAIT_MM - LABEL_MM) * count / whole for _, count in parts)]
        cells = [DocxCell(bar.label, "right", 10), *(_part(name, count) for name, count in parts)]
        _add(word, [cells], widths, borders=False, head=False, together=not last)
        _gap(word, 6 if last else 2, keep=not last)


def _part(name: VerdictName, count: int) -> DocxCell:
    look, hollow = LOOKS[name], name == "unmeasured"
    fill, colour = ("#E5E7EB", look.colour) if hollow else (look.colour, "#FFFFFF")
    return DocxCell(f"{look.mark} {count}", "center", 10, bold=True, colour=colour, fill=fill)


def _add(word: "Word", rows: Sequence[Sequence[DocxCell]], widths_mm: Sequence[float], **how: bool) -> None:
    """At the end of the body, before the properties of its last section."""
    word.element.body.insert_element_before(docx_tables.table(rows, widths_mm, **how), "w:sectPr")


def _gap(word: "Word", points: float, keep: bool = False) -> None:
    """An empty line: two tables in a row would become one."""
    gap = word.add_paragraph().paragraph_format
    gap.space_after, gap.line_spacing, gap.keep_with_next = Pt(0), Pt(points), keep


def _closing(word: "Word", document: Document) -> None:
    table = word.add_table(1, 2)
    recipients, signer = table.rows[0].cells
    _write(recipients.paragraphs[0], document.closing.to, 12, bold=True, italic=True)
    for one in document.closing.recipients:
        _write(recipients.add_paragraph(), one, 11)
    _write(signer.paragraphs[0], document.closing.signer, 13, bold=True, align=ALIGN.CENTER)
    for _ in range(4):
        signer.add_paragraph()


def _annex(word: "Word", annex: Annex, foot: str) -> None:
    _pages(word.add_section(WD_SECTION.NEW_PAGE), foot, across=True)
    word.add_heading(annex.kind, 1).alignment = ALIGN.CENTER
    _write(word.add_paragraph(), annex.title, 13, bold=True, align=ALIGN.CENTER)
    _write(word.add_paragraph(), annex.note, 13, italic=True, align=ALIGN.CENTER)
    _table(word, annex.table, ACROSS_MM, 8.5)
