"""The digest of a receipt: the unit sends it, and the collector computes it over the results that it has."""

import hashlib
from collections.abc import Iterable


def digest(numbers: Iterable[int]) -> str:
    """The first 32 hexadecimal digits of the SHA-256 over rising sequence numbers, in decimal with commas."""
    return hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()[:32]
