"""What an HTTP answer of InfluxDB means: done, these points never, not now, or not with these settings."""

import datetime as dt
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from collector.store import StoreRefused, StoreUnavailable

_WRITTEN = frozenset({201, 204})
"""1.8, 2 and 3 say 204, the hosted 3 also 201. 200 is what any web server says, a login page for instance."""

_BAD_POINTS = frozenset({400, 422})
"""1.8 and 3 refuse points with 400, 2 with 422 for a type conflict or a time beyond the retention."""

_NOT_NOW = frozenset({408, 425, 429})


class BatchRefused(Exception):
    """At least one point of the batch will never be taken; the text is the database's reason."""


class BatchTooLarge(Exception):
    """The body is larger than the database, or a proxy before it, takes."""


class Series(msgspec.Struct):
    columns: list[str]
    values: list[list[Any]]
    tags: dict[str, str] = {}
    partial: bool = False


class _Statement(msgspec.Struct):
    series: list[Series] = []
    error: str | None = None
    partial: bool = False


class _Results(msgspec.Struct):
    results: list[_Statement]


class _Trouble(msgspec.Struct):
    """InfluxDB 1 says `error`, 2 and 3 say `message`."""

    error: str | None = None
    message: str | None = None


def check_write(url: str, bucket: str, status: int, headers: Mapping[str, str], body: str) -> None:
    """Returns where everything is written.

    Raises BatchRefused, BatchTooLarge, StoreRefused or StoreUnavailable.
    """
    if status in _WRITTEN:
        return
    word = _word(body)
    if status in _BAD_POINTS and word is not None:
        raise BatchRefused(word)
    if status == 413:
        raise BatchTooLarge(word or "413")
    raise _trouble(url, bucket, status, headers, body)


def check_query(url: str, bucket: str, status: int, headers: Mapping[str, str], body: str) -> list[Series]:
    """The series found. Raises StoreRefused or StoreUnavailable, also where the database gives only a part."""
    if status != 200:
        raise _trouble(url, bucket, status, headers, body)
    try:
        statements = msgspec.json.decode(body, type=_Results).results
    except msgspec.DecodeError as error:
        raise StoreRefused(f"{url} answers /query, but not as InfluxDB does: look at store.url") from error
    for statement in statements:
        if statement.error is not None and "not found" in statement.error:
            raise StoreRefused(f"{url}: {statement.error}: look at store.bucket")
        if statement.error is not None:
            raise StoreUnavailable(f"{url}: {statement.error}")
        if statement.partial or any(series.partial for series in statement.series):
            raise StoreRefused(f"{url} cuts long answers short: set max-row-limit = 0 in the database's settings")
    return [series for statement in statements for series in statement.series]


def _trouble(url: str, bucket: str, status: int, headers: Mapping[str, str], body: str) -> StoreUnavailable:
    word = f"{status} {_word(body) or ''}".rstrip()
    if status >= 500 or status in _NOT_NOW:
        return StoreUnavailable(f"{url}: {word}", _retry_after_s(headers.get("Retry-After")))
    remedies = {
        401: "the database does not know this token: look at store.token_file",
        403: f"this token may not read and write {bucket}: look at store.token_file and at the token's permissions",
        404: f"there is no {bucket} there, or no InfluxDB 1.8 or later: look at store.url and store.bucket",
    }
    if 300 <= status < 400:
        remedy = f"the database is elsewhere: set store.url to what leads to {headers.get('Location', 'it')}"
    else:
        remedy = remedies.get(status, "this is not the answer of an InfluxDB that can be used: look at store.url")
    return StoreRefused(f"{url}: {word}: {remedy}")


def _word(body: str) -> str | None:
    """What the database itself says; None where the answer is not of the database (a proxy's page)."""
    try:
        trouble = msgspec.json.decode(body, type=_Trouble)
    except msgspec.DecodeError:
        return None
    return trouble.error or trouble.message


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from now, of a header in seconds or with a date (RFC 9110, 10.2.3); None where it makes no sense."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())
