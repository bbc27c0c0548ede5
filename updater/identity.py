"""The unit's own key and certificate: asked for once with a one-time token, renewed with the certificate itself."""

import os
import pwd
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from . import files
from .errors import UpdateError
from .failpoints import reached
from .notes import note
from .server import Server
from .settings import UpdaterSettings
from .upgrade import RESTART_S, open_server

ENROL, RENEW = "/enrol/v1/certificate", "/enrol/v1/renew"
RENEW_FROM = 2 / 3
"""Of a certificate's life: the rest is time for a unit that is away."""


def openssl(*arguments: str, text: bytes = b"") -> bytes:
    """Raises UpdateError with what openssl said."""
    try:
        done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"openssl: {error}; install it") from error
    if done.returncode:
        raise UpdateError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout


def owner(name: str) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise UpdateError(f"key_owner: found no user {name!r}; run the playbook, which creates it") from error
    return found.pw_uid, found.pw_gid


def make_key(settings: UpdaterSettings) -> None:
    """An own key, unless there is one."""
    path = settings.pki / "unit.key"
    if not path.exists():
        made = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        files.write(path, made, 0o600, owner(settings.key_owner) if os.geteuid() == 0 else None)
    reached("key")


def request(settings: UpdaterSettings) -> str:
    """The signing request of the unit's key, PEM."""
    key = str(settings.pki / "unit.key")
    return openssl("req", "-new", "-key", key, "-subj", f"/CN={settings.agent}").decode()


def enrol(settings: UpdaterSettings) -> None:
    """The certificate, for the one-time token, unless there is one; then the token goes. Raises UpdateError."""
    certificate = settings.pki / "unit.crt"
    if not certificate.exists():
        try:
            token = settings.token.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UpdateError(
                f"{settings.token}: {error.strerror}; issue a new token with: xomnet pki token {settings.agent}"
            ) from error
        make_key(settings)
        server = Server(settings.server, settings.pki / "ca.crt")
        document = {"agent": settings.agent, "token": token, "csr": request(settings)}
        files.write(certificate, checked(settings, server.post(ENROL, document).get("certificate")))
    reached("certificate")
    erase(settings.token)
    reached("token")


def renew(settings: UpdaterSettings, now_s: float, force: bool = False) -> str:
    """A new certificate for the same key where the old one has lived two thirds of its time. Raises UpdateError."""
    certificate = settings.pki / "unit.crt"
    start, end = dates(certificate)
    due = start + (end - start) * RENEW_FROM
    if not force and now_s < due:
        return f"not yet: due in {(due - now_s) / 86_400:.0f} days"
    try:
        found = checked(settings, open_server(settings).post(RENEW, {"csr": request(settings)}).get("certificate"))
        proven(settings, found)
    except UpdateError as error:
        left = (end - now_s) / 86_400
        note(settings.state, "renew_failed", f"{left:.0f} days left: {error}")
        raise
    files.write(certificate, found)
    subprocess.run(settings.reload, timeout=RESTART_S, check=False)
    until = time.strftime("%Y-%m-%d", time.gmtime(dates(certificate)[1]))
    note(settings.state, "certificate_renewed", f"until {until}")
    return f"renewed: until {until}"


def checked(settings: UpdaterSettings, found: object) -> bytes:
    """A certificate that fits: signed by the authority, of this unit's key and name. Raises UpdateError."""
    if not isinstance(found, str):
        raise UpdateError("the server's answer has no certificate; read the log of its enrolment service")
    data = found.encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        openssl("verify", "-CAfile", str(settings.pki / "ca.crt"), "-purpose", "sslclient", file.name)
        subject = openssl("x509", "-in", file.name, "-noout", "-subject", "-nameopt", "multiline").decode()
    names = [line.partition("=")[2].strip() for line in subject.splitlines() if "commonName" in line]
    if names != [settings.agent]:
        raise UpdateError(
            f"the server sent a certificate for {names}, this unit is {settings.agent}; check the server's registry"
        )
    own = openssl("pkey", "-in", str(settings.pki / "unit.key"), "-pubout")
    if openssl("x509", "-noout", "-pubkey", text=data) != own:
        raise UpdateError("the server sent a certificate for another key; read the log of its enrolment service")
    return data


def proven(settings: UpdaterSettings, certificate: bytes) -> None:
    """The server takes the new certificate. Raises UpdateError."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate)
        file.flush()
        Server(settings.server, settings.pki / "ca.crt", Path(file.name), settings.pki / "unit.key").handshake()


def dates(certificate: Path) -> tuple[float, float]:
    """From when to when it is good, as seconds of 1970. Raises UpdateError."""
    said = openssl("x509", "-in", str(certificate), "-noout", "-startdate", "-enddate").decode()
    start, end = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in said.split("\n")[:2])
    return float(start), float(end)


def erase(path: Path) -> None:
    """Overwrites and removes a small file; a card may keep an old copy, so a token is good only once."""
    if path.exists():
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        files.sync(path.parent)
