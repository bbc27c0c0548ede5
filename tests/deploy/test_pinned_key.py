"""A vendor's keys: of those that were fetched, apt trusts the one with the fingerprint."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.templates import PLAYS
from tests.support.services import program

SCRIPT = PLAYS / "roles/repository/files/pinned-key"


def gpg(home: Path, *arguments: str) -> bytes:
    home.mkdir(mode=0o700, exist_ok=True)
    argv = [program("gpg"), "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


def new_key(home: Path, name: str) -> str:
    """Makes a key; its fingerprint."""
    gpg(home, "--quick-generate-key", name, "ed25519", "sign", "never")
    (found,) = re.findall(r"fpr:+(\w+):", gpg(home, "--with-colons", "--list-keys", name).decode())
    return str(found)


def fingerprints(file: Path, home: Path) -> list[str]:
    return re.findall(r"fpr:+(\w+):", gpg(home, "--show-keys", "--with-colons", str(file)).decode())


def pin(fingerprint: str, fetched: Path, keyring: Path) -> subprocess.CompletedProcess[str]:
    argv = ["sh", str(SCRIPT), fingerprint, str(fetched), str(keyring)]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOME": "/"}
    )


def test_one_key_of_many_is_trusted_and_a_stranger_changes_nothing(tmp_path: Path) -> None:
    home, fetched, keyring = tmp_path / "gpg", tmp_path / "fetched", tmp_path / "keyring.gpg"
    vendors, old = new_key(home, "Vendor"), new_key(home, "Old")
    fetched.write_bytes(gpg(home, "--armor", "--export"))
    assert set(fingerprints(fetched, home)) == {vendors, old}
    done = pin(vendors, fetched, keyring)
    assert (done.returncode, done.stdout) == (0, "changed\n"), done.stderr
    assert fingerprints(keyring, home) == [vendors]
    assert pin(vendors, fetched, keyring).stdout == "", "nothing is new"
    trusted = keyring.read_bytes()
    fetched.write_bytes(gpg(home, "--armor", "--export", old))
    done = pin(vendors, fetched, keyring)
    assert done.returncode == 1
    assert f"has no key {vendors}" in done.stderr
    assert keyring.read_bytes() == trusted


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fetched").write_text("<html>sign in to this network</html>")
    assert pin("0" * 40, tmp_path / "fetched", tmp_path / "keyring.gpg").returncode == 1
    assert not (tmp_path / "keyring.gpg").exists()


@pytest.mark.parametrize("role", ["influxdb", "grafana"])
def test_each_vendors_repository_has_a_fingerprint(role: str) -> None:
    tasks = yaml.safe_load((PLAYS / "roles" / role / "tasks/vendor.yml").read_text())
    (added,) = [task["vars"] for task in tasks if "repository_uri" in task.get("vars", {})]
    assert re.fullmatch(r"[0-9A-F]{40}", added["repository_fingerprint"])
    assert "deb822_repository" not in str(tasks)
