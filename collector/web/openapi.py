"""`/openapi.json`: OpenAPI 3.1, its schemas made from the types that `views` answers with."""

from typing import Any, get_args

import msgspec

from collector.alerts.silences import AcknowledgementRequest, MaintenanceRequest, MaintenanceWindow
from collector.web import views
from collector.web.alert_view import AcknowledgedList, AlertsView, MaintenanceList
from collector.web.command_view import CommandRequest, CommandView
from collector.web.completeness_view import CompletenessView
from collector.web.query import MAX_RANGE
from xomnet import __version__
from xomnet.contract.messages import Access
from xomnet.contract.topics import NAME_PATTERN
from xomnet.states import STATES

REF = "#/components/schemas/{name}"
ANSWERS = (
    *(views.Lines, views.Line, views.SpeedHistory, views.LatencyHistory, views.OutageHistory),
    *(views.Agents, views.EventHistory, CompletenessView, views.RejectedView, views.HealthCheck, views.Error),
    *(CommandRequest, CommandView),
    *(AlertsView, MaintenanceList, MaintenanceWindow, MaintenanceRequest, AcknowledgementRequest, AcknowledgedList),
)

Json = dict[str, Any]


def document() -> Json:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(ANSWERS, ref_template=REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "xomnet",
            "version": __version__,
            "description": "Every hamlet's lines against the provincial targets. All times are RFC 3339 in UTC; "
            "units are in the names of the fields; what is missing is absent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {"schemas": schemas, "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}}},
    }


def _paths() -> Json:
    line = [_path_name("agent"), _path_name("line")]
    return {
        "/api/v1/lines": _get(
            "Every registered line, worst first",
            views.Lines,
            [
                _query("area", {"type": "string"}, "The first levels of the area, such as Nam Định/Hải Hậu"),
                _query("access", _any_of(get_args(Access)), "Any of these", explode=True),
                _query("state", _any_of(STATES), "Any of these", explode=True),
                _query("isp", {"type": "array", "items": {"type": "string"}}, "Any of these", explode=True),
            ],
            ("400", "503"),
        ),
        "/api/v1/lines/{agent}/{line}": _get("One line", views.Line, line, ("400", "404", "503")),
        "/api/v1/lines/{agent}/{line}/speed": _get(
            "Download tests, oldest first", views.SpeedHistory, [*line, *_range()], ("400", "404", "503"), csv=True
        ),
        "/api/v1/lines/{agent}/{line}/latency": _get(
            "Latency and loss, oldest first", views.LatencyHistory, [*line, *_range()], ("400", "404", "503"), csv=True
        ),
        "/api/v1/lines/{agent}/{line}/outages": _get(
            "Outages by their beginning, oldest first",
            views.OutageHistory,
            [*line, *_range()],
            ("400", "404", "503"),
            csv=True,
        ),
        "/api/v1/agents": _get("Every unit, registered or heard", views.Agents, [], ("400", "503")),
        "/api/v1/agents/{agent}/events": _get(
            "Events of a unit and its lines, oldest first",
            views.EventHistory,
            [_path_name("agent"), *_range()],
            ("400", "404", "503"),
            csv=True,
        ),
        "/api/v1/completeness": _get(
            "Whether what the units promised is stored, most missing first", CompletenessView, [], ("400", "503")
        ),
        "/api/v1/rejected": _get("Refused messages, newest first", views.RejectedView, [], ("400",)),
        "/api/v1/agents/{agent}/commands": {"post": _ask()},
        "/api/v1/commands/{id}": _get(
            "What has become of a command", CommandView, [_path_name("id", "uuid")], ("400", "404")
        ),
        "/api/v1/alerts": _get("What is open, and the messages that wait or were given up", AlertsView, [], ("400",)),
        "/api/v1/lines/{agent}/{line}/acknowledge": {
            "post": _change(
                "Takes a line's present trouble on", line, {"200": AcknowledgedList}, AcknowledgementRequest
            )
        },
        "/api/v1/maintenance": {
            **_get("When what happens to lines is meant", MaintenanceList, [], ("400",)),
            "post": _change(
                "Says so of a unit, a line, an area, a provider", [], {"201": MaintenanceWindow}, MaintenanceRequest
            ),
        },
        "/api/v1/maintenance/{id}": {
            "delete": _change("It is over now", [_path_name("id", "int64")], {"200": MaintenanceWindow})
        },
        "/healthz": {
            "get": {
                "summary": "Whether the collector works, and which part does not",
                "responses": {
                    "200": _json("All is well", views.HealthCheck),
                    "503": _json("Something is wrong", views.HealthCheck),
                },
            }
        },
        "/metrics": {
            "get": {
                "summary": "Prometheus figures",
                "responses": {
                    "200": {"description": "Text format 0.0.4", "content": {"text/plain": _text()}},
                },
            }
        },
    }


