"""The certificate authority: what it signs, what it refuses, what it says of that afterwards."""

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collector.pki import enrolment_tokens
from collector.pki.authority import DAYS, Authority, AuthorityError
from collector.pki.enrolment_tokens import WrongToken
from collector.pki.requests import SigningRefused

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
UNIT = "nd-haihau-0012"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr(*names: str, of: Key | None = None) -> bytes:
    """A request for these common names, with a subject alternative name that nobody should get."""
    of = of or key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    wish = x509.SubjectAlternativeName([x509.DNSName("xomnet.example.vn")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(wish, critical=False)
    return builder.sign(of, None if isinstance(of, ed25519.Ed25519PrivateKey) else hashes.SHA256()).public_bytes(
        Encoding.PEM
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "ca", NOW)


def revoked_serials(authority: Authority) -> set[int]:
    crl = x509.load_pem_x509_crl((authority.folder / "ca.crl").read_bytes())
    public = authority.certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(public)
    return {one.serial_number for one in crl}


def test_a_units_certificate_is_for_its_name_for_a_client_and_for_825_days(authority: Authority) -> None:
    made = x509.load_pem_x509_certificate(authority.sign(csr(UNIT), UNIT, "unit", NOW).pem.encode())
    made.verify_directly_issued_by(authority.certificate)
    assert made.subject.rfc4514_string() == f"CN={UNIT}"
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_after_utc == NOW + dt.timedelta(days=DAYS)
    with pytest.raises(x509.ExtensionNotFound):  # what the request wished for is not in it
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_servers_certificate_has_its_names_and_is_for_no_client(authority: Authority) -> None:
    entry = authority.sign(csr("xomnet.example.vn"), "xomnet.example.vn", "server", NOW, ["192.0.2.1"])
    made = x509.load_pem_x509_certificate(entry.pem.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == ["xomnet.example.vn", "192.0.2.1"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_no_certificate_outlives_the_authority(authority: Authority) -> None:
    end = authority.certificate.not_valid_after_utc
    assert authority.sign(csr(UNIT), UNIT, "unit", end - dt.timedelta(days=3)).until == end


@pytest.mark.parametrize(
    ("request_", "name", "reason"),
    [
        (csr("nd-other-0001"), UNIT, "is for nd-other-0001"),
        (csr(UNIT, "collector"), UNIT, f"is for {UNIT}, collector"),
        (csr(), UNIT, "is for no name"),
        (csr("collector"), "collector", "the collector's name"),
        (csr("a/+/b"), "a/+/b", "write lower-case letters"),
        (csr(f"{UNIT}\n"), f"{UNIT}\n", "write lower-case letters"),
        (csr(UNIT, of=rsa.generate_private_key(65537, 1024)), UNIT, "a weak or unusual key"),
        (csr(UNIT, of=ec.generate_private_key(ec.SECP224R1())), UNIT, "a weak or unusual key"),
        (csr(UNIT, of=ed25519.Ed25519PrivateKey.generate()), UNIT, "a weak or unusual key"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            UNIT,
            "no certificate request",
        ),
        (b"x" * 9000, UNIT, "9000 bytes"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(
    authority: Authority, request_: bytes, name: str, reason: str
) -> None:
    with pytest.raises(SigningRefused, match=reason.replace("+", r"\+")):
        authority.sign(request_, name, "unit", NOW)
    assert authority.certificates() == []


def test_a_request_that_was_changed_is_refused(authority: Authority) -> None:
    request = x509.load_pem_x509_csr(csr(UNIT)).public_bytes(Encoding.DER)
    broken = request[:-1] + bytes([request[-1] ^ 1])
    pem = x509.load_der_x509_csr(broken).public_bytes(Encoding.PEM)
    with pytest.raises(SigningRefused, match="signature is not valid"):
        authority.sign(pem, UNIT, "unit", NOW)


def test_one_key_is_for_one_name_and_never_after_its_revocation(authority: Authority) -> None:
    mine = key()
    authority.sign(csr(UNIT, of=mine), UNIT, "unit", NOW)
    authority.sign(csr(UNIT, of=mine), UNIT, "unit", NOW)  # renewed
    with pytest.raises(SigningRefused, match=f"this key belongs to {UNIT}"):
        authority.sign(csr("nd-other-0001", of=mine), "nd-other-0001", "unit", NOW)
    authority.revoke(UNIT, NOW)
    with pytest.raises(SigningRefused, match="this key is revoked"):
        authority.sign(csr(UNIT, of=mine), UNIT, "unit", NOW)


def test_a_unit_has_one_key_and_a_server_as_many_as_it_has_services(authority: Authority) -> None:
    old, mine = authority.sign(csr(UNIT), UNIT, "unit", NOW), key()
    new = [authority.sign(csr(UNIT, of=mine), UNIT, "unit", NOW) for _ in range(2)]
    other = authority.sign(csr("nd-other-0001"), "nd-other-0001", "unit", NOW)
    servers = [authority.sign(csr("xomnet.example.vn"), "xomnet.example.vn", "server", NOW) for _ in range(2)]
    assert {one.serial for one in authority.certificates() if one.revoked} == {old.serial}
    assert revoked_serials(authority) == {int(old.serial, 16)}
    assert len(authority.certificates()) == len([old, *new, other, *servers])


def test_a_servers_name_is_no_units(authority: Authority) -> None:
    authority.sign(csr("server"), "server", "server", NOW)
    with pytest.raises(SigningRefused, match="server is the name of a server"):
        authority.sign(csr("server"), "server", "unit", NOW)


def test_a_unit_that_asks_without_end_is_stopped(authority: Authority) -> None:
    for _ in range(10):
        authority.sign(csr(UNIT), UNIT, "unit", NOW)
    with pytest.raises(SigningRefused, match="10 certificates within a day"):
        authority.sign(csr(UNIT), UNIT, "unit", NOW + dt.timedelta(hours=23))
    authority.sign(csr(UNIT), UNIT, "unit", NOW + dt.timedelta(hours=25))


def test_revoking_a_name_lists_all_its_certificates_and_a_new_one_is_good(authority: Authority) -> None:
    mine = key()
    first, second = (authority.sign(csr(UNIT, of=mine), UNIT, "unit", NOW) for _ in range(2))
    authority.sign(csr("nd-other-0001"), "nd-other-0001", "unit", NOW)
    assert [one.serial for one in authority.revoke(UNIT, NOW)] == [first.serial, second.serial]
    assert revoked_serials(authority) == {int(first.serial, 16), int(second.serial, 16)}
    assert authority.revoke(UNIT, NOW) == []
    authority.sign(csr(UNIT), UNIT, "unit", NOW)
    assert len(revoked_serials(authority)) == 2


def test_the_list_of_revocations_lasts_as_long_as_the_authority(authority: Authority) -> None:
    crl = x509.load_pem_x509_crl((authority.folder / "ca.crl").read_bytes())
    assert crl.next_update_utc == authority.certificate.not_valid_after_utc


def test_whom_nobody_knows_can_not_be_revoked(authority: Authority) -> None:
    with pytest.raises(SigningRefused, match="never had a certificate"):
        authority.revoke(UNIT, NOW)


def test_secrets_are_closed_and_an_authority_is_not_made_twice(authority: Authority) -> None:
    modes = {name: stat.S_IMODE((authority.folder / name).stat().st_mode) for name in ("ca.key", "ledger.db")}
    assert modes == {"ca.key": 0o600, "ledger.db": 0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    before = (authority.folder / "ca.key").read_bytes()
    with pytest.raises(AuthorityError, match="holds an authority already"):
        Authority.make(authority.folder, NOW)
    assert (authority.folder / "ca.key").read_bytes() == before


def test_a_token_is_spent_once_but_its_answer_may_be_asked_for_again(authority: Authority) -> None:
    token = enrolment_tokens.make(authority, UNIT, NOW)
    mine = key()
    first = enrolment_tokens.spend(authority, UNIT, token, csr(UNIT, of=mine), NOW)
    assert enrolment_tokens.spend(authority, UNIT, token, csr(UNIT, of=mine), NOW).serial == first.serial
    with pytest.raises(WrongToken):
        enrolment_tokens.spend(authority, UNIT, token, csr(UNIT), NOW)
    assert [one.serial for one in authority.certificates()] == [first.serial]


def test_a_bad_request_does_not_spend_the_token(authority: Authority) -> None:
    token = enrolment_tokens.make(authority, UNIT, NOW)
    with pytest.raises(SigningRefused):
        enrolment_tokens.spend(authority, UNIT, token, csr("nd-other-0001"), NOW)
    assert enrolment_tokens.spend(authority, UNIT, token, csr(UNIT), NOW).name == UNIT


def test_a_token_is_of_its_unit_of_its_time_and_the_newest(authority: Authority) -> None:
    other = enrolment_tokens.make(authority, "nd-other-0001", NOW)
    old = enrolment_tokens.make(authority, UNIT, NOW)
    new = enrolment_tokens.make(authority, UNIT, NOW, days=1)
    for token, when in ((other, NOW), (old, NOW), ("", NOW), (new, NOW + dt.timedelta(days=1))):
        with pytest.raises(WrongToken):
            enrolment_tokens.spend(authority, UNIT, token, csr(UNIT), when)
    assert new.encode() not in (authority.folder / "ledger.db").read_bytes()  # only its hash is kept


def test_revoking_takes_the_token_too(authority: Authority) -> None:
    authority.sign(csr(UNIT), UNIT, "unit", NOW)
    token = enrolment_tokens.make(authority, UNIT, NOW)
    authority.revoke(UNIT, NOW)
    with pytest.raises(WrongToken):
        enrolment_tokens.spend(authority, UNIT, token, csr(UNIT), NOW)
