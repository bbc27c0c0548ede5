"""The digest of a manifest, which the unit tells and the collector works out of what it has."""

import hashlib
from collections.abc import Iterable


def digest(numbers: Iterable[int]) -> str:
    """Of rising sequence numbers: SHA-256 of them in decimal with commas, its first 32 hexadecimal digits."""
    return hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()[:32]
