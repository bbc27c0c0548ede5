"""Captive portals and middleboxes: signs that an answer is not the measurement server's test data. Pure.

A portal redirects, or answers with a page of its own. A middlebox that compresses would make the figure too high, so
the data must be random. No byte of the answer gets into a detail: whatever listens at the address may have sent it.
"""

import zlib
from http.client import HTTPMessage

from agent.errors import MeasurementError

_PAGE_STARTS = (b"<!doctype", b"<html", b"<?xml")
_MIN_BYTES = 1024
"""Fewer bytes may look compressible by chance."""
_COMPRESSIBLE = 0.95


def portal_error(detail: str) -> MeasurementError:
    """The error of a test whose answer comes from a portal."""
    return MeasurementError("portal", detail, ("portal",))


def check_redirect(status: int, headers: HTTPMessage) -> None:
    """Raises MeasurementError (`portal`) if the answer is a redirect: a measurement server does not redirect."""
    if 300 <= status < 400:
        raise portal_error(f"HTTP {status}: a redirect instead of test data")


def check_content_type(headers: HTTPMessage) -> None:
    """Raises MeasurementError (`portal`) if the answer says that it is a text."""
    if headers.get_content_maintype() == "text" and headers.get("Content-Type"):
        raise portal_error("a text instead of test data")


def check_payload(block: bytes) -> None:
    """Checks the first bytes of the data.

    Raises MeasurementError: `portal` if they are a web page, `payload_mismatch` if they can be compressed.
    """
    if block[:256].lstrip().lower().startswith(_PAGE_STARTS):
        raise portal_error("a web page instead of test data")
    if len(block) >= _MIN_BYTES and len(zlib.compress(block, 1)) < _COMPRESSIBLE * len(block):
        raise MeasurementError(
            "payload_mismatch", "the bytes can be compressed: not the test data", ("payload_mismatch",)
        )
