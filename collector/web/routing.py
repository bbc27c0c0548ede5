"""The entries of the table of routes, and the route of the application that each becomes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Generic, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from collector.web.context import Context
from collector.web.page_request import PageRequest, page_request
from collector.web.parameters import P, body_type, forbids_unknown, read_parameters
from collector.web.responses import Answer, Content, response_of

Method = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[P]):
    """A method and path of the REST interface: what it takes, what it answers.

    The handler is given `parameters` and never the request, so it can't read what is not declared. A handler that is
    no coroutine runs in a thread; a coroutine only waits for others, and computes nothing itself.
    """

    method: Method
    path: str
    handler: Callable[[Context, P], Answer | Awaitable[Answer]]
    summary: str
    parameters: type[P]
    answers: Mapping[int, tuple[type[Content], ...]]
    """The types of content by status."""
    errors: tuple[int, ...] = ()
    """Statuses of errors beside those that follow from the rest of the entry: see `error_statuses`."""
    operator: bool = False
    """True if it needs the operator's token."""
    documented: bool = True

    @property
    def error_statuses(self) -> tuple[int, ...]:
        """What `{"error": …}` may come with."""
        body = body_type(self.parameters) is not None
        statuses = {*self.errors, *((401, 403, 415) if self.operator else ()), *((400, 413) if body else ())}
        return tuple(sorted({*statuses, 400} if forbids_unknown(self.parameters) else statuses))

    def route(self, context: Context) -> BaseRoute:
        async def endpoint(request: Request) -> Response:
            if self.operator:
                context.operator.require(request)
            given = await read_parameters(self.parameters, self.path, request)
            answer: Answer = await _result(self.handler, context, given)
            if not isinstance(answer.content, self.answers.get(answer.status, ())):
                raise TypeError(f"{self.path}: {answer.status} {type(answer.content).__name__} is not in the table")
            return await run_in_threadpool(response_of, answer)

        return Route(self.path, endpoint, methods=[self.method])


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[P]):
    """A page for people, or what it is drawn with; not part of the REST interface."""

    path: str
    handler: Callable[[Context, P, PageRequest], Response | Awaitable[Response]]
    parameters: type[P]
    """Beside `lang`, which every page takes."""

    def route(self, context: Context) -> BaseRoute:
        async def endpoint(request: Request) -> Response:
            page = page_request(request)
            given = await read_parameters(self.parameters, self.path, request)
            response: Response = await _result(self.handler, context, given, page)
            return response

        return Route(self.path, endpoint, methods=["GET"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFolder:
    """Files that go out as they are."""

    path: str
    folder: Path

    def route(self, _: Context) -> BaseRoute:
        return Mount(self.path, StaticFiles(directory=self.folder))


async def _result(handler: Callable[..., Any], *arguments: Any) -> Any:
    if iscoroutinefunction(handler):
        return await handler(*arguments)
    return await run_in_threadpool(handler, *arguments)
