"""Permissions to measure: their text, who gets one and when, and how they travel."""

import datetime as dt
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.permission import keep_permission, kept_permission
from agent.delivery.spool import Spool
from agent.measure.engines import TestSpec, ookla
from agent.measure.engines.http_stream import Source
from collector.ingest.acks import acks_of
from collector.ingest.permissions import PermissionIssuer
from collector.ingest.validate import RefusedMessage, ResultId
from xomnet.contract.messages import Ack, Stored, decode_ack, encode
from xomnet.contract.permission import parse_permission, signed_bytes, to_permission_text
from xomnet.contract.topics import NAME_PATTERN
from xomnet.runtime.secrets import SecretError

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
SPOOL, BOOT = uuid.uuid4(), uuid.uuid4()
TEXT = to_permission_text("nd-1", 1_800_000_000, bytes(64))


@given(st.from_regex(NAME_PATTERN, fullmatch=True), st.integers(1, 10**11), st.binary(min_size=64, max_size=64))
def test_a_permission_is_read_as_it_was_written_and_fits_a_header(unit: str, expires_at: int, signature: bytes) -> None:
    text = to_permission_text(unit, expires_at, signature)
    assert parse_permission(text) == (unit, expires_at, signature)
    assert len(text) <= 150
    assert decode_ack(encode(Ack(agent=unit, time=NOW, permission=text))).permission == text


@given(st.text())
def test_any_other_text_is_none(text: str) -> None:
    assert parse_permission(text) is None


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return written(tmp_path / "permission.key", Ed25519PrivateKey.generate())


def written(file: Path, key: Ed25519PrivateKey) -> Path:
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return file


def test_a_unit_gets_one_every_six_hours_and_from_a_new_process(key_file: Path) -> None:
    issuer = PermissionIssuer(key_file)
    text = issuer.issue_if_due("nd-1", NOW)
    assert text is not None
    found = parse_permission(text)
    assert found is not None
    assert (found.unit, found.expires_at) == ("nd-1", (NOW + 24 * HOUR).timestamp())
    issuer._key.public_key().verify(found.signature, signed_bytes(found.unit, found.expires_at))
    assert issuer.issue_if_due("nd-1", NOW + 5.9 * HOUR) is None
    assert issuer.issue_if_due("nd-2", NOW)
    assert issuer.issue_if_due("nd-1", NOW + 6 * HOUR)
    assert issuer.issue_if_due("nd-1", NOW), "the clock was set back"
    assert PermissionIssuer(key_file).issue_if_due("nd-1", NOW)


def test_a_key_that_is_open_or_of_another_kind_is_refused(tmp_path: Path, key_file: Path) -> None:
    key_file.chmod(0o604)
    with pytest.raises(SecretError, match="chmod 600"):
        PermissionIssuer(key_file)
    with pytest.raises(SecretError, match="No such file"):
        PermissionIssuer(tmp_path / "none")
    other = tmp_path / "other.key"
    for pem in (
        b"nonsense",
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ):
        other.write_bytes(pem)
        other.chmod(0o600)
        with pytest.raises(SecretError, match="openssl genpkey -algorithm ed25519 -out"):
            PermissionIssuer(other)


def test_the_first_answer_to_a_unit_brings_it_and_only_where_something_was_stored() -> None:
    stored = [ResultId("nd-1", SPOOL, seq) for seq in range(1, 300)]
    refused = [RefusedMessage("future", "…", agent, ResultId(agent, SPOOL, 500)) for agent in ("nd-1", "nd-2")]
    acks = acks_of(stored, refused, NOW, lambda agent: f"{agent}.1")
    assert [(ack.agent, ack.permission) for ack in acks] == [
        ("nd-1", "nd-1.1"),
        ("nd-1", None),
        ("nd-1", None),
        ("nd-2", None),
    ]
    assert all(ack.permission is None for ack in acks_of(stored, refused, NOW))


class AckOf010(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As in version 0.1.0."""

    agent: str
    time: dt.datetime
    stored: tuple[Stored, ...] = ()


def test_a_unit_of_0_1_0_reads_the_rest_of_the_answer() -> None:
    ack = Ack(agent="nd-1", time=NOW, stored=(Stored(spool=SPOOL, seqs=(1,)),), permission=TEXT)
    assert msgspec.json.decode(encode(ack), type=AckOf010).stored == ack.stored
    old = AckOf010(agent="nd-1", time=NOW)
    assert decode_ack(msgspec.json.encode({"v": 1, **msgspec.to_builtins(old)})).permission is None


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX-Xomnet-Test: b", "a\n", "é", "x" * 257])
def test_what_does_not_fit_a_header_is_no_permission(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="permission"):
        decode_ack(encode(Ack(agent="nd-1", time=NOW, permission=text)))


def test_a_unit_keeps_the_newest_over_restarts(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db", "nd-1", BOOT)
    assert kept_permission(spool) is None
    keep_permission(spool, "first")
    keep_permission(spool, TEXT)
    spool.close()
    spool = Spool(tmp_path / "spool.db", "nd-1", BOOT)
    assert kept_permission(spool) == TEXT
    spool.close()


def test_it_is_shown_in_a_header_of_its_own() -> None:
    address = (2, ("192.0.2.1", 80))
    shown, plain = (
        Source(urlsplit("http://do1.example.vn/"), address, None, "id", "garbage.php?r=", permission).request()  # type: ignore[arg-type]
        for permission in (TEXT, None)
    )
    assert f"\r\nAuthorization: Bearer {TEXT}\r\n".encode() in shown
    assert b"Authorization" not in plain


def test_a_server_that_speedtest_net_names_does_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TestSpec] = []
    monkeypatch.setattr(ookla, "best_server", lambda _: "http://speedtest.example/speedtest")
    monkeypatch.setattr(ookla, "download", lambda test, *_: seen.append(test))
    ookla.measure(TestSpec("", permission=TEXT))
    assert [test.permission for test in seen] == [None]
