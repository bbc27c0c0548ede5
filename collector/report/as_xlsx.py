"""The report as a workbook: the report, the annex, and the rows behind every figure. No cell is ever a formula."""

import datetime as dt
import io
from collections.abc import Sequence
from math import ceil
from typing import Any

import xlsxwriter

from collector.report.blocks import Bars, Block, Cell, Document, Paragraph, Points, Table
from collector.report.columns import HEADER, rows
from collector.report.model import MonthlyReport
from collector.report.texts import LOOKS, ReportTexts
from collector.texts.texts import LOCAL, Language

WIDTHS = (36, 26, *(18,) * 8)
"""Of the first sheet's columns, in letters: a sentence spans them all."""
LINE_HEIGHT = 15
OPTIONS = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}


def as_xlsx(document: Document, report: MonthlyReport, language: Language) -> bytes:
    """A .xlsx file. Its numbers are numbers: Excel writes them as its own language does."""
    t = ReportTexts(language)
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, OPTIONS)
    book.set_properties({"title": document.front.subject, "author": document.front.authority})
    looks = _Looks(book)
    _report(_Sheet(book, looks, t.text("Report"), WIDTHS), document)
    across = [max(7, column.width * 10) for column in document.annex.table.columns]
    _annex(_Sheet(book, looks, t.text("Annex"), across), document)
    _rows(_Sheet(book, looks, t.text("Data"), [16] * len(HEADER)), report)
    book.close()
    return file.getvalue()


class _Looks:
    """A workbook's formats, each made once."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._made: dict[tuple[tuple[str, Any], ...], Any] = {}

    def __call__(self, **properties: Any) -> Any:
        key = tuple(sorted(properties.items()))
        if key not in self._made:
            whole = {"font_name": "Times New Roman", "font_size": 11, "valign": "top", **properties}
            self._made[key] = self._book.add_format(whole)
        return self._made[key]


class _Sheet:
    """A sheet that is written from the top down."""

    def __init__(self, book: Any, looks: _Looks, name: str, widths: Sequence[float]) -> None:
        self.book, self.look, self.name, self.widths = book, looks, name, widths
        self.sheet = book.add_worksheet(name)
        for n, width in enumerate(widths):
            self.sheet.set_column(n, n, width)
        self.sheet.set_paper(9)  # A4
        self.sheet.set_landscape()
        self.sheet.fit_to_pages(1, 0)
        self.sheet.set_footer("&C&P / &N")
        self.row = 0

    def sentence(self, text: str, **look: Any) -> None:
        """Over all columns, as high as it needs."""
        shown = self.look(text_wrap=True, **look)
        self.sheet.merge_range(self.row, 0, self.row, len(self.widths) - 1, "", shown)
        self.sheet.write_string(self.row, 0, text, shown)
        self._height([(text, sum(self.widths))])
        self.row += 1

    def _height(self, texts: Sequence[tuple[str, float]]) -> None:
        """Sets the height of this row for texts and their widths in letters: not every program does it itself."""
        most = max(ceil(len(text) / width) for text, width in texts)
        self.sheet.set_row(self.row, LINE_HEIGHT * max(1, most) + 3)

    def table(self, table: Table) -> None:
        """From the first column on, with a head."""
        self._height([(column.title, width) for column, width in zip(table.columns, self.widths, strict=False)])
        for n, column in enumerate(table.columns):
            self.sheet.write_string(
                self.row,
                n,
                column.title,
                self.look(bold=True, border=1, bg_color="#EEEEEE", text_wrap=True, valign="vcenter"),
            )
        for row in table.rows:
            self.row += 1
            self._cells(row, table)
        if table.total:
            self.row += 1
            self._cells(table.total, table, bold=True)
        self.row += 2

    def _cells(self, cells: Sequence[Cell], table: Table, bold: bool = False) -> None:
        self._height([(cell.text, width) for cell, width in zip(cells, self.widths, strict=False)])
        for n, (cell, column) in enumerate(zip(cells, table.columns, strict=True)):
            look: dict[str, Any] = {"border": 1, "bold": bold}
            if cell.verdict:
                look |= {"bold": True, "font_color": LOOKS[cell.verdict].colour}
            if cell.value is None:
                look |= {"align": "right"} if column.right else {"text_wrap": True}
                self.sheet.write_string(self.row, n, cell.text, self.look(**look))
            else:
                form = "0.0%" if cell.share else "#,##0" + ("." + "0" * cell.digits if cell.digits else "")
                self.sheet.write_number(self.row, n, cell.value, self.look(num_format=form, **look))

    def chart(self, chart: Bars) -> None:
        """The figures, and beside them Excel's own chart of them."""
        first, last = self.row + 1, self.row + len(chart.bars)
        made = self.book.add_chart({"type": "bar", "subtype": "percent_stacked"})
        self.sheet.write_string(self.row, 0, chart.title, self.look(italic=True))
        for n, name in enumerate(LOOKS, 1):
            self.sheet.write_string(self.row, n, chart.legend[name], self.look(bold=True, text_wrap=True))
            made.add_series(
                {
                    "name": [self.name, self.row, n],
                    "categories": [self.name, first, 0, last, 0],
                    "values": [self.name, first, n, last, n],
                    "fill": {"color": LOOKS[name].colour},
                    "data_labels": {"value": True, "font": {"color": "#FFFFFF", "bold": True}},
                    "gap": 40,
                }
            )
            for row, bar in enumerate(chart.bars, first):
                # an empty cell in place of a 0: the chart says nothing of a part that is not there
                if bar.counts[name]:
                    self.sheet.write_number(row, n, bar.counts[name], self.look(num_format="#,##0"))
        for row, bar in enumerate(chart.bars, first):
            self.sheet.write_string(row, 0, bar.label, self.look())
        made.set_title({"name": chart.title, "name_font": {"size": 11}})
        made.set_y_axis({"reverse": True})
        made.set_legend({"position": "bottom"})
        height = 130 + 28 * len(chart.bars)
        made.set_size({"width": 760, "height": height})
        self.sheet.insert_chart(last + 1, 0, made)
        self.row = last + 2 + height // 20


