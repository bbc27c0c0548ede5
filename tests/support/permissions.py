"""The collector's key of permissions, in files as the deployment has them, and permissions by it."""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from xomnet.contract.permission import signed_bytes, to_permission_text


class PermissionKey:
    """`private` is for the collector, `public` for measurement servers."""

    def __init__(self, folder: Path) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.private, self.public = folder / "permission.key", folder / "permission.pub"
        self.private.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.private.chmod(0o600)
        self.public.write_bytes(self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def permit(self, unit: str, valid_s: int = 3600) -> str:
        """A permission for this unit from now on."""
        expires_at = int(time.time()) + valid_s
        return to_permission_text(unit, expires_at, self._key.sign(signed_bytes(unit, expires_at)))
