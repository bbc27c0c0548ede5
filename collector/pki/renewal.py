"""A new certificate for who has a good one, as nginx has verified it, and for its key alone: whoever copied a card gets
no identity that outlives the unit's.
"""

import datetime as dt
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from cryptography import x509

from collector.pki.authority import Authority
from collector.pki.ledger import Entry
from collector.pki.requests import SigningRefused, check_key, key_id

VERIFIED, CERTIFICATE = "x-client-verify", "x-client-cert"
"""Headers that nginx sets itself, whatever the client sent: `$ssl_client_verify`, `$ssl_client_escaped_cert`."""


class NoCertificate(Exception):
    """The connection has no client certificate that counts; the text says what to do."""


def verified_holder(authority: Authority, headers: Mapping[str, str], now: dt.datetime) -> Entry:
    """The ledger's entry of the certificate with which the client came.

    Raises NoCertificate where nginx verified none, or it is not of this authority, over, or revoked, and LedgerError.
    """
    if headers.get(VERIFIED) != "SUCCESS":
        raise NoCertificate(
            "renewal needs a connection with the unit's certificate; if there is none, enrol with a token"
        )
    try:
        shown = x509.load_pem_x509_certificate(unquote_to_bytes(headers.get(CERTIFICATE, "")))
        shown.verify_directly_issued_by(authority.certificate)
    except Exception as error:  # the parser's errors have no common class
        raise NoCertificate("this authority did not issue the client certificate; enrol with a token") from error
    with authority.ledger.read() as ledger:
        entry = ledger.of_serial(f"{shown.serial_number:x}")
    if entry is None or not entry.good(now) or entry.kind != "unit":
        raise NoCertificate("the client certificate is expired, revoked or not a unit's; enrol with a token")
    return entry


def renew(authority: Authority, held: Entry, csr: bytes, now: dt.datetime) -> Entry:
    """The certificate that follows on the one that the client holds, for the same name and key.

    One that has a successor gives that again: the answer may have been lost on the way. Raises SigningRefused or
    LedgerError.
    """
    with authority.ledger.change() as change:
        if key_id(check_key(csr, held.name)) != held.key:
            raise SigningRefused(
                "a renewal keeps the key of the certificate; for a new key the operator must issue a token: "
                f"xomnet pki token {held.name}"
            )
        latest = [one for one in change.of_name(held.name) if one.key == held.key and one.good(now)][-1:]
        if latest and latest[0].serial != held.serial:
            return latest[0]
        entry = authority.sign_within(change, csr, held.name, "unit", now)
    authority.publish(now)
    return entry