def _report(to: _Sheet, document: Document) -> None:
    front = document.front
    for text, look in (
        (front.nation, {"bold": True}),
        (front.motto, {"bold": True}),
        (front.parent, {}),
        (front.authority, {"bold": True}),
        (front.number, {}),
        (front.place_and_date, {"italic": True}),
        (front.kind, {"bold": True, "font_size": 14}),
        (front.subject, {"bold": True, "font_size": 14}),
        (front.scope, {"bold": True}),
        (front.status, {"italic": True, "font_color": "#A15C00"}),
    ):
        if text:
            to.sentence(text, align="center", **look)
    to.sentence(document.opening)
    for section in document.sections:
        to.row += 1
        to.sentence(section.title, bold=True, font_size=13 if section.level == 1 else 12)
        for block in section.blocks:
            _block(to, block)
    to.sentence(document.page, italic=True, font_color="#555555")


def _block(to: _Sheet, block: Block) -> None:
    match block:
        case Paragraph():
            to.sentence(block.text, bold=block.strong)
        case Points():
            for item in block.items:
                to.sentence(f"– {item}")
        case Bars():
            to.chart(block)
        case Table():
            to.table(block)


def _annex(to: _Sheet, document: Document) -> None:
    table = document.annex.table
    to.table(table)
    to.sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)
    to.sheet.freeze_panes(1, 2)
    to.sheet.repeat_rows(0)


def _rows(to: _Sheet, report: MonthlyReport) -> None:
    """The rows of the CSV; times are those of the province, as a spreadsheet knows no zones."""
    for n, name in enumerate(HEADER):
        to.sheet.write_string(0, n, name, to.look(bold=True))
    number = 0
    for number, row in enumerate(rows(report), 1):
        for n, value in enumerate(row):
            match value:
                case None | "":
                    continue
                case dt.datetime():
                    local = value.astimezone(LOCAL).replace(tzinfo=None)
                    to.sheet.write_datetime(number, n, local, to.look(num_format="dd/mm/yyyy hh:mm:ss"))
                case str():
                    to.sheet.write_string(number, n, value)
                case _:
                    to.sheet.write_number(number, n, value)
    to.sheet.autofilter(0, 0, max(1, number), len(HEADER) - 1)
    to.sheet.freeze_panes(1, 0)
