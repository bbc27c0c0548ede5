"""`make audit`: what it finds, and that it finds nothing is said only by the advisories."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NONE_FOUND = "no known vulnerabilities"
ADVISORY = {
    "id": "PYSEC-2099-1",
    "modified": "2026-11-22T00:00:00Z",
    "summary": "An advisory of this test",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


class Advisories(ThreadingHTTPServer):
    """Answers as osv.dev does."""

    vulnerable = ""
    status = 200
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.server.asked = [query["package"]["name"] for query in queries]
        found = {"vulns": [{"id": ADVISORY["id"], "modified": ADVISORY["modified"]}]}
        self.answer({"results": [found if name == self.server.vulnerable else {} for name in self.server.asked]})

    def do_GET(self) -> None:
        self.answer(ADVISORY)

    def answer(self, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    server = Advisories(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def audit(url: str) -> tuple[int, str]:
    """`make audit` in the environment of the tests, without its installation. Status 0, or another."""
    argv = ["make", "--old-file=install", f"BIN={Path(sys.executable).parent}", f"AUDIT=--service-url {url}", "audit"]
    environment = {**os.environ, "UV_HTTP_RETRIES": "0", "NO_COLOR": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def test_libraries_without_an_advisory_pass(advisories: Advisories) -> None:
    status, said = audit(advisories.url)
    assert (status, NONE_FOUND in said) == (0, True), said
    assert {"jinja2", "paho-mqtt", "weasyprint", "pytest"} <= set(advisories.asked), "of units, server and tools"


def test_a_library_with_an_advisory_fails_and_is_named(advisories: Advisories) -> None:
    advisories.vulnerable = "jinja2"
    status, said = audit(advisories.url)
    assert status != 0
    assert "PYSEC-2099-1" in said
    assert "Fixed in: 99" in said
    assert "The audit failed" not in said


@pytest.mark.parametrize("reached", [False, True])
def test_advisories_that_cannot_be_read_are_not_none_found(advisories: Advisories, reached: bool) -> None:
    advisories.status = 503
    status, said = audit(advisories.url if reached else "http://127.0.0.1:9/")
    assert (status != 0, NONE_FOUND in said) == (True, False), said
    assert "The audit failed, so nothing is known of these versions" in said
