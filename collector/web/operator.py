"""Who may change something: the operator, by a token. Reading needs none."""

import hmac
import time
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from collector.throttle import TokenThrottle
from collector.web.errors import RequestError
from xomnet.runtime.secrets import SecretError, read_secret

SETTING = "web.operator_token_file"
SHORTEST_TOKEN = 16
LARGEST_BODY = 16_384
MORE = "see /openapi.json"

T = TypeVar("T")


def read_token(path: Path | None) -> str | None:
    """The operator's token; None where the settings name no file, then nobody may change anything.

    Raises SecretError where the file is missing, open to others, or holds no token worth the name.
    """
    if path is None:
        return None
    token = read_secret(path)
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise SecretError(
            f"{SETTING}: {path}: shorter than {SHORTEST_TOKEN} ASCII letters, or more than a line; "
            f"run: openssl rand -hex 32 > {path}"
        )
    return token


def require_operator(request: Request) -> None:
    """Raises unless the request carries the token and JSON, which no page of another site can make a browser send."""
    token: str | None = request.app.state.operator_token
    if token is None:
        raise RequestError(403, "nobody may change anything here yet", SETTING, "the path of a file with a token")
    wrong: TokenThrottle = request.app.state.wrong_tokens
    host, now = request.client.host if request.client else "", time.monotonic()
    if wait_s := wrong.wait_s(host, now):
        raise RequestError(429, "too many wrong tokens", "Authorization", "the same request, later", wait_s)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        wrong.note(host, now)
        said = "the operator's token is missing or wrong: Authorization: Bearer TOKEN"
        raise HTTPException(401, said, {"WWW-Authenticate": 'Bearer realm="xomnet"'})
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "the body is not said to be JSON", "Content-Type", "application/json")


async def body_of(request: Request, type_: type[T]) -> T:
    """The body as a value. Raises RequestError where it is too large or something else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise RequestError(413, f"the body is over {LARGEST_BODY} bytes", "body", MORE)
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, str(error), "body", MORE) from error
