"""The report on pages: weasyprint prints the HTML."""

from typing import Any

from collector.report.as_html import as_html
from collector.report.blocks import Document


def as_pdf(document: Document) -> bytes:
    """A4, the annex across. Raises ImportError where weasyprint is missing, OSError where its system library is."""
    import weasyprint  # noqa: PLC0415  # slow to load, and the other formats need none of it

    page = weasyprint.HTML(string=as_html(document).decode(), url_fetcher=_nothing)
    return bytes(page.write_pdf())


def _nothing(url: str, *_: Any, **__: Any) -> Any:
    """The page has all within it: whatever else it may name is not fetched."""
    raise ValueError(f"not fetched: {url}")
