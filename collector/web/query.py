"""Reads a request's query: times, ranges and filters. Raises RequestError (400) for everything that can't be used."""

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args
from urllib.parse import quote, urlencode

import msgspec
from starlette.datastructures import QueryParams

from collector.judge.line_states import LineStatus
from collector.web.errors import bad_parameter
from xomnet.contract.messages import Access
from xomnet.contract.values import Instant
from xomnet.states import STATES, State

MAX_RANGE = dt.timedelta(days=31)
DEFAULT_RANGE = dt.timedelta(hours=24)
EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
TIME_FORM = "a time of RFC 3339 such as 2026-11-22T19:00:00+07:00 or 2026-11-22T12:00:00Z"

Facet = Literal["state", "access", "isp", "area"]
FACETS: tuple[Facet, ...] = get_args(Facet)

_LOST_PLUS = re.compile(r" (\d\d:\d\d)$")


def refuse_unknown(query: QueryParams, known: Iterable[str]) -> None:
    """A misspelt parameter must not be taken for "no filter". Raises RequestError."""
    known = tuple(known)
    for name in query:
        if name not in known:
            allowed = "one of " + ", ".join(known) if known else "no parameters"
            raise bad_parameter(name, query[name], allowed)


def one(query: QueryParams, name: str) -> str | None:
    """The value of a parameter that may be given once. Raises RequestError."""
    values = query.getlist(name)
    if len(values) > 1:
        raise bad_parameter(name, ", ".join(values), "one value")
    return values[0] if values else None


def choice(query: QueryParams, name: str, allowed: Sequence[str]) -> str | None:
    """One of a few words, or None where it is not given. Raises RequestError."""
    value = one(query, name)
    if value is not None and value not in allowed:
        raise bad_parameter(name, value, " or ".join(allowed))
    return value


def time_range(query: QueryParams, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """[from, to) in UTC; by default the last 24 hours before `to`, and `to` is now. Raises RequestError."""
    until = instant(query, "to") or now
    since = instant(query, "from") or until - DEFAULT_RANGE
    if since >= until:
        raise bad_parameter("from", since.isoformat(), f"a time before to={until.isoformat()}")
    if until - since > MAX_RANGE:
        raise bad_parameter("from", since.isoformat(), f"at most {MAX_RANGE.days} days before to={until.isoformat()}")
    return since, until


def instant(query: QueryParams, name: str) -> dt.datetime | None:
    """An instant in UTC, or None where it is not given. Raises RequestError."""
    text = one(query, name)
    if text is None:
        return None
    # In a query "+" means a space, so an offset that was not escaped arrives without it.
    mended = _LOST_PLUS.sub(r"+\1", text)
    try:
        when = msgspec.convert(mended, Instant)
        if not EARLIEST + DEFAULT_RANGE <= when <= LATEST:
            raise bad_parameter(name, text, "a time from 1970 to 2200")
        return when.astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise bad_parameter(name, text, TIME_FORM) from error


def levels(area: str) -> tuple[str, ...]:
    """The levels of an area's path, in one Unicode form: macOS types "ị" as two characters."""
    return tuple(part.strip() for part in unicodedata.normalize("NFC", area).split("/") if part.strip())


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines are asked for. Empty means all; several values of one facet mean any of them."""

    state: tuple[State, ...] = ()
    access: tuple[Access, ...] = ()
    isp: tuple[str, ...] = ()
    area: tuple[str, ...] = ()
    """The first levels of the area's path."""

    def matches(self, status: LineStatus, ignoring: Facet | None = None) -> bool:
        """True where the line is asked for; `ignoring` leaves one facet out, to count what its chips would show."""
        row = status.row
        return (
            (ignoring == "state" or not self.state or status.judgement.state in self.state)
            and (ignoring == "access" or not self.access or row.access in self.access)
            and (ignoring == "isp" or not self.isp or unicodedata.normalize("NFC", row.isp) in self.isp)
            and (ignoring == "area" or levels(row.area)[: len(self.area)] == self.area)
        )

    def toggled(self, facet: Literal["state", "access", "isp"], value: str) -> "Filter":
        """The filter after a chip was pressed."""
        chosen = getattr(self, facet)
        rest = tuple(v for v in chosen if v != value)
        return replace(self, **{facet: rest if value in chosen else (*chosen, value)})

    def href(self) -> str:
        """The address of the page with this filter."""
        pairs = [(facet, value) for facet in ("state", "access", "isp") for value in getattr(self, facet)]
        if self.area:
            pairs.append(("area", "/".join(self.area)))
        return "/?" + urlencode(pairs, quote_via=quote, safe="/") if pairs else "/"


def filter_of(query: QueryParams) -> Filter:
    """The filter of a query. An area or ISP that no line has is no error: it matches nothing. Raises RequestError."""
    for name, allowed in (("state", STATES), ("access", get_args(Access))):
        for value in query.getlist(name):
            if value not in allowed:
                raise bad_parameter(name, value, "one of " + ", ".join(allowed))
    return Filter(
        state=cast(tuple[State, ...], tuple(query.getlist("state"))),
        access=cast(tuple[Access, ...], tuple(query.getlist("access"))),
        isp=tuple(unicodedata.normalize("NFC", isp) for isp in query.getlist("isp")),
        area=levels(one(query, "area") or ""),
    )
