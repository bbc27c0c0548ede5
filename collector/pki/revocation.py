"""Revocation: the certificate revocation list for the broker and nginx.

`Authority.revoke` revokes; `Authority.publish` writes the list to the authority's folder.
"""

import datetime as dt
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from collector.pki.ledger import Entry


def revocation_list(
    authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, entries: Iterable[Entry], now: dt.datetime
) -> bytes:
    """The authority's revocation list (RFC 5280, 5), PEM.

    It is valid as long as the authority: an expired list locks out every unit, and the broker reads this one from the
    disk that it was written to.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1e6)), critical=False)
    )
    for one in entries:
        if one.revoked is not None:
            revoked = x509.RevokedCertificateBuilder(int(one.serial, 16), one.revoked)
            builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
