"""The web application: the table of routes, headers on every answer, and the answer to each kind of error."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.services import Services
from collector.store.errors import StoreUnavailable
from collector.web.context import Context
from collector.web.errors import RequestError
from collector.web.openapi import document
from collector.web.operator import OperatorAccess
from collector.web.page_request import page_request_for_error
from collector.web.pages import show_error
from collector.web.responses import error_response
from collector.web.routes import OPERATIONS, ROUTES
from collector.web.store_reads import StoreReads
from xomnet.runtime.clock import UtcClock, utc_now
from xomnet.runtime.log import Log

log = Log("collector.web")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class SecurityHeaders:
    """Puts the headers on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def create_app(services: Services, operator_token: str | None = None, now: UtcClock = utc_now) -> Starlette:
    """The pages and the REST interface over one collector. Without a token nobody may change anything."""
    reads = StoreReads(services.store)
    context = Context(services, reads, OperatorAccess(operator_token), msgspec.json.encode(document()), now)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        reads.close()

    return Starlette(
        routes=[entry.route(context) for entry in ROUTES],
        # Outermost first; Starlette answers a fault outside of these, so `_answer_fault` adds the headers itself.
        middleware=[Middleware(SecurityHeaders), Middleware(GZipMiddleware, minimum_size=2000)],
        exception_handlers={
            RequestError: _answer_request_error,
            StoreUnavailable: _answer_store_unavailable,
            sqlite3.Error: _answer_alerts_unavailable,
            HTTPException: _answer_http_error,
            Exception: _answer_fault,
        },
        lifespan=lifespan,
    )


def _error_response(request: Request, error: RequestError) -> Response:
    """JSON for programs, a page for people."""
    if request.url.path.startswith("/api/") or request.url.path in {operation.path for operation in OPERATIONS}:
        return error_response(error)
    return show_error(page_request_for_error(request), error)


async def _answer_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error_response(request, error)


async def _answer_store_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreUnavailable)
    log.warning("store away", path=request.url.path, reason=str(error))
    retry = 5.0 if error.retry_after_s is None else error.retry_after_s
    return _error_response(
        request, RequestError(503, f"the database is away: {error}", "store", "the same request, later", retry)
    )


async def _answer_alerts_unavailable(request: Request, error: Exception) -> Response:
    """Of the alert book; a store translates the errors of its own files."""
    log.warning("alert book away", path=request.url.path, reason=str(error))
    what = f"the alert book can't be read or written: {error}"
    return _error_response(request, RequestError(503, what, "state_dir", "the same request, later", 10))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error_response(request, RequestError(error.status_code, error.detail, request.url.path))
    response.headers.update(error.headers or {})
    if error.status_code == 405:  # Starlette names the methods of one route; a path may have several
        response.headers["Allow"] = ", ".join(sorted(_allowed(request)))
    return response


def _allowed(request: Request) -> set[str]:
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _answer_fault(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, error=type(error).__name__)
    response = _error_response(request, RequestError(500, "a fault of the program; its log says more", "server"))
    response.headers.update(SECURITY_HEADERS)
    return response
