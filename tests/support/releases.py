"""Small real releases of a stand-in for the agent, and the server that units fetch them from."""

import base64
import datetime as dt
import hashlib
import json
import ssl
import subprocess
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from collector.pki.requests import SigningRefused
from tests.support.services import program

AGENT = """
import http.server, json, pathlib, sys
import xomnet
config = json.loads(pathlib.Path(sys.argv[1]).read_text())
if "{conduct}" == "dies":
    sys.exit("dies at its start")
acked = "2026-11-22T00:00:00Z" if "{conduct}" != "unheard" and not pathlib.Path(config["away"]).exists() else None
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"version": xomnet.__version__, "connected": bool(acked), "last_ack_at": acked}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", config["port"]), Page).serve_forever()
"""
SETTINGS = """
class SettingsError(Exception):
    pass
def read(path):
    if "{conduct}" == "strict":
        raise SettingsError("agent.yaml, broker: found what it was; allowed: something else")
"""


def wheel(folder: Path, version: str, conduct: str) -> Path:
    """A wheel called xomnet. `conduct`: good, unheard (no answer ever), dies, strict (refuses the settings)."""
    info = f"xomnet-{version}.dist-info"
    content = {
        "xomnet/__init__.py": f"__version__ = {version!r}\ndef main():\n    print(__version__)\n",
        "agent/__init__.py": "",
        "agent/__main__.py": AGENT.format(conduct=conduct),
        "agent/settings.py": SETTINGS.format(conduct=conduct),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: xomnet\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nxomnet = xomnet:main\n",
        "agent/ballast": base64.b85encode(hashlib.shake_256(version.encode()).digest(200_000)).decode(),
    }
    content[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*content, f"{info}/RECORD"])
    path = folder / f"xomnet-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


PYTHONS = ["3.11", "3.12", "3.13"]
EVERYBODY = [{"share": 1, "from": "2026-01-01T00:00:00Z"}]


@dataclass
class Press:
    """The operator's machine: makes and signs releases into a folder as `/releases/v1` has it."""

    folder: Path
    made: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def key(self) -> Path:
        return self.folder.parent / "release-key"

    @property
    def signers(self) -> Path:
        return self.folder.parent / "release.signers"

    def __post_init__(self) -> None:
        (self.folder / "files").mkdir(parents=True)
        argv = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.key)]
        subprocess.run(argv, check=True, timeout=30)
        public = self.key.with_suffix(".pub").read_text()
        self.signers.write_text(f'xomnet-release namespaces="xomnet-release" {public}')

    def release(self, version: str, conduct: str = "good", stages: Any = EVERYBODY, **more: Any) -> Path:
        """Publishes a release, made a minute after the one before; `more` goes into the manifest. Returns the wheel."""
        path = wheel(self.folder / "files", version, conduct)
        self.made += dt.timedelta(minutes=1)
        data = path.read_bytes()
        listed = {"name": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        document = {"version": version, "python": PYTHONS, "files": [listed], "for": stages}
        self.publish(json.dumps(document | {"made": self.made.isoformat()} | more).encode())
        return path

    def publish(self, manifest: bytes, namespace: str = "xomnet-release") -> None:
        (self.folder / "manifest.json").write_bytes(manifest)
        (self.folder / "manifest.json.sig").unlink(missing_ok=True)
        argv = [program("ssh-keygen"), "-q", "-Y", "sign", "-f", str(self.key), "-n", namespace]
        subprocess.run([*argv, str(self.folder / "manifest.json")], check=True, timeout=30, capture_output=True)


class Door:
    """The units' door: HTTPS that asks for a certificate, releases from a folder, enrolment by the real authority."""

    def __init__(self, folder: Path, releases: Path, authority: Authority, server: tuple[Path, Path]) -> None:
        self.releases, self.authority = releases, authority
        self.cut_after: int | None = None
        """Ends the answer to the next wheel after this many bytes, once."""
        self.takes_ranges = True
        self.served = 0
        """Bytes of wheels that were sent."""
        self.lose_answer = False
        """Enrols, and ends the connection before saying so, once."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*server)
        context.load_verify_locations(authority.folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"https://localhost:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, body: dict[str, str], holder: str | None) -> tuple[int, bytes]:
        now = dt.datetime.now(dt.UTC)
        try:
            if path == "/enrol/v1/certificate":
                entry = enrolment_tokens.spend(self.authority, body["agent"], body["token"], body["csr"].encode(), now)
            elif path == "/enrol/v1/renew" and holder:
                entry = self.authority.sign(body["csr"].encode(), holder, "unit", now)
            else:
                return 403, b"no certificate"
        except (SigningRefused, enrolment_tokens.WrongToken) as error:
            return 403, str(error).encode()
        return 200, json.dumps({"certificate": entry.pem, "ca": self.authority.pem}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def holder(self) -> str | None:
                shown = self.connection.getpeercert()
                names = [value for part in (shown or {}).get("subject", ()) for key, value in part]
                return names[0] if names else None

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, said = door.answer(self.path, body, self.holder())
                if door.lose_answer:
                    door.lose_answer = False
                    return
                self.say(status, said)

            def do_GET(self) -> None:
                file = door.releases / self.path.removeprefix("/releases/v1/")
                if self.holder() is None:
                    return self.say(403, b"a certificate is needed")
                if not file.is_file():
                    return self.say(404, b"not here")
                data, start = file.read_bytes(), 0
                asked = self.headers.get("Range", "")
                if asked and door.takes_ranges:
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                part = data[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                if file.suffix == ".whl":
                    if door.cut_after is not None:
                        part, door.cut_after = part[: door.cut_after], None
                    door.served += len(part)
                self.wfile.write(part)
                return None

            def say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
