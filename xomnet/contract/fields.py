"""How a measured field is declared: once, beside its type, with its label and its place on the page.

    connect_ms: Annotated[Ms | None, Field("Connect time", "Thời gian kết nối")] = None

The end of its name is its unit. REST and CSV carry every field. Database columns, stored rows, REST, CSV and the page
take their fields from the declaration (`flat_fields`); guides and dashboards are checked against it.
"""

from dataclasses import dataclass
from typing import Literal

Place = Literal["column", "details", "raw"]
"""Where the page of a line shows a field. `column`: in the table of recent tests, and among all figures of a test.
`details`: among all figures of one result. `raw`, raw material: there too, but it is bulky, so it is not read from the
database where many results are shown at once.
"""

UNITS = {
    "mbps": "Mb/s",
    "ms": "ms",
    "s": "s",
    "bytes": "bytes",
    "percent": "%",
    "dbm": "dBm",
    "db": "dB",
    "c": "°C",
}
"""The end of a field's name -> its unit as it is written."""


@dataclass(frozen=True, slots=True)
class Field:
    """The label of a measured field in both languages, and its place."""

    en: str
    vi: str
    shown: Place = "details"
