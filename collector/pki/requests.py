"""What a certificate request must be: one name, a key that is not weak, a signature that holds."""

import hashlib
import ipaddress
import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

LARGEST = 8192
"""Bytes of a request; one with an RSA key of 4096 bits has 1,700."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class SigningRefused(Exception):
    """A certificate that is not given, in one sentence with the remedy."""


def check_key(pem: bytes, name: str) -> PublicKey:
    """The public key of a request for `name`. Raises SigningRefused. Whatever else the request asks for is left out."""
    if len(pem) > LARGEST:
        raise SigningRefused(f"found a request of {len(pem)} bytes; send at most {LARGEST}")
    try:
        request = x509.load_pem_x509_csr(pem)
        names = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        holds = request.is_signature_valid
        key = request.public_key()
    except Exception as error:  # the parser's errors have no common class
        raise SigningRefused(
            "found no certificate request in PEM; create it with: openssl req -new -key KEY"
        ) from error
    if names != [name]:
        raise SigningRefused(
            f"the request is for {', '.join(names)[:80] or 'no name'}, not for {name}; use -subj /CN={name}"
        )
    if not holds:
        raise SigningRefused("the request's signature is not valid; create the request again, with its own key")
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1() | ec.SECP384R1()):
            return key
        case rsa.RSAPublicKey(key_size=size) if 2048 <= size <= 8192:
            return key
    raise SigningRefused("found a weak or unusual key; use P-256: openssl ecparam -name prime256v1 -genkey -noout")


def key_id(key: PublicKey) -> str:
    """The SHA-256 of a public key, hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def host_name(text: str) -> x509.GeneralName:
    """A server's name or address for a certificate. Raises SigningRefused."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise SigningRefused(f"found {text!r}; write a host name or address, such as xomnet.example.vn") from None
        return x509.DNSName(text)
