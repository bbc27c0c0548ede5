"""Permissions to measure, which go to units in the answers to their results."""

import datetime as dt
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from xomnet.contract.permission import VALID_S, signed_bytes, to_permission_text
from xomnet.runtime.secrets import SecretError, read_secret

RENEW_AFTER = dt.timedelta(hours=6)
"""A quarter of what it is valid: an answer may get lost, and the collector may be down for most of a day."""


class PermissionIssuer:
    """Signs with the key in a PEM file of mode 600. Raises SecretError if there is no such key."""

    def __init__(self, key_file: Path) -> None:
        self._key = _read_key(key_file)
        self._issued: dict[str, dt.datetime] = {}

    def issue_if_due(self, agent: str, now: dt.datetime) -> str | None:
        """A permission for this unit; None if this process gave it one in the last hours."""
        issued = self._issued.get(agent)
        if issued is not None and issued <= now < issued + RENEW_AFTER:
            return None
        self._issued[agent] = now
        expires_at = int(now.timestamp()) + VALID_S
        return to_permission_text(agent, expires_at, self._key.sign(signed_bytes(agent, expires_at)))


def _read_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_secret(file).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretError(f"{file}: no private key; run: openssl genpkey -algorithm ed25519 -out {file}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SecretError(f"{file}: another kind of key; run: openssl genpkey -algorithm ed25519 -out {file}")
    return key
