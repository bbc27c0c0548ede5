"""The rows as a spreadsheet of the language opens them with a double click."""

import csv
import datetime as dt
import io

from collector.report.columns import HEADER, Value, harmless, rows, stamp
from collector.report.model import MonthlyReport
from collector.texts.texts import Language


def as_csv(report: MonthlyReport, language: Language) -> bytes:
    """UTF-8 with a byte-order mark, for Excel. In Vietnamese `;` parts the cells and `,` is the decimal mark; in
    English `,` and `.`. Figures are whole, not rounded; names of columns are those of the contract.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";" if language == "vi" else ",")
    writer.writerow(HEADER)
    for row in rows(report):
        writer.writerow([_cell(value, language) for value in row])
    return ("\ufeff" + text.getvalue()).encode()


def _cell(value: Value, language: Language) -> str:
    match value:
        case None:
            return ""
        case float():
            return repr(value).replace(".", ",") if language == "vi" else repr(value)
        case dt.datetime():
            return stamp(value)
        case str():
            return harmless(value)
        case _:
            return str(value)
