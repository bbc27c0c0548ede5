"""Renewal of the unit's certificate, with the certificate itself."""

import subprocess
import tempfile
import time
from pathlib import Path

from . import atomic_file
from .agent_service import RESTART_S
from .certificate import check_certificate, signing_request, validity
from .errors import UpdateError
from .notes import note
from .server import Server, open_server
from .settings import UpdaterSettings

RENEW = "/enrol/v1/renew"
RENEW_FROM = 2 / 3
"""Share of a certificate's life after which it is renewed; the rest is time for a unit that is offline."""


def renew(settings: UpdaterSettings, now_s: float, force: bool = False) -> str:
    """Renews the certificate, for the same key, if two thirds of its life are over at `now_s` (seconds since 1970).

    Returns what happened, in a sentence. Raises UpdateError, and notes it.
    """
    certificate = settings.pki / "unit.crt"
    start, end = validity(certificate)
    due = start + (end - start) * RENEW_FROM
    if not force and now_s < due:
        return f"not yet: due in {(due - now_s) / 86_400:.0f} days"
    try:
        found = check_certificate(
            settings, open_server(settings).post(RENEW, {"csr": signing_request(settings)}).get("certificate")
        )
        prove(settings, found)
    except UpdateError as error:
        left = (end - now_s) / 86_400
        note(settings.state, "renew_failed", f"{left:.0f} days left: {error}")
        raise
    atomic_file.write(certificate, found)
    subprocess.run(settings.reload, timeout=RESTART_S, check=False)
    until = time.strftime("%Y-%m-%d", time.gmtime(validity(certificate)[1]))
    note(settings.state, "certificate_renewed", f"until {until}")
    return f"renewed: until {until}"


def prove(settings: UpdaterSettings, certificate: bytes) -> None:
    """Connects with a new certificate, before it replaces the old one. Raises UpdateError if the server refuses it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate)
        file.flush()
        Server(settings.server, settings.pki / "ca.crt", Path(file.name), settings.pki / "unit.key").handshake()
