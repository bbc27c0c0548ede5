"""Reading the header fields of a request or an answer, whatever they are."""

import http.client
from typing import BinaryIO

STUMBLES = (TypeError, ValueError, LookupError, AttributeError)
"""What the library's parser of mail, which reads the header fields, raises over some of them: it compares None with a
number where one parameter of a Content-Type is `a*=''x` and another `a*4*=''x`.
"""


def read_headers(stream: BinaryIO) -> http.client.HTTPMessage:
    """Up to the empty line. Raises http.client.HTTPException."""
    try:
        return http.client.parse_headers(stream)
    except STUMBLES as error:
        raise http.client.HTTPException(f"not a head: {error}") from error
