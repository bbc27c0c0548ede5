"""The parameters of a route, declared as a type: read from a request, refused if they can't be used, described."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from starlette.datastructures import QueryParams
from starlette.requests import Request

from collector.web.errors import RequestError, bad_parameter, no_such_path
from xomnet.contract.topics import NAME_PATTERN
from xomnet.contract.values import Instant

EARLIEST = dt.datetime(1970, 1, 2, tzinfo=dt.UTC)
"""A day later than it is said: what is read by default begins a day before."""
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
TIME_FORM = "a time of RFC 3339 such as 2026-11-22T19:00:00+07:00 or 2026-11-22T12:00:00Z"
BODY = "body"
BODY_FORM = "see /openapi.json"
LARGEST_BODY = 16_384

_LOST_PLUS = re.compile(r" (\d\d:\d\d)$")

AgentName = Annotated[str, Meta(description="The unit", extra_json_schema={"pattern": NAME_PATTERN})]
LineName = Annotated[str, Meta(description="The line at the unit", extra_json_schema={"pattern": NAME_PATTERN})]
"""The pattern is only described: a name of another form is not in the registry, and the answer says so."""


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a handler is given of a request; a subclass declares it for a route.

    A field that the route's path names is a path parameter; a field `body` is the JSON body; every other field is a
    query parameter. `X | None` may be absent; `tuple[X, ...]` may be given several times. A subclass that does not
    forbid unknown fields ignores the query parameters that it does not declare.
    """


class NoParameters(Parameters, frozen=True, kw_only=True):
    """Every query parameter is refused: a misspelt name must not be taken for "no filter"."""


class AnyParameters(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Query parameters are ignored: monitoring adds its own."""


class LineParameters(Parameters, frozen=True, kw_only=True):
    agent: AgentName
    line: LineName


P = TypeVar("P", bound=Parameters)
Place = Literal["path", "query"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter."""

    name: str
    field: str
    place: Place
    type: Any
    """Of one value: neither a tuple nor None."""
    repeated: bool
    default: Any
    description: str | None

    @property
    def required(self) -> bool:
        return self.default is NODEFAULT

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal."""
        bare = _bare(self.type)
        return get_args(bare) if get_origin(bare) is Literal else ()

    def value(self, texts: Sequence[str]) -> Any:
        """What was given. Raises RequestError."""
        if self.repeated:
            return tuple(self._convert(text) for text in texts)
        if len(texts) > 1:
            raise bad_parameter(self.name, ", ".join(texts), "one value")
        return self._convert(texts[0])

    def _convert(self, text: str) -> Any:
        if self.choices:
            by_text = {str(choice): choice for choice in self.choices}
            if text not in by_text:
                allowed = "one of " + ", ".join(by_text) if self.repeated else " or ".join(by_text)
                raise bad_parameter(self.name, text, allowed)
            return by_text[text]
        if _bare(self.type) is dt.datetime:
            return _instant(self.name, text)
        try:
            return _value_of(text, self.type)
        except msgspec.ValidationError as error:
            raise bad_parameter(self.name, text, str(error)) from error

    def schema(self) -> Json:
        """The JSON Schema of the parameter."""
        if self.choices and all(isinstance(choice, str) for choice in self.choices):
            value: Json = {"type": "string", "enum": list(self.choices)}
        else:
            value = msgspec.json.schema(self.type)
            value.pop("description", None)
        if self.repeated:
            return {"type": "array", "items": value}
        return value if self.required or self.default is None else {**value, "default": self.default}


def parameters_of(type_: type[Parameters], path: str) -> tuple[Parameter, ...]:
    """The parameters that a type declares for a path: those of the path, then those of the query."""
    declared = (_parameter(field, path) for field in msgspec.structs.fields(type_) if field.name != BODY)
    return tuple(sorted(declared, key=lambda one: one.place == "query"))


def body_type(type_: type[Parameters]) -> Any:
    """The type of the JSON body; None if the route takes no body."""
    return next((field.type for field in msgspec.structs.fields(type_) if field.name == BODY), None)


def forbids_unknown(type_: type[Parameters]) -> bool:
    """True if a query parameter that the type does not declare is refused."""
    return type_.__struct_config__.forbid_unknown_fields


async def read_parameters(type_: type[P], path: str, request: Request) -> P:
    """What a request gives to the route of a path. Raises RequestError."""
    values, body = read_values(type_, path, request), body_type(type_)
    if body is not None:
        values[BODY] = await _read_body(request, body)
    return type_(**values)


def read_values(type_: type[Parameters], path: str, request: Request) -> dict[str, Any]:
    """The values of path and query, by field. Raises RequestError: 404 for the path, 400 for the query."""
    declared, query = parameters_of(type_, path), request.query_params
    if forbids_unknown(type_):
        _refuse_unknown(query, [parameter.name for parameter in declared if parameter.place == "query"])
    values = {}
    for parameter in declared:
        if parameter.place == "path":
            values[parameter.field] = _path_value(parameter, request)
        elif texts := query.getlist(parameter.name):
            values[parameter.field] = parameter.value(texts)
    return values


def _path_value(parameter: Parameter, request: Request) -> Any:
    try:
        return _value_of(request.path_params[parameter.name], parameter.type)
    except msgspec.ValidationError as error:
        raise no_such_path(request.url.path) from error


def _refuse_unknown(query: QueryParams, known: Sequence[str]) -> None:
    for name in query:
        if name not in known:
            raise bad_parameter(name, query[name], "one of " + ", ".join(known) if known else "no parameters")


async def _read_body(request: Request, type_: Any) -> Any:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise RequestError(413, f"the body is over {LARGEST_BODY} bytes", BODY, BODY_FORM)
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, str(error), BODY, BODY_FORM) from error


def _parameter(field: msgspec.structs.FieldInfo, path: str) -> Parameter:
    name, value = field.encode_name, _without_none(field.type)
    repeated = get_origin(_bare(value)) is tuple
    notes = [note.description for note in getattr(field.type, "__metadata__", ()) if isinstance(note, Meta)]
    return Parameter(
        name=name,
        field=field.name,
        place="path" if f"{{{name}}}" in path else "query",
        type=get_args(_bare(value))[0] if repeated else value,
        repeated=repeated,
        default=field.default,
        description=next((note for note in reversed(notes) if note), None),
    )


def _bare(type_: Any) -> Any:
    """A type without what is noted beside it."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def _without_none(type_: Any) -> Any:
    if get_origin(type_) is Annotated:
        inner, *notes = get_args(type_)
        return Annotated[_without_none(inner), *notes]
    if get_origin(type_) in (Union, UnionType):
        return Union[tuple(one for one in get_args(type_) if one is not NoneType)]  # noqa: UP007  # of a tuple
    return type_


def _value_of(text: str, type_: Any) -> Any:
    """An integer is ASCII digits alone: msgspec would take 1e2 and 1.0 for some, too. Raises ValidationError."""
    is_refused = _bare(type_) is int and not (text.isascii() and text.isdigit())
    return msgspec.convert(text, type_, strict=is_refused)  # strictly, no text is an integer


def _instant(name: str, text: str) -> dt.datetime:
    """A time in UTC. In a query "+" means a space, so an offset that was not escaped arrives without its plus."""
    try:
        when = msgspec.convert(_LOST_PLUS.sub(r"+\1", text), Instant)
        if not EARLIEST <= when <= LATEST:
            raise bad_parameter(name, text, "a time from 1970 to 2200")
        return when.astimezone(dt.UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise bad_parameter(name, text, TIME_FORM) from error
