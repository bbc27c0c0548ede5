"""`/openapi.json`: OpenAPI 3.1, made from the table of routes and the types that it names."""

from typing import Any

import msgspec

from collector.web import views
from collector.web.parameters import Json, Parameter, body_type, parameters_of
from collector.web.responses import Content, media_type
from collector.web.routes import OPERATIONS
from collector.web.routing import Operation
from xomnet import __version__

REF = "#/components/schemas/{name}"
STATUSES = {
    200: "Done",
    201: "Created",
    202: "No outcome yet: ask again at Location",
    400: "A parameter or the body can't be used",
    401: "The operator's token is missing or wrong",
    403: "The collector has no operator's token, so nobody may change anything; or a page of another site sent this",
    404: "No such thing",
    409: "Not possible as things are",
    413: "The body is too large",
    415: "The body is not said to be JSON",
    503: "Not now; see Retry-After",
}


def document() -> Json:
    """The whole document."""
    documented = [operation for operation in OPERATIONS if operation.documented]
    _, schemas = msgspec.json.schema_components(_types(documented), ref_template=REF)
    paths: dict[str, Json] = {}
    for operation in documented:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "xomnet",
            "version": __version__,
            "description": "Every hamlet's lines against the provincial targets. All times are RFC 3339 in UTC; "
            "units are in the names of the fields; what is missing is absent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}}},
    }


def _types(operations: list[Operation[Any]]) -> list[type]:
    """What becomes a schema: bodies, answers, and the error."""
    contents = [content for one in operations for contents in one.answers.values() for content in contents]
    bodies = [body for one in operations if (body := body_type(one.parameters)) is not None]
    structs = [content for content in contents if issubclass(content, msgspec.Struct)]
    return list(dict.fromkeys([*structs, *bodies, views.Error]))


def _operation(operation: Operation[Any]) -> Json:
    body = body_type(operation.parameters)
    return {
        "summary": operation.summary,
        **({"security": [{"operator": []}]} if operation.operator else {}),
        "parameters": [_parameter(one) for one in parameters_of(operation.parameters, operation.path)],
        **({} if body is None else {"requestBody": {"required": True, "content": _content((body,))}}),
        "responses": {
            **{str(status): _response(status, contents) for status, contents in operation.answers.items()},
            **{str(status): _response(status, (views.Error,)) for status in operation.error_statuses},
        },
    }


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        **({"description": parameter.description} if parameter.description else {}),
        **({"required": True} if parameter.required else {}),
        "schema": parameter.schema(),
        **({"style": "form", "explode": True} if parameter.repeated else {}),
    }


def _response(status: int, contents: tuple[type[Content], ...]) -> Json:
    seconds = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    headers = {"headers": seconds} if status == 503 else {}
    return {"description": STATUSES[status], **headers, "content": _content(contents)}


def _content(contents: tuple[type[Content], ...]) -> Json:
    return {media_type(content): {"schema": _schema(content)} for content in contents}


def _schema(content: type[Content]) -> Json:
    return {"$ref": REF.format(name=content.__name__)} if issubclass(content, msgspec.Struct) else {"type": "string"}
