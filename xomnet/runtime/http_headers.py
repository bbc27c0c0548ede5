"""Reading the header fields of a request or an answer, whatever they are."""

import http.client
from typing import BinaryIO


def read_headers(stream: BinaryIO) -> http.client.HTTPMessage:
    """Up to the empty line. Raises http.client.HTTPException.

    `http.client` reads them as those of a mail, whose parser fails in many ways over parameters of a Content-Type: it
    compares None with a number where one of them is `*=''` and the next `4*=''`.
    """
    try:
        return http.client.parse_headers(stream)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise http.client.HTTPException(f"not a head: {error}") from error
