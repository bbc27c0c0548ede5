"""The permission to measure: a text that the collector signs for a unit, and that a measurement server can verify.

`1.UNIT.EXPIRES.SIGNATURE`: the unit's name, seconds since 1970, and an Ed25519 signature in base64url without padding.
A unit carries the text as it came, so only the two ends know this form.
"""

import base64
import re
from typing import Annotated, NamedTuple

from msgspec import Meta

VALID_S = 24 * 3600

PermissionText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~+/=-]{1,256}$(?!\n)")]
"""What a unit takes: any text that fits an HTTP header as it is, so that the form may change."""

_FORM = re.compile(r"1\.([a-z0-9][a-z0-9-]{0,31})\.([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{86})", re.ASCII)


class Permission(NamedTuple):
    """A permission whose signature nobody has verified yet."""

    unit: str
    expires_at: int
    signature: bytes


def signed_bytes(unit: str, expires_at: int) -> bytes:
    """What is signed."""
    return f"xomnet permission 1.{unit}.{expires_at}".encode()


def to_permission_text(unit: str, expires_at: int, signature: bytes) -> str:
    """The text that `parse_permission` reads."""
    return f"1.{unit}.{expires_at}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def parse_permission(text: str) -> Permission | None:
    """The parts of a permission; None if the text is something else."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    return Permission(found[1], int(found[2]), base64.urlsafe_b64decode(found[3] + "=="))
