"""Parameters of a route: declared as a type, read from a request, described for OpenAPI."""

import asyncio
import datetime as dt
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta
from starlette.requests import Request

from collector.web.errors import RequestError
from collector.web.parameters import AnyParameters, Parameters, parameters_of, read_parameters
from collector.web.routes import OPERATIONS, PAGES
from xomnet.contract.values import Instant

PATH = "/shelves/{shelf}"


class Shelf(Parameters, frozen=True, kw_only=True, rename={"from_": "from"}):
    shelf: Annotated[int, Meta(ge=1, le=99, description="Its number")]
    colour: tuple[Literal["red", "blue"], ...] = ()
    size: Annotated[Annotated[int, Meta(ge=1, le=9)] | None, Meta(description="In litres")] = None
    sort: Literal["asc", "desc"] = "asc"
    from_: Instant | None = None
    word: str | None = None


class OpenShelf(Shelf, frozen=True, kw_only=True, forbid_unknown_fields=False):
    pass


def read(query: str, type_: type[Shelf] = Shelf, shelf: str = "7") -> Shelf:
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/shelves/{shelf}",
        "path_params": {"shelf": shelf},
        "query_string": query.encode(),
        "headers": [(b"host", b"collector")],
    }
    return asyncio.run(read_parameters(type_, PATH, Request(scope)))


def refusal(query: str, shelf: str = "7") -> RequestError:
    with pytest.raises(RequestError) as refused:
        read(query, shelf=shelf)
    return refused.value


def test_values_have_the_declared_types_and_defaults() -> None:
    assert read("") == Shelf(shelf=7)
    given = read("colour=red&colour=blue&size=3&sort=desc&from=2026-11-22T19:00:00%2B07:00&word=null")
    noon = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    assert given == Shelf(shelf=7, colour=("red", "blue"), size=3, sort="desc", from_=noon, word="null")
    assert given.from_ is not None
    assert given.from_.tzinfo == dt.UTC


@pytest.mark.parametrize(
    ("query", "name", "found", "allowed"),
    [
        ("colour=red&colour=green", "colour", "green", "one of red, blue"),
        ("sort=up", "sort", "up", "asc or desc"),
        ("sort=asc&sort=desc", "sort", "asc, desc", "one value"),
        ("size=10", "size", "10", "Expected `int` <= 9"),
        ("size=many", "size", "many", "Expected `int`, got `str`"),
        ("size=null", "size", "null", "Expected `int`, got `str`"),
        ("size=1e0", "size", "1e0", "Expected `int`, got `str`"),
        ("size=1.0", "size", "1.0", "Expected `int`, got `str`"),
        ("size=%201", "size", " 1", "Expected `int`, got `str`"),
        ("size=%D9%A1", "size", "١", "Expected `int`, got `str`"),
        ("from=yesterday", "from", "yesterday", "a time of RFC 3339 such as 2026-11-22T19:00:00+07:00 or"),
        ("from=1970-01-01T00:00:00Z", "from", "1970-01-01T00:00:00Z", "a time from 1970 to 2200"),
        ("colours=red", "colours", "red", "one of colour, size, sort, from, word"),
        ("shelf=8", "shelf", "8", "one of colour, size, sort, from, word"),
        ("from_=x", "from_", "x", "one of colour, size, sort, from, word"),
    ],
)
def test_a_refusal_names_the_parameter_what_was_found_and_what_is_allowed(
    query: str, name: str, found: str, allowed: str
) -> None:
    error = refusal(query)
    assert (error.status, error.where, error.what) == (400, f"query parameter {name}", f"found {found!r}")
    assert (error.allowed or "").startswith(allowed)


@pytest.mark.parametrize(
    "shelf", ["0", "first", str(2**70), "1e1", "1.0", "+7", "-7", " 7", "7 ", "7_0", "0x7", "٧", "true", "9" * 5000, ""]
)
def test_a_path_of_another_form_does_not_exist(shelf: str) -> None:
    error = refusal("", shelf=shelf)
    assert (error.status, error.what, error.where) == (404, "Not Found", f"/shelves/{shelf}")


def test_what_is_not_declared_is_ignored_by_a_type_that_says_so() -> None:
    assert read("size=3&nonsense=1", OpenShelf) == OpenShelf(shelf=7, size=3)


def test_a_parameter_is_described_by_what_it_takes() -> None:
    described = {
        one.name: (one.place, one.required, one.description, one.schema()) for one in parameters_of(Shelf, PATH)
    }
    assert described == {
        "shelf": ("path", True, "Its number", {"type": "integer", "minimum": 1, "maximum": 99}),
        "colour": ("query", False, None, {"type": "array", "items": {"type": "string", "enum": ["red", "blue"]}}),
        "size": ("query", False, "In litres", {"type": "integer", "minimum": 1, "maximum": 9}),
        "sort": ("query", False, None, {"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
        "from": ("query", False, None, {"type": "string", "format": "date-time"}),
        "word": ("query", False, None, {"type": "string"}),
    }
    for _, _, _, schema in described.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("entry", [*OPERATIONS, *PAGES], ids=lambda entry: entry.path)
def test_each_part_of_a_path_is_declared(entry: Any) -> None:
    in_path = [one.name for one in parameters_of(entry.parameters, entry.path) if one.place == "path"]
    assert sorted(in_path) == sorted(part[1:-1] for part in entry.path.split("/") if part.startswith("{"))
    assert issubclass(entry.parameters, Parameters)
    assert parameters_of(AnyParameters, entry.path) == ()
