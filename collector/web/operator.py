"""Who may change something: the operator, by a token. Reading needs none."""

import hmac
import time
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

from collector.throttle import TokenThrottle
from collector.web.errors import RequestError
from xomnet.runtime.secrets import SecretError, read_secret

SETTING = "web.operator_token_file"
SHORTEST_TOKEN = 16


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


class OperatorAccess:
    """Lets the holder of the token change something. Without a token nobody may."""

    def __init__(self, token: str | None) -> None:
        self._token, self._wrong_tokens = token, TokenThrottle()

    @property
    def enabled(self) -> bool:
        return self._token is not None

    def require(self, request: Request) -> None:
        """Raises unless the request has the token and JSON, which no page of another site can make a browser send."""
        if self._token is None:
            raise RequestError(403, "nobody may change anything here yet", SETTING, "the path of a file with a token")
        host, now = request.client.host if request.client else "", time.monotonic()
        if wait_s := self._wrong_tokens.wait_s(host, now):
            raise RequestError(429, "too many wrong tokens", "Authorization", "the same request, later", wait_s)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            self._wrong_tokens.note(host, now)
            detail = "the operator's token is missing or wrong: Authorization: Bearer TOKEN"
            raise HTTPException(401, detail, {"WWW-Authenticate": 'Bearer realm="xomnet"'})
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError(415, "the body is not said to be JSON", "Content-Type", "application/json")
