"""Results as CSV: a row for each result, a column for each field of its view."""

import csv
import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class CsvFile:
    name: str
    text: str


def csv_file(name: str, view: type[msgspec.Struct], results: Sequence[msgspec.Struct]) -> CsvFile:
    """A file of results: absent is empty, list items have spaces between them. The byte-order mark is for Excel."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(view.__struct_fields__)
    for result in results:
        writer.writerow([_cell(getattr(result, field)) for field in view.__struct_fields__])
    return CsvFile(name, "\ufeff" + text.getvalue())


def _cell(value: Any) -> Any:
    match value:
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bool():
            return str(value).lower()
        case tuple():
            return _cell(" ".join(map(str, value)))
        case str() if value[:1] in "=+-@\t\r":
            return "'" + value if value else value  # a spreadsheet must not take a server's word for a formula
        case _:
            return value
