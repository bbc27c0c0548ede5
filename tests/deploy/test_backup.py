"""The server's backup, in a folder instead of a machine: encrypted to public keys, and whole."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.templates import PLAYS, rendered
from tests.deploy.test_plays import run
from tests.support.services import program

BACKUP = PLAYS / "roles/backup/templates/backup"
SECRET = "the authority's key"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The private key on the operator's machine."""
    path = tmp_path / "operator.key"
    subprocess.run([program("age-keygen"), "-o", str(path)], check=True, capture_output=True, timeout=30)
    return path


@pytest.fixture
def server(tmp_path: Path, key: Path) -> Path:
    """A server's folders with something to back up, and the public key."""
    root = tmp_path / "server"
    for name in (
        "etc/xomnet",
        "var/backups",
        "var/lib/xomnet-ca",
        "var/lib/xomnet-collector",
        "var/lib/xomnet-releases",
    ):
        (root / name).mkdir(parents=True)
    public = subprocess.run([program("age-keygen"), "-y", str(key)], check=True, capture_output=True, timeout=30)
    (root / "etc/xomnet/backup.recipients").write_bytes(public.stdout)
    (root / "var/lib/xomnet-ca/ca.key").write_text(SECRET)
    for name in ("xomnet-ca/ledger.db", "xomnet-collector/alerts.db"):
        with sqlite3.connect(root / "var/lib" / name) as database:
            database.execute("CREATE TABLE kept(what)")
            database.execute("INSERT INTO kept VALUES ('a row')")
    influxdb = root / "usr/local/lib/xomnet/backup-influxdb"
    influxdb.parent.mkdir(parents=True)
    influxdb.write_text('#!/bin/sh\necho points >"$1/points"\n')
    influxdb.chmod(0o755)
    return root


def back_up(root: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    text = rendered(BACKUP, **{"xomnet_backup_dir": f"{root}/var/backups", **settings})
    for place in ("/var/lib/", "/usr/local/", "/etc/xomnet"):
        text = text.replace(f" {place}", f" {root}{place}").replace(f"\n{place}", f"\n{root}{place}")
    script = root / "backup"
    script.write_text(text.replace("-C / ", f"-C {root} "))
    return subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=60, check=False)


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "var/backups").iterdir())


def unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True, timeout=30)
    subprocess.run(["tar", "-xf", str(folder / "files.tar"), "-C", str(folder)], check=True, timeout=30)


def check(folder: Path) -> None:
    assert (folder / "var/lib/xomnet-ca/ca.key").read_text() == SECRET
    assert (folder / "influxdb/points").read_text() == "points\n"
    for name in ("ledger.db", "alerts.db"):
        with sqlite3.connect(folder / "sqlite" / name) as database:
            assert database.execute("SELECT * FROM kept").fetchall() == [("a row",)]


def test_only_the_private_key_reads_a_backup(server: Path, key: Path, tmp_path: Path) -> None:
    done = back_up(server)
    assert done.returncode == 0, done.stderr
    backup = Path(done.stdout.strip())
    assert backup.name.endswith(".tar.age")
    assert files(server) == [backup.name], "nothing stays that is not encrypted"
    assert SECRET.encode() not in backup.read_bytes()
    decrypt = [program("age"), "--decrypt", "--output", str(tmp_path / "backup.tar"), "--identity"]
    other = tmp_path / "other.key"
    subprocess.run([program("age-keygen"), "-o", str(other)], check=True, capture_output=True, timeout=30)
    refused = subprocess.run([*decrypt, str(other), str(backup)], capture_output=True, timeout=30, check=False)
    assert refused.returncode != 0
    subprocess.run([*decrypt, str(key), str(backup)], check=True, timeout=30)
    unpack(tmp_path / "backup.tar", tmp_path / "restored")
    check(tmp_path / "restored")


def test_a_backup_is_unencrypted_only_if_the_settings_say_so(server: Path, tmp_path: Path) -> None:
    done = back_up(server, xomnet_backup_unencrypted=True)
    assert done.returncode == 0, done.stderr
    unpack(Path(done.stdout.strip()), tmp_path / "restored")
    check(tmp_path / "restored")


@pytest.mark.parametrize("broken", ["etc/xomnet/backup.recipients", "usr/local/lib/xomnet/backup-influxdb"])
def test_a_backup_that_fails_leaves_nothing_and_says_so(server: Path, broken: str) -> None:
    (server / broken).unlink()
    done = back_up(server)
    assert done.returncode != 0
    assert not [name for name in files(server) if not name.endswith(".new")]
    assert done.stderr


def restore(folder: Path, backup: Path, key: Path | None) -> subprocess.CompletedProcess[str]:
    """What restore.yml does until the backup is unpacked, in a folder of this computer."""
    (play, *_) = yaml.safe_load((PLAYS / "restore.yml").read_text())
    parts = [task for task in play["tasks"] if "block" in task or task["name"].startswith("Ask for the key")]
    assert len(parts) == 2
    (folder / "restored").mkdir()
    play |= {"hosts": "localhost", "connection": "local", "gather_facts": False, "become": False, "tasks": parts}
    play["vars"] |= {"ansible_python_interpreter": sys.executable}
    play["vars"] |= {"restore_folder": f"{folder}/restored", "backup": str(backup)}
    play["vars"] |= {"backup_key": str(key)} if key else {}
    (folder / "restore.yml").write_text(yaml.safe_dump([play]))
    return run("ansible-playbook", "-i", "localhost,", str(folder / "restore.yml"))


@pytest.mark.timeout(400)
def test_a_backup_is_restored_by_its_key_and_one_of_before_without(server: Path, key: Path, tmp_path: Path) -> None:
    encrypted = Path(back_up(server).stdout.strip())
    for case in ("encrypted", "without", "plain"):
        (tmp_path / case).mkdir()
    done = restore(tmp_path / "encrypted", encrypted, key)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in (tmp_path / "encrypted/restored").iterdir()) == [
        "files.tar",
        "influxdb",
        "sqlite",
    ]
    assert files(server) == [encrypted.name], "what was decrypted is gone"
    done = restore(tmp_path / "without", encrypted, None)
    assert done.returncode != 0
    assert "is encrypted. Name the private key's file" in done.stdout + done.stderr
    plain = Path(back_up(server, xomnet_backup_unencrypted=True).stdout.strip())
    done = restore(tmp_path / "plain", plain, None)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "plain/restored/sqlite/ledger.db").exists()
