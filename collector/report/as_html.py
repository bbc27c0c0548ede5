"""The report as one file of HTML: for a browser, and what the PDF is printed from."""

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from collector.report.blocks import Bars, Block, Document, Points, Table
from collector.report.chart import svg

TEMPLATES = Path(__file__).parent / "templates"


def as_html(document: Document) -> bytes:
    """UTF-8, with its style and charts inside: nothing is fetched."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(svg=svg, join_words=join_words)
    environment.tests.update(table=_is(Table), points=_is(Points), bars=_is(Bars))
    environment.globals["widths"] = widths
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704  # our own file
    return environment.get_template("report.html").render(d=document, style=style).encode()


def join_words(text: str) -> str:
    """A number stays beside its unit, and a unit whole, where lines break."""
    return re.sub(r"(?<=\d) (?=%|Mb/s|h\b|giờ|phút|min\b)", "\N{NO-BREAK SPACE}", text).replace(
        "Mb/s", "Mb/\N{WORD JOINER}s"
    )


def widths(table: Table) -> list[str]:
    """Of the columns, in percent."""
    whole = sum(column.width for column in table.columns)
    return [f"{100 * column.width / whole:.2f}%" for column in table.columns]


def _is(kind: type[Block]) -> Callable[[Block], bool]:
    return lambda block: isinstance(block, kind)
