"""Who may change something: the operator, by a token. Reading needs none."""

import hmac
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

from collector.web.errors import RequestError
from xomnet.broker import SecretError, read_secret

SETTING = "web.operator_token_file"
SHORTEST_TOKEN = 16


def read_token(path: Path | None) -> str | None:
    """The operator's token; None where the settings name no file, then nobody may change anything.

    Raises SecretError where the file is missing, open to others, or holds no token worth the name.
    """
    if path is None:
        return None
    token = read_secret(path)
    if len(token) < SHORTEST_TOKEN:
        raise SecretError(
            f"{SETTING}: {path}: shorter than {SHORTEST_TOKEN} letters; run: openssl rand -hex 32 > {path}"
        )
    return token


def require_operator(request: Request) -> None:
    """Raises unless the request carries the token and JSON, which no page of another site can make a browser send."""
    token: str | None = request.app.state.operator_token
    if token is None:
        raise RequestError(403, "nobody may change anything here yet", SETTING, "the path of a file with a token")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        said = "the operator's token is missing or wrong: Authorization: Bearer TOKEN"
        raise HTTPException(401, said, {"WWW-Authenticate": 'Bearer realm="xomnet"'})
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "the body is not said to be JSON", "Content-Type", "application/json")
