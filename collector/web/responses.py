"""What a REST handler answers, and the HTTP response that becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from collector.web import views
from collector.web.csv_export import CsvFile
from collector.web.errors import RequestError


@dataclass(frozen=True, slots=True)
class MetricsText:
    """Prometheus' text format."""

    text: bytes


Content = msgspec.Struct | msgspec.Raw | CsvFile | MetricsText
"""A struct goes out as JSON; `Raw` is JSON already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers; the table of routes declares status and type of content."""

    content: Content
    status: int = 200
    headers: Mapping[str, str] | None = None


def media_type(content: type[Content]) -> str:
    """The media type of a type of content, without its parameters."""
    if issubclass(content, CsvFile):
        return "text/csv"
    return "text/plain" if issubclass(content, MetricsText) else "application/json"


def response_of(answer: Answer) -> Response:
    match answer.content:
        case MetricsText(text):
            return Response(text, answer.status, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        case CsvFile(name, text):
            headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
            return Response(text, answer.status, headers, "text/csv; charset=utf-8")
        case content:
            headers = {"Cache-Control": "no-store", **(answer.headers or {})}
            return Response(msgspec.json.encode(content), answer.status, headers, "application/json")


def error_response(error: RequestError) -> Response:
    """`{"error": {"what", "where", "allowed"}}` with its status."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return response_of(Answer(views.Error(error=views.StatusProblem.of(error)), error.status, headers))
