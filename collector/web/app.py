"""The web application: routes, headers, and how errors are said."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.services import Services
from collector.store.errors import StoreUnavailable
from collector.throttle import TokenThrottle
from collector.web.alerts import AlertApi
from collector.web.api import Api, problem
from collector.web.commands import CommandApi
from collector.web.errors import RequestError
from collector.web.pages import Pages
from collector.web.reads import StoreReads
from xomnet.runtime.log import Log

log = Log("collector.web")

STATIC = Path(__file__).parent / "static"

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


def create_app(services: Services, operator_token: str | None = None) -> Starlette:
    """The page and the REST interface over one collector. Without a token nobody may change anything."""
    reads = StoreReads(services.store)
    api, pages = Api(services, reads), Pages(services, reads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        reads.close()

    def say(request: Request, error: RequestError) -> Response:
        program = request.url.path.startswith("/api/") or request.url.path in {"/openapi.json", "/healthz", "/metrics"}
        return problem(error) if program else pages.problem(request, error)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return say(request, error)

    async def store_away(request: Request, error: Exception) -> Response:
        assert isinstance(error, StoreUnavailable)
        log.warning("store away", path=request.url.path, reason=str(error))
        retry = 5.0 if error.retry_after_s is None else error.retry_after_s
        return say(
            request, RequestError(503, f"the database is away: {error}", "store", "the same request, later", retry)
        )

    async def book_away(request: Request, error: Exception) -> Response:
        """Of the alert book; a store translates what its own files say."""
        log.warning("alert book away", path=request.url.path, reason=str(error))
        what = f"the alert book can't be read or written: {error}"
        return say(request, RequestError(503, what, "state_dir", "the same request, later", 10))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = say(request, RequestError(error.status_code, error.detail, request.url.path))
        answer.headers.update(error.headers or {})
        return answer

    async def bug(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, error=type(error).__name__)
        answer = say(request, RequestError(500, "a fault of the program; its log says more", "server"))
        answer.headers.update(SECURITY_HEADERS)
        return answer

    app = Starlette(
        routes=[
            *api.routes(),
            *CommandApi(services).routes(),
            *AlertApi(services).routes(),
            *pages.routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        # Outermost first; Starlette answers a bug outside of these, so `bug` adds the headers itself.
        middleware=[Middleware(SecurityHeaders), Middleware(GZipMiddleware, minimum_size=2000)],
        exception_handlers={
            RequestError: refused,
            StoreUnavailable: store_away,
            sqlite3.Error: book_away,
            HTTPException: http_error,
            Exception: bug,
        },
        lifespan=lifespan,
    )
    app.state.operator_token, app.state.wrong_tokens = operator_token, TokenThrottle()
    return app
