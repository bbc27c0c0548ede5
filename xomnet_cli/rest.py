"""The collector's REST interface, as the commands of an operator use it."""

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from xomnet.runtime.secrets import SecretError, read_secret

Url = Annotated[str, typer.Option(help="Where the collector's page is.", envvar="XOMNET_URL")]
TokenFile = Annotated[
    Path, typer.Option(help="The operator's token (web.operator_token_file).", envvar="XOMNET_TOKEN_FILE")
]
DEFAULT_URL = "http://127.0.0.1:8420"
DEFAULT_TOKEN_FILE = Path("/etc/xomnet/operator-token")


class RestError(Exception):
    """The collector could not be asked, or said no; the text says what to do."""


class _Here(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: a redirected POST becomes a GET, and the token would go wherever it is sent."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Rest:
    """One collector. `token_file` is needed for what changes something."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise RestError(f"{url}: not an address such as {DEFAULT_URL}")
        self._url, self._token_file = url.rstrip("/"), token_file

    def get(self, path: str, limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._asked("GET", path, None, {}, limit_s)

    def post(self, path: str, body: dict[str, Any], limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._changed("POST", path, json.dumps(body).encode(), limit_s)

    def delete(self, path: str, limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._changed("DELETE", path, None, limit_s)

    def _changed(self, method: str, path: str, body: bytes | None, limit_s: float) -> Any:
        if self._token_file is None:
            raise RestError("no token file is given")
        try:
            token = read_secret(self._token_file)
        except SecretError as error:
            raise RestError(str(error)) from error
        if not (token.isascii() and token.isprintable()):
            raise RestError(f"{self._token_file}: not one line of ASCII letters; it must hold the collector's token")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._asked(method, path, body, headers, limit_s)

    def _asked(self, method: str, path: str, body: bytes | None, headers: dict[str, str], limit_s: float) -> Any:
        try:
            request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310  # see above
            with urllib.request.build_opener(_Here).open(request, timeout=limit_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RestError(_said(error)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RestError(f"{self._url}: {reason}; is the collector running, is --url right?") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The collector's own words, where they are such."""
    try:
        problem = json.load(error)["error"]
        allowed = problem.get("allowed")
        return f"{problem['where']}: {problem['what']}" + (f"; allowed: {allowed}" if allowed else "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        elsewhere = error.headers.get("Location")
        return f"{error.url}: {error.code} {error.reason}" + (f"; it is at {elsewhere}: --url" if elsewhere else "")
