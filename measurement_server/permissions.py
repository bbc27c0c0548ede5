"""Whose request a permission makes it: units show what the collector signed for them."""

import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from xomnet.contract.permission import parse_permission, signed_bytes
from xomnet.runtime.clock import UtcClock

MAX_KNOWN = 4096

_BEARER = re.compile(rb"^authorization:[ \t]*bearer[ \t]+([!-~]{1,256})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class KeyFileError(Exception):
    """The file holds no public key; the text says what to do."""


class PermissionVerifier:
    """Verifies permissions by the collector's public key. Raises KeyFileError, OSError."""

    def __init__(self, key_file: Path, now: UtcClock) -> None:
        self._key = _read_key(key_file)
        self._now = now
        self._units: dict[str, tuple[str, int]] = {}
        """Permissions that were verified before: one test shows its own six times."""

    def unit_of(self, head: bytes) -> str | None:
        """The unit whose valid permission a request's head shows; None if there is none."""
        shown = _BEARER.search(head)
        if shown is None:
            return None
        text = shown[1].decode("ascii")
        known = self._units.get(text) or self._verify(text)
        if known is None or known[1] <= self._now().timestamp():
            return None
        return known[0]

    def _verify(self, text: str) -> tuple[str, int] | None:
        found = parse_permission(text)
        if found is None or found.expires_at <= self._now().timestamp():
            return None
        try:
            self._key.verify(found.signature, signed_bytes(found.unit, found.expires_at))
        except InvalidSignature:
            return None
        if len(self._units) >= MAX_KNOWN:
            del self._units[next(iter(self._units))]
        self._units[text] = found.unit, found.expires_at
        return self._units[text]


def _read_key(file: Path) -> Ed25519PublicKey:
    make = "openssl pkey -in permission.key -pubout"
    try:
        key = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{file}: no public key; made on the collector's server by: {make}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{file}: another kind of key, not Ed25519; made on the collector's server by: {make}")
    return key
