"""Enrolment: the unit's first certificate, for a one-time token."""

import os
from pathlib import Path

from . import atomic_file, failpoints
from .certificate import check_certificate, make_key, signing_request
from .errors import UpdateError
from .server import Server
from .settings import UpdaterSettings

ENROL = "/enrol/v1/certificate"


def enrol(settings: UpdaterSettings) -> None:
    """Gets the certificate for the one-time token, unless there is one; then erases the token. Raises UpdateError."""
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
        document = {"agent": settings.agent, "token": token, "csr": signing_request(settings)}
        atomic_file.write(certificate, check_certificate(settings, server.post(ENROL, document).get("certificate")))
    failpoints.at("certificate")
    erase(settings.token)
    failpoints.at("token")


def erase(path: Path) -> None:
    """Overwrites and removes a small file. A card may keep an old copy, so a token is valid only once."""
    if path.exists():
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        atomic_file.sync(path.parent)
