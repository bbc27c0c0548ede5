"""`xomnet pki` as an operator, and as a play, uses it."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.deployment import HEADER
from tests.unit.test_authority import UNIT, csr
from xomnet_cli import app

pytestmark = pytest.mark.date

ROW = f"{UNIT},ftth,fixed,Xóm 5,Nam Định/Hải Hậu,VNPT,2026-01-01\n"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    (tmp_path / "lines.csv").write_text(HEADER + ROW, encoding="utf-8")
    folder = tmp_path / "ca"
    assert pki("init", "--ca", str(folder)).exit_code == 0
    return folder


def pki(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["pki", *arguments], input=stdin)


def of(ca: Path) -> tuple[str, ...]:
    return "--ca", str(ca), "--registry", str(ca.parent / "lines.csv")


def test_a_certificate_is_signed_listed_and_revoked(ca: Path) -> None:
    signed = pki("sign", UNIT, "--csr", "-", *of(ca), stdin=csr(UNIT))
    assert signed.exit_code == 0
    (ca.parent / "unit.crt").write_text(signed.stdout)
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", ca / "ca.crt", ca.parent / "unit.crt"],
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert verified.returncode == 0
    listed = json.loads(pki("list", "--ca", str(ca), "--json").stdout)
    (one,) = listed["certificates"]
    assert (one["name"], one["kind"], one["state"]) == (UNIT, "unit", "good")
    revoked = json.loads(pki("revoke", UNIT, "--ca", str(ca), "--json").stdout)
    assert revoked == {"ok": True, "name": UNIT, "revoked": [one["serial"]]}
    assert pki("revoke", UNIT, "--ca", str(ca)).stdout == f"{UNIT}: no valid certificate to revoke\n"
    assert "revoked" in pki("list", UNIT, "--ca", str(ca)).stdout


def test_a_servers_certificate_needs_no_row_in_the_registry(ca: Path) -> None:
    names = ("--kind", "server", "--also", "192.0.2.1")
    done = pki("sign", "xomnet.example.vn", "--csr", "-", *names, *of(ca), "--json", stdin=csr("xomnet.example.vn"))
    assert json.loads(done.stdout)["kind"] == "server"


def test_a_token_is_printed_alone_or_as_a_document(ca: Path) -> None:
    assert len(pki("token", UNIT, *of(ca)).stdout) == 33
    document = json.loads(pki("token", UNIT, *of(ca), "--json").stdout)
    assert (document["ok"], document["agent"], len(document["token"])) == (True, UNIT, 32)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("token", "nd-unknown-1"), "has no unit nd-unknown-1; add its row"),
        (("token", UNIT, "--days", "400"), "a token is valid for 1 to 90"),
        (("sign", UNIT, "--csr", "/nowhere.csr"), "/nowhere.csr: No such file or directory"),
        (("sign", "nd-unknown-1", "--csr", "-"), "has no unit nd-unknown-1"),
    ],
)
def test_what_is_refused_is_said_with_the_remedy(ca: Path, arguments: tuple[str, ...], reason: str) -> None:
    said = pki(*arguments, *of(ca))
    assert (said.exit_code, said.stdout, reason in said.stderr) == (1, "", True)
    document = json.loads(pki(*arguments, *of(ca), "--json").stdout)
    assert (document["ok"], reason in document["error"]) == (False, True)


def test_without_an_authority_it_says_how_to_make_one(tmp_path: Path) -> None:
    said = pki("list", "--ca", str(tmp_path))
    assert (said.exit_code, "create an authority: xomnet pki init" in said.stderr) == (1, True)
