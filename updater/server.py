"""The server, as units reach it: HTTPS with the province's authority, and the unit's certificate if it has one."""

import hashlib
import http.client
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from . import files
from .errors import UnfitRelease, UpdateError
from .failpoints import reached
from .manifest import ReleaseFile

TIMEOUT_S = 30.0
MAX_ANSWER = 1_000_000
BLOCK = 65_536
TRIES = 5
PAUSE_S = 2.0


class Cut(Exception):
    """The connection ended; what has arrived is kept."""


class Server:
    """One server. `received` counts the payload of all answers, in bytes."""

    def __init__(self, url: str, ca: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        """Raises UpdateError where the certificates can't be used."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise UpdateError(f"server: found {url!r}; allowed: https://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or 8443
        self.received = 0
        try:
            self._context = ssl.create_default_context(cafile=str(ca))
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            if certificate is not None:
                self._context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise UpdateError(f"{ca}, {certificate}, {key}: {error}; enrol this unit again") from error

    def get(self, path: str) -> bytes:
        """A small document. Raises UpdateError."""
        return self._asked("GET", path, None)

    def post(self, path: str, document: dict[str, str]) -> dict[str, Any]:
        """Sends and takes a JSON object. Raises UpdateError with what the server said."""
        try:
            found = json.loads(self._asked("POST", path, json.dumps(document).encode()))
        except ValueError as error:
            raise UpdateError(f"{self._url(path)}: the answer is not JSON; check the server") from error
        if not isinstance(found, dict):
            raise UpdateError(f"{self._url(path)}: the answer is not a JSON object; check the server")
        return found

    def handshake(self) -> None:
        """Asks for nothing of worth: says that the certificate is taken. Raises UpdateError."""
        self.get("/releases/v1/manifest.json")

    def download(self, file: ReleaseFile, folder: Path, deadline: float, allowance: int) -> None:
        """Fetches a wheel, from where an earlier try ended. `deadline`: time.monotonic(); `allowance`: what `received`
        may reach. Raises UpdateError; Unfit where what came is not what was signed.
        """
        part = folder / f"{file.name}.part"
        for number in range(TRIES):
            try:
                self._fetch(file, part, deadline, allowance)
                break
            except (Cut, OSError, http.client.HTTPException) as error:
                if number == TRIES - 1 or time.monotonic() > deadline:
                    raise UpdateError(f"{file.name}: {error}; the next run continues from here") from error
                time.sleep(PAUSE_S * 2**number)
        if sha256(part) != file.sha256:
            part.unlink()
            raise UnfitRelease(f"{file.name}: its checksum is not the signed one; copy the release to the server again")
        part.replace(folder / file.name)
        files.sync(folder)

    def _fetch(self, file: ReleaseFile, part: Path, deadline: float, allowance: int) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have == file.bytes:
            return
        if have > file.bytes:
            have = 0
        path = f"/releases/v1/files/{quote(file.name)}"
        connection = self._connection()
        try:
            connection.request("GET", path, headers={"Range": f"bytes={have}-"} if have else {})
            answer = connection.getresponse()
            if answer.status not in (200, 206):
                raise UpdateError(self._refused(path, answer.status, answer.read(500)))
            goes_on = answer.status == 206 and (answer.getheader("Content-Range") or "").startswith(f"bytes {have}-")
            if answer.status == 206 and not goes_on:
                raise UpdateError(f"{self._url(path)}: the server sent another part than requested; check the server")
            with part.open("ab" if goes_on else "wb") as out:
                while block := answer.read(min(BLOCK, file.bytes - out.tell() + 1)):
                    self.received += len(block)
                    if out.tell() + len(block) > file.bytes:
                        out.truncate(0)
                        raise UnfitRelease(f"{file.name}: larger than signed; copy the release to the server again")
                    out.write(block)
                    if self.received > allowance:
                        raise UpdateError(f"{file.name}: more than this run may download; see max_mb in updater.toml")
                    if time.monotonic() > deadline:
                        raise UpdateError(f"{file.name}: not downloaded in time; the next run continues from here")
                    out.flush()
                    reached("download")
                os.fsync(out.fileno())
                if out.tell() < file.bytes:
                    raise Cut(f"the connection ended after {out.tell()} of {file.bytes} bytes")
        finally:
            connection.close()

    def _asked(self, method: str, path: str, body: bytes | None) -> bytes:
        connection = self._connection()
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            found = answer.read(MAX_ANSWER + 1)
            self.received += len(found)
        except ssl.SSLCertVerificationError as error:
            hint = "check this unit's clock, and that ca.crt is this server's"
            raise UpdateError(f"{self._url(path)}: {error.verify_message}; {hint}") from error
        except (OSError, http.client.HTTPException) as error:
            raise UpdateError(
                f"{self._url(path)}: {error or type(error).__name__}; check that the network is up"
            ) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise UpdateError(self._refused(path, answer.status, found[:500]))
        if len(found) > MAX_ANSWER:
            raise UpdateError(f"{self._url(path)}: the answer is longer than {MAX_ANSWER} bytes; check the server")
        return found

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._context)

    def _url(self, path: str) -> str:
        return f"https://{self._host}:{self._port}{path}"

    def _refused(self, path: str, status: int, said: bytes) -> str:
        words = " ".join(said.decode(errors="replace").split())[:200]
        return f"{self._url(path)}: refused with {status}: {words or 'no reason given'}"


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
