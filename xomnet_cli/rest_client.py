"""A client of the collector's REST interface, for the operator's commands."""

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from xomnet.runtime.secrets import SecretError, read_secret

PANEL = "Collector"
Url = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the collector's page.", envvar="XOMNET_URL", rich_help_panel=PANEL),
]
TokenFile = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="File that holds the operator's token.",
        envvar="XOMNET_TOKEN_FILE",
        rich_help_panel=PANEL,
    ),
]
DEFAULT_URL = "http://127.0.0.1:8420"
DEFAULT_TOKEN_FILE = Path("/etc/xomnet/operator-token")


class RestError(Exception):
    """The collector could not be reached, or refused; the text says what to do."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET, and the token would go wherever it is sent."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class RestClient:
    """One collector. `token_file` is needed for requests that change something."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise RestError(f"--url: found {url!r}; write an address such as {DEFAULT_URL}")
        self._url, self._token_file = url.rstrip("/"), token_file

    def get(self, path: str, limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._send("GET", path, None, {}, limit_s)

    def post(self, path: str, body: dict[str, Any], limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._send_with_token("POST", path, json.dumps(body).encode(), limit_s)

    def delete(self, path: str, limit_s: float = 10.0) -> Any:
        """Raises RestError."""
        return self._send_with_token("DELETE", path, None, limit_s)

    def _send_with_token(self, method: str, path: str, body: bytes | None, limit_s: float) -> Any:
        if self._token_file is None:
            raise RestError("this needs the operator's token; name its file with --token-file")
        try:
            token = read_secret(self._token_file)
        except SecretError as error:
            raise RestError(str(error)) from error
        if not (token.isascii() and token.isprintable()):
            raise RestError(
                f"{self._token_file}: found something other than one line of ASCII letters; "
                "write the collector's operator token there"
            )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._send(method, path, body, headers, limit_s)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], limit_s: float) -> Any:
        try:
            request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310  # see above
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=limit_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RestError(_explain(error)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RestError(f"{self._url}: {reason}; check that the collector runs and that --url is right") from error


def _explain(error: urllib.error.HTTPError) -> str:
    """The collector's own sentence if the answer holds one."""
    try:
        problem = json.load(error)["error"]
        allowed = problem.get("allowed")
        return f"{problem['where']}: {problem['what']}" + (f"; allowed: {allowed}" if allowed else "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        location = error.headers.get("Location")
        return f"{error.url}: {error.code} {error.reason}" + (
            f"; it has moved to {location}: correct --url" if location else ""
        )
