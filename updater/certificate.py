"""The unit's key and certificate: made, requested, checked, by openssl."""

import os
import pwd
import ssl
import subprocess
import tempfile
from pathlib import Path

from . import atomic_file, failpoints
from .errors import UpdateError
from .settings import UpdaterSettings


def run_openssl(*arguments: str, text: bytes = b"") -> bytes:
    """Standard output of openssl. Raises UpdateError with its error text."""
    try:
        done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"openssl: {error}; install it") from error
    if done.returncode:
        raise UpdateError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout


def owner_ids(name: str) -> tuple[int, int]:
    """User and group of a user's name, by number. Raises UpdateError."""
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise UpdateError(f"key_owner: found no user {name!r}; run the playbook, which creates it") from error
    return found.pw_uid, found.pw_gid


def make_key(settings: UpdaterSettings) -> None:
    """Makes the unit's key unless there is one; it never leaves the unit. Raises UpdateError."""
    path = settings.pki / "unit.key"
    if not path.exists():
        made = run_openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        atomic_file.write(path, made, 0o600, owner_ids(settings.key_owner) if os.geteuid() == 0 else None)
    failpoints.at("key")


def signing_request(settings: UpdaterSettings) -> str:
    """The certificate signing request (CSR) of the unit's key, PEM. Raises UpdateError."""
    key = str(settings.pki / "unit.key")
    return run_openssl("req", "-new", "-key", key, "-subj", f"/CN={settings.agent}").decode()


def check_certificate(settings: UpdaterSettings, found: object) -> bytes:
    """The certificate `found` in the server's answer, PEM.

    Raises UpdateError unless the authority signed it, for this unit's key and name.
    """
    if not isinstance(found, str):
        raise UpdateError("the server's answer has no certificate; read the log of its enrolment service")
    data = found.encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        run_openssl("verify", "-CAfile", str(settings.pki / "ca.crt"), "-purpose", "sslclient", file.name)
        subject = run_openssl("x509", "-in", file.name, "-noout", "-subject", "-nameopt", "multiline").decode()
    names = [line.partition("=")[2].strip() for line in subject.splitlines() if "commonName" in line]
    if names != [settings.agent]:
        raise UpdateError(
            f"the server sent a certificate for {names}, this unit is {settings.agent}; check the server's registry"
        )
    own = run_openssl("pkey", "-in", str(settings.pki / "unit.key"), "-pubout")
    if run_openssl("x509", "-noout", "-pubkey", text=data) != own:
        raise UpdateError("the server sent a certificate for another key; read the log of its enrolment service")
    return data


def validity(certificate: Path) -> tuple[float, float]:
    """The times from and until which a certificate is valid, in seconds since 1970. Raises UpdateError."""
    dates = run_openssl("x509", "-in", str(certificate), "-noout", "-startdate", "-enddate").decode()
    start, end = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in dates.split("\n")[:2])
    return float(start), float(end)
