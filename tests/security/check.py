"""What must hold of every payload, told by a reader of line protocol that shares nothing with the product."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator

from collector.ingest.validate import Accepted, validate
from collector.store.line_protocol import line_protocol
from collector.store.points import SCHEMAS, TAGS, Point, Value
from collector.store.rows import check_points
from tests.security.cases import case
from tests.support.stored import AGENT
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
DAY = dt.date(2024, 10, 8)
PLACE = ('Xóm "5", a=b\\,c d', "Nam Định/x=1, y=2/'q'", 'O\'Net, "fast"=1')
REGISTRY = Registry(
    [LineRow(AGENT, line, "fixed", *PLACE, from_=dt.date(1, 1, 2)) for line in ("ftth", "4g")],
    Targets([Target(access="fixed", from_=DAY, down_mbps=150)]),
)


class Harm(AssertionError):
    """A payload that did what it should not."""


def judged(number: int, seed: int = 0) -> tuple[str, Point | None]:
    """A code, and the point where it is `stored`. Raises Harm, or whatever the product raises."""
    topic, payload = case(number, seed)
    verdict = validate(topic, payload, REGISTRY, NOW)
    if not isinstance(verdict, Accepted):
        _is(bool(verdict.reason) and bool(verdict.code), "a rejection without a reason")
        _is(len(verdict.reason) < 2000, "a reason without an end")
        return verdict.code, None
    good, rejections = check_points([verdict.point])
    if rejections:
        _is(bool(rejections[0].reason) and rejections[0].reason.isprintable(), "a store's rejection without a reason")
        return "store", None
    (one,) = good
    _is(one.point.measurement in SCHEMAS, "another measurement")
    _is(set(one.point.tags) <= set(TAGS), "another tag")
    text = line_protocol(one)
    expected = (one.point.measurement, dict(one.point.tags), dict(one.fields), one.point.time_ns)
    read = list(lines_of(text))
    _is(read == [expected], f"line protocol says something else: {read!r} for {expected!r}")
    return "stored", one.point


def _is(true: bool, otherwise: str) -> None:
    if not true:
        raise Harm(otherwise)


def run(cases: int, seed: int = 0) -> tuple[Counter[str], list[Point]]:
    """Codes, and what would be stored. Raises Harm with the number of the case."""
    codes: Counter[str] = Counter()
    points: list[Point] = []
    for number in range(cases):
        try:
            code, point = judged(number, seed)
        except Exception as error:
            raise Harm(f"case {number} of seed {seed}: {case(number, seed)!r}") from error
        codes[code] += 1
        if point is not None and len(points) < 2000:
            points.append(point)
    return codes, points


# --- line protocol, as its description has it


def lines_of(text: str) -> Iterator[tuple[str, dict[str, str], dict[str, Value], int]]:
    """Measurement, tags, fields and time of each line; a line feed within quotes ends none."""
    at = 0
    while at < len(text):
        measurement, at = _name(text, at, ", ")
        tags: dict[str, str] = {}
        while text[at] == ",":
            key, at = _name(text, at + 1, "=")
            tags[key], at = _name(text, at + 1, ", ")
        fields: dict[str, Value] = {}
        while text[at] in " ," and (not fields or text[at] == ","):
            key, at = _name(text, at + 1, "=")
            fields[key], at = _value(text, at + 1)
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield measurement, tags, fields, int(text[at + 1 : end])
        at = end + 1


def _name(text: str, at: int, ends: str) -> tuple[str, int]:
    found = []
    while text[at] not in ends:
        if text[at] == "\n":
            raise Harm("a line feed in a name")
        if text[at] == "\\" and text[at + 1] in ',= "nrt':
            found.append({"n": "\n", "r": "\r", "t": "\t"}.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        found.append(text[at])
        at += 1
    return "".join(found), at


def _value(text: str, at: int) -> tuple[Value, int]:
    if text[at] == '"':
        found = []
        at += 1
        while text[at] != '"':
            if text[at] == "\\" and text[at + 1] in '"\\':
                at += 1
            found.append(text[at])
            at += 1
        return "".join(found), at + 1
    end = min(n for n in (text.find(",", at), text.find(" ", at), len(text)) if n >= 0)
    word = text[at:end]
    if word in ("True", "False", "true", "false", "t", "f"):
        return word[0] in "Tt", end
    return (int(word[:-1]) if word.endswith("i") else float(word)), end
