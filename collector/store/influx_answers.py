"""What an HTTP answer of InfluxDB means: done, these points never, not now, or not with these settings."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from collector.store.errors import StoreRefused, StoreUnavailable


class WriteTarget(NamedTuple):
    """A bucket of InfluxDB 2 or 3, or a database of 1.8."""

    name: str
    setting: str
    """The key that names it."""


_WRITTEN = frozenset({201, 204})
"""1.8, 2 and 3 say 204, the hosted 3 also 201. 200 is what any web server says, a login page for instance."""

_BAD_POINTS = frozenset({400, 422})
"""1.8 and 3 refuse points with 400, 2 with 422 for a type conflict or a time beyond the retention."""

_NOT_NOW = frozenset({408, 425, 429})

_REMEDIES = {
    "not found": "look at {bucket.setting}, and whether the token may read it (store.token_file)",
    "default retention policy not set": "a DBRP mapping of this name leads to another bucket: delete it, or make one to"
    " {bucket.setting} the default",
}
"""What a statement's error says -> what to do. InfluxDB 2 shows a bucket that a token may not read as not found."""


class BatchRefused(Exception):
    """At least one point of the batch will never be taken; the text is the database's reason."""


class BatchTooLarge(Exception):
    """The body is larger than the database, or a proxy before it, takes."""


class Series(msgspec.Struct):
    columns: list[str]
    values: list[list[Any]]
    name: str = ""
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


def check_write(url: str, bucket: WriteTarget, status: int, headers: Mapping[str, str], body: str) -> None:
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


def check_query(url: str, bucket: WriteTarget, status: int, headers: Mapping[str, str], body: str) -> list[Series]:
    """The series found. Raises StoreRefused or StoreUnavailable, also where the database gives only a part."""
    if status != 200:
        raise _trouble(url, bucket, status, headers, body)
    try:
        statements = msgspec.json.decode(body, type=_Results).results
    except msgspec.DecodeError as error:
        raise StoreRefused(f"{url} answers /query, but not as InfluxDB does: look at store.url") from error
    for statement in statements:
        if statement.error is not None:
            raise _error(url, bucket, statement.error)
        if statement.partial or any(series.partial for series in statement.series):
            raise StoreRefused(f"{url} cuts long answers short: set max-row-limit = 0 in the database's settings")
    return [series for statement in statements for series in statement.series]


def _error(url: str, bucket: WriteTarget, said: str) -> StoreUnavailable:
    for words, remedy in _REMEDIES.items():
        if words in said:
            return StoreRefused(f"{url}: {said}: {remedy.format(bucket=bucket)}")
    return StoreUnavailable(f"{url}: {said}")


def _trouble(url: str, bucket: WriteTarget, status: int, headers: Mapping[str, str], body: str) -> StoreUnavailable:
    word, (name, setting) = f"{status} {_word(body) or ''}".rstrip(), bucket
    if status >= 500 or status in _NOT_NOW:
        return StoreUnavailable(f"{url}: {word}", _retry_after_s(headers))
    remedies = {
        401: "the database does not know this token: look at store.token_file",
        403: f"this token may not read and write {name}: look at store.token_file and at the token's permissions",
        404: f"there is no {name} there, or no InfluxDB 1.8 or later: look at store.url, store.org and {setting}",
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


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, of a header in seconds or with a date (RFC 9110, 10.2.3), counted from the answer's own `Date`: both are
    of the database's clock. None where it makes no sense.
    """
    value = headers.get("Retry-After", "")
    if value.strip().isdigit():
        return float(value)
    try:
        until, answered = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    if until.tzinfo is None or answered.tzinfo is None:
        return None
    return max(0.0, (until - answered).total_seconds())
