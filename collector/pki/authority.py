"""The province's certificate authority: a folder that only its user may read.

`ca.key` and `ca.crt`; `ledger.db`: what was signed; `ca.crl`: what of it is revoked, made of the ledger.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collector.pki.ledger import Entry, Kind, Ledger, LedgerChange
from collector.pki.requests import PublicKey, SigningRefused, check_key, host_name, key_id
from collector.pki.revocation import revocation_list
from xomnet.contract.topics import is_name
from xomnet.registry.cells import BROKER_NAME_OF_COLLECTOR
from xomnet.runtime.atomic_file import write_atomically

DAYS = 825
CA_DAYS = 3650
EARLIER = dt.timedelta(days=1)
"""A unit without a battery clock may be slow when it gets its certificate."""
MAX_A_DAY = 10
"""Certificates of one name: a unit that went wild does not fill the ledger."""


class AuthorityError(Exception):
    """The folder holds no authority, or already one."""


class Authority:
    """The authority in a folder. Raises AuthorityError where there is none, or it can't be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.db")
        try:
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except FileNotFoundError as error:
            raise AuthorityError(f"{error.filename}: does not exist; create an authority: xomnet pki init") from error
        except (OSError, ValueError, TypeError) as error:
            raise AuthorityError(f"{folder}: {error}; run this as its owner, or restore it from a backup") from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @classmethod
    def make(cls, folder: Path, now: dt.datetime, name: str = "xomnet CA") -> "Authority":
        """A new authority. Raises AuthorityError where the folder holds one: all its units would be locked out."""
        if (folder / "ca.key").exists():
            raise AuthorityError(f"{folder}: holds an authority already; name another folder for another authority")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            builder = _builder(subject, subject, key.public_key(), now - EARLIER, now + dt.timedelta(days=CA_DAYS))
            certificate = (
                builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            write_atomically(folder / "ca.crt", certificate.public_bytes(Encoding.PEM), 0o644)
            write_atomically(
                folder / "ca.key",  # the last one: with it the authority is there
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
                0o600,
            )
        except OSError as error:
            raise AuthorityError(
                f"{error.filename or folder}: {error.strerror}; name a folder that you may write"
            ) from error
        made = cls(folder)
        made.publish(now)
        return made

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def sign(self, csr: bytes, name: str, kind: Kind, now: dt.datetime, also: Sequence[str] = ()) -> Entry:
        """A certificate for `name`, written down; `also` are further names and addresses of a server.

        A unit has one key: its certificates of another key are revoked.

        Raises SigningRefused or LedgerError. Which units exist is the registry's to say, and for the caller to ask.
        """
        with self.ledger.change() as change:
            entry = self.sign_within(change, csr, name, kind, now, also)
        self.publish(now)
        return entry

    def sign_within(
        self, change: LedgerChange, csr: bytes, name: str, kind: Kind, now: dt.datetime, also: Sequence[str] = ()
    ) -> Entry:
        """As `sign`, within a change that is open; `publish` is left to the caller."""
        check_name(name, kind)
        key = check_key(csr, name)
        earlier = change.of_name(name)
        if earlier and earlier[0].kind != kind:
            raise SigningRefused(f"{name} is the name of a {earlier[0].kind}; use another name for a {kind}")
        if sum(one.from_ + EARLIER > now - dt.timedelta(days=1) for one in earlier) >= MAX_A_DAY:
            raise SigningRefused(
                f"{name} has had {MAX_A_DAY} certificates within a day; find the cause, and try again tomorrow"
            )
        for one in change.of_key(key_id(key)):
            if one.name != name or one.revoked is not None:
                what = "is revoked" if one.name == name else f"belongs to {one.name}"
                raise SigningRefused(f"this key {what}; create a new key on the machine itself")
        entry = self._issue(change, key, name, kind, now, also)
        for one in earlier:
            if kind == "unit" and one.good(now) and one.key != entry.key:
                change.revoke(one.serial, now)
        return entry

    def _issue(
        self, change: LedgerChange, key: PublicKey, name: str, kind: Kind, now: dt.datetime, also: Sequence[str]
    ) -> Entry:
        until = min(now + dt.timedelta(days=DAYS), self.certificate.not_valid_after_utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.certificate.subject, key, now - EARLIER, until)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                _usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey)), critical=True
            )
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if kind == "server":
            names = [host_name(one) for one in dict.fromkeys([name, *also])]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        pem = made.public_bytes(Encoding.PEM).decode()
        begun, over = made.not_valid_before_utc, made.not_valid_after_utc
        entry = Entry(f"{made.serial_number:x}", name, kind, key_id(key), begun, over, None, pem)
        change.add(entry)
        return entry

    def revoke(self, name: str, now: dt.datetime, but: str | None = None) -> list[Entry]:
        """Revokes every good certificate of a name, but the one of the serial `but`; gives those that it revoked.

        A token of the name that is still out goes too. Raises SigningRefused where the name never had a certificate.
        """
        with self.ledger.change() as change:
            known = change.of_name(name)
            if not known:
                raise SigningRefused(f"{name} has never had a certificate; xomnet pki list shows the names")
            gone = [one for one in known if one.good(now) and one.serial != but]
            for one in gone:
                change.revoke(one.serial, now)
            change.drop_token(name)
        self.publish(now)
        return gone

    def certificates(self) -> list[Entry]:
        """Everything that was signed, by name and date."""
        with self.ledger.change() as change:
            return change.all()

    def publish(self, now: dt.datetime) -> None:
        """Writes the revocation list `ca.crl`, which also calls the broker's roles. Raises LedgerError or OSError."""
        with self.ledger.change() as change:  # of two that publish at once the later one has the last word
            crl = revocation_list(self.certificate, self._key, change.all(), now)
            write_atomically(self.folder / "ca.crl", crl, 0o644)


def check_name(name: str, kind: Kind) -> None:
    """Raises SigningRefused unless something of this kind may go by this name."""
    if kind == "server":
        host_name(name)
    elif kind == "unit" and name == BROKER_NAME_OF_COLLECTOR:
        raise SigningRefused(f"{name} is the collector's name at the broker; use another name for a unit")
    elif kind == "collector" and name != BROKER_NAME_OF_COLLECTOR:
        raise SigningRefused(f"found {name!r}; the collector's certificate must be named {BROKER_NAME_OF_COLLECTOR}")
    elif not is_name(name):
        raise SigningRefused(f"found {name!r}; write lower-case letters, digits and hyphens, at most 32")


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, begun: dt.datetime, over: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(over)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        **dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement"), False),
        **dict.fromkeys(("encipher_only", "decipher_only"), False),
    )
