"""The cells of the registry, by column: text -> value, or what to write instead."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from xomnet import area
from xomnet.contract.characters import printable, unfit_characters
from xomnet.contract.messages import Access
from xomnet.contract.topics import is_name

BROKER_NAME_OF_COLLECTOR = "collector"


class BadValue(ValueError):
    """`instead` is what to write."""

    def __init__(self, instead: str) -> None:
        self.instead = instead


def _name(text: str) -> str:
    if not is_name(text):
        raise BadValue("lower-case letters, digits and hyphens, at most 32, such as nd-haihau-0012")
    return text


def _access(text: str) -> Access:
    if text in get_args(Access):
        return text  # type: ignore[return-value]  # one of the words
    raise BadValue(" or ".join(get_args(Access)))


def _words(text: str) -> str:
    if unfit := unfit_characters(text):
        raise BadValue(f"{printable(text)!r} on one line, without the invisible or control character {unfit}")
    if len(text) > 128 or text.endswith("\\"):
        raise BadValue("a name of at most 128 letters on one line, not ending in \\")
    return text


def _area(text: str) -> str:
    parts = [part.strip() for part in area.levels(text)]
    if not all(parts):
        raise BadValue("a path such as Nam Định/Hải Hậu/Hải Minh")
    return area.join_levels(_words(part) for part in parts)


def _interface(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,15}", text):
        raise BadValue("a network interface such as eth0 or wwan0")
    return text


def _date(text: str) -> dt.date:
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            return dt.datetime.strptime(text, form).date()  # noqa: DTZ007  # a day of the calendar, not an instant
        except ValueError:
            continue
    raise BadValue("a date such as 2026-11-01 or 1/11/2026")


def _number(low: float, high: float, example: str) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text.replace(",", "."))
        except ValueError as error:
            raise BadValue(f"a number such as {example}") from error
        if not low <= value <= high:
            raise BadValue(f"a number from {low:g} to {high:g}, such as {example}")
        return value

    return number


def _agent(text: str) -> str:
    if text == BROKER_NAME_OF_COLLECTOR:
        raise BadValue("another name: this is the collector's own name at the broker")
    return _name(text)


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "agent": _agent,
    "line": _name,
    "access": _access,
    "interface": _interface,
    "hamlet_code": _words,
    "hamlet": _words,
    "area": _area,
    "lat": _number(-90, 90, "20.25"),
    "lon": _number(-180, 180, "106.30"),
    "isp": _words,
    "plan_mbps": _number(1, 100_000, "200"),
    "target_mbps": _number(1, 100_000, "150"),
    "from": _date,
}
