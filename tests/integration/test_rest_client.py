"""What the commands of an operator do with the token: it goes to the collector only, and no error shows it."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.web.operator import read_token
from xomnet.runtime.secrets import SecretError
from xomnet_cli.rest_client import RestClient, RestError

TOKEN = "a-token-of-twenty-letters"


class Elsewhere:
    """A web server that sends everybody to /there, and keeps what it was asked for with which token."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        kept = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kept.append((self.command, self.path, self.headers["Authorization"]))
                self.send_response(301)
                self.send_header("Location", "http://127.0.0.1:1/there")
                self.end_headers()

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    server = Elsewhere()
    yield server
    server.stop()


def token_file(folder: Path, text: str) -> Path:
    path = folder / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_redirect_is_not_followed_and_says_where_to(elsewhere: Elsewhere, tmp_path: Path) -> None:
    client = RestClient(elsewhere.url, token_file(tmp_path, TOKEN))
    with pytest.raises(RestError, match=r"301 .*; it has moved to http://127\.0\.0\.1:1/there: correct --url"):
        client.post("/api/v1/maintenance", {})
    assert elsewhere.asked == [("POST", "/api/v1/maintenance", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("text", [f"{TOKEN}\nanother", "mật-khẩu-dài-hai-mươi"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = token_file(tmp_path, text)
    for refused in (lambda: RestClient("http://127.0.0.1:1", path).delete("/x"), lambda: read_token(path)):
        with pytest.raises((RestError, SecretError), match="ASCII letters") as error:
            refused()
        assert text[:6] not in str(error.value)


@pytest.mark.parametrize("url", ["http://x y", "http://[", "ftp://x", "http://127.0.0.1:1"])
def test_an_address_that_is_none_is_said_in_a_sentence(url: str) -> None:
    with pytest.raises(RestError):
        RestClient(url).get("/api/v1/maintenance")