def _ask() -> Json:
    """POST of a command, by the operator."""
    what = "Asks a unit: measure, report, identify, settings"
    asked = _change(what, [_path_name("agent")], {"200": CommandView}, CommandRequest)
    asked["responses"]["202"] = _json("Not answered yet: ask again at Location", CommandView)
    return asked


def _change(
    summary: str,
    parameters: list[Json],
    answers: dict[str, type[msgspec.Struct]],
    body: type[msgspec.Struct] | None = None,
) -> Json:
    """What only the operator may do."""
    words = {
        **{"400": "Not what is wanted", "401": "The token is missing or wrong", "403": "No token is set"},
        **{"404": "No such thing", "409": "Not as things are", "413": "Too large", "415": "Not JSON"},
        **{"429": "Too many wrong tokens", "503": "Not now; see Retry-After"},
    }
    asked = {} if body is None else {"requestBody": {"required": True, **_json("What is wanted", body)}}
    return {
        "summary": summary,
        "security": [{"operator": []}],
        "parameters": parameters,
        **asked,
        "responses": {
            **{status: _json("Done", answer) for status, answer in answers.items()},
            **{status: _json(word, views.Error) for status, word in words.items()},
        },
    }


def _get(
    summary: str, answer: type[views.View], parameters: list[Json], errors: tuple[str, ...], csv: bool = False
) -> Json:
    found = _json("Found", answer)
    if csv:
        found["content"]["text/csv"] = _text()
    words = {"400": "A parameter that can't be used", "404": "No such line or unit", "503": "Not now; see Retry-After"}
    responses = {"200": found, **{status: _json(words[status], views.Error) for status in errors}}
    if "503" in responses:
        seconds = {"description": "Seconds", "schema": {"type": "integer"}}
        responses["503"]["headers"] = {"Retry-After": seconds}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _json(description: str, answer: type[msgspec.Struct]) -> Json:
    schema = {"$ref": REF.format(name=answer.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text() -> Json:
    return {"schema": {"type": "string"}}


def _any_of(words: tuple[str, ...]) -> Json:
    return {"type": "array", "items": {"type": "string", "enum": list(words)}}


def _query(name: str, schema: Json, description: str, explode: bool = False) -> Json:
    form = {"style": "form", "explode": True} if explode else {}
    return {"name": name, "in": "query", "description": description, "schema": schema, **form}


def _path_name(name: str, form: str | None = None) -> Json:
    schema = {"type": "string", **({"pattern": NAME_PATTERN} if form is None else {"format": form})}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _range() -> list[Json]:
    instant = {"type": "string", "format": "date-time"}
    return [
        _query("from", instant, f"Included. By default 24 hours before `to`, at most {MAX_RANGE.days} days"),
        _query("to", instant, "Not included. By default now"),
        _query("format", {"type": "string", "enum": ["json", "csv"], "default": "json"}, "JSON or CSV"),
    ]
