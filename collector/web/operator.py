"""Who may change something: the operator, by a token. Reading needs none."""

import hmac
from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

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
    """Lets the holder of the token change something. Without a token nobody may.

    A right token is taken however many wrong ones came before: guessing is hopeless by the token's length, and a count
    of wrong ones would let anybody lock the operator out.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token

    @property
    def enabled(self) -> bool:
        return self._token is not None

    def require(self, request: Request) -> None:
        """Raises unless the request has the token, and is none that a page of another site made a browser send."""
        if self._token is None:
            raise RequestError(403, "nobody may change anything here yet", SETTING, "the path of a file with a token")
        if is_cross_site(request):
            raise RequestError(
                403, "sent by a page of another site", "Origin", "this server's own pages, or no browser"
            )
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError(415, "the body is not said to be JSON", "Content-Type", "application/json")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            detail = "the operator's token is missing or wrong: Authorization: Bearer TOKEN"
            raise HTTPException(401, detail, {"WWW-Authenticate": 'Bearer realm="xomnet"'})


def is_cross_site(request: Request) -> bool:
    """Whether a browser says that a page from elsewhere sent the request: by `Sec-Fetch-Site`; an older browser, or one
    that came over plain HTTP, by `Origin`. Programs send neither.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and _host_of(origin) != _host_of(f"//{request.headers.get('host', '')}")


def _host_of(url: str) -> str | None:
    """Without its port, which a proxy may leave out of `Host`."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return ""
