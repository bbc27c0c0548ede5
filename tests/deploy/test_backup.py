"""The server's backup, in a folder instead of a machine: whole, encrypted to public keys, and put back elsewhere."""

import os
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from collector.store.record_db import open_record
from tests.deploy.templates import PLAYS, rendered
from tests.deploy.test_plays import run
from tests.support.deployment import HEADER, Collector, made, plain, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto, program

ROLE = PLAYS / "roles/backup"
SECRET = "the authority's key"
STATE, ARCHIVE = "var/lib/xomnet-collector", "var/lib/xomnet-collector/archive"
DAY = 86_400.0
WRITTEN = 100_000
"""Rows in the database that is written to during a backup: enough that no copy ends between two writes."""
COLLECTOR = 12_345
"""The user of the collector, who is another than the backup's."""


def new_key(path: Path) -> str:
    """The public half of a new key pair."""
    for argv in (["-o", str(path)], ["-y", str(path)]):
        done = subprocess.run([program("age-keygen"), *argv], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The private key on the operator's machine; `server` encrypts to it."""
    return tmp_path / "operator.key"


@pytest.fixture
def server(tmp_path: Path, key: Path) -> Path:
    """A server's folders with something to back up, and the public key."""
    root = tmp_path / "server"
    for name in ("etc/xomnet", "var/backups", "var/lib/xomnet-backup", "var/lib/xomnet-ca", ARCHIVE):
        (root / name).mkdir(parents=True)
    (root / "var/lib/xomnet-releases").mkdir()
    (root / "etc/xomnet/backup.recipients").write_text(new_key(key))
    write(root / "var/lib/xomnet-ca/ca.key", SECRET.encode(), 0o600)
    for name in ("xomnet-ca/ledger.db", "xomnet-collector/alerts.db"):
        with closing(sqlite3.connect(root / "var/lib" / name)) as database, database:
            database.execute("CREATE TABLE kept(what)")
            database.execute("INSERT INTO kept VALUES ('a row')")
    for number in (1, 2, 3):
        write(root / ARCHIVE / f"2026-10-0{number}.day", f"day {number} ".encode() * 9, 0o600)
    write(root / ARCHIVE / "2026-10-04.log", b"what came today", 0o600)
    write(root / "usr/local/lib/xomnet/backup-influxdb", b'#!/bin/sh\necho points >"$1/points"\n', 0o755)
    if os.geteuid() == 0:
        for path in (root / STATE, *(root / STATE).rglob("*")):
            os.chown(path, COLLECTOR, COLLECTOR)
    return root


def write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def script(root: Path, **settings: object) -> list[str]:
    text = rendered(ROLE / "templates/backup", **{"xomnet_backup_dir": f"{root}/var/backups", **settings})
    assert text.count("\nroot=\n") == 1
    (root / "backup").write_text(text.replace("\nroot=\n", f"\nroot={root}\n"))
    return [*confined(), "bash", str(root / "backup")]


def confined() -> list[str]:
    """With the capabilities that its service has; nobody but root has any."""
    if os.geteuid() != 0:
        return []
    service = rendered(ROLE / "templates/xomnet-backup.service")
    (line,) = [line for line in service.splitlines() if line.startswith("CapabilityBoundingSet=")]
    capabilities = [f"+{name.removeprefix('CAP_').lower()}" for name in line.partition("=")[2].split()]
    return [program("setpriv"), f"--bounding-set={','.join(['-all', *capabilities])}"]


def back_up(root: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(script(root, **settings), capture_output=True, text=True, timeout=90, check=False)


def backed_up(root: Path, **settings: object) -> Path:
    done = back_up(root, **settings)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Opened(NamedTuple):
    status: int
    said: str
    root: Path
    """The empty machine on which it was put back."""


def restore(backup: Path, folder: Path, key: Path | None = None) -> Opened:
    """What restore.yml has its two scripts do, on an empty machine."""
    folder.mkdir()
    out, unpacked = folder / "out.tar", made(folder, "unpacked")
    argv = [str(ROLE / "files/decrypt-backup"), str(backup), str(out), *([str(key)] if key else [])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode in (0, 3):
        subprocess.run(["tar", "-xf", str(out), "-C", str(unpacked)], check=True, timeout=30)
        put_back(unpacked, made(folder, "root"))
    return Opened(done.returncode, done.stderr, folder / "root")


def put_back(unpacked: Path, root: Path) -> None:
    argv = [str(ROLE / "files/put-back"), str(unpacked), str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(opened.iterdump())


def is_database(path: Path) -> bool:
    return path.read_bytes().startswith(b"SQLite format 3")


def check_equal(there: Path, here: Path, *parts: str) -> None:
    """Every file is there with its content, its owner and its mode; of a database, its rows."""
    for path in (path for part in parts for path in sorted((there / part).rglob("*"))):
        if path.name.endswith(("-wal", "-shm")):
            continue
        back = here / path.relative_to(there)
        was, now = path.stat(), back.stat()
        assert (was.st_mode, was.st_uid, was.st_gid) == (now.st_mode, now.st_uid, now.st_gid), path
        if path.is_file() and is_database(path):
            assert rows(path) == rows(back), path
        elif path.is_file():
            assert path.read_bytes() == back.read_bytes(), path


def test_only_the_private_key_reads_a_backup(server: Path, key: Path, tmp_path: Path) -> None:
    backup = backed_up(server)
    assert backup.name.endswith(".tar.age")
    found = files(server / "var/backups")
    days = [f"archive/2026-10-0{number}.day{more}" for number in (1, 2, 3) for more in (".age", ".sha256")]
    assert [*found] == [*days, backup.name], "nothing stays that is not encrypted"
    for content in found.values():
        assert not [word for word in (SECRET, "day 1", "came today", "a row") if word.encode() in content]
    new_key(tmp_path / "other.key")
    refused = restore(backup, tmp_path / "refused", tmp_path / "other.key")
    assert refused.status not in (0, 3)
    opened = restore(backup, tmp_path / "opened", key)
    assert opened.status == 0, opened.said
    check_equal(server, opened.root, "etc/xomnet", "var/lib/xomnet-ca", STATE)
    assert (tmp_path / "opened/unpacked/influxdb/points").read_text() == "points\n"
    assert ".day" not in (tmp_path / "opened/unpacked/MANIFEST").read_text(), "a sealed day is in no nightly file"


def test_a_backup_is_unencrypted_only_if_the_settings_say_so(server: Path, tmp_path: Path) -> None:
    opened = restore(backed_up(server, xomnet_backup_unencrypted=True), tmp_path / "opened")
    assert opened.status == 0, opened.said
    check_equal(server, opened.root, "etc/xomnet", "var/lib/xomnet-ca", STATE)


@pytest.mark.parametrize("broken", ["etc/xomnet/backup.recipients", "usr/local/lib/xomnet/backup-influxdb"])
def test_a_backup_that_fails_leaves_nothing_and_says_so(server: Path, broken: str) -> None:
    (server / broken).unlink()
    done = back_up(server)
    assert done.returncode != 0
    assert not [name for name in files(server / "var/backups") if not name.endswith(".new")]
    assert not (server / "var/lib/xomnet-backup/last").exists()
    assert done.stderr


def test_a_backup_waits_for_one_that_runs_and_keeps_room_on_the_disk(server: Path) -> None:
    argv = script(server)
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(one.communicate(timeout=60)[1], one.returncode) for one in both] == [("", 0)] * 2
    before = files(server / "var/backups")
    done = back_up(server, backup_reserve_mb=10**9)
    assert done.returncode == 1
    assert "MB free, 0 MB and 1000000000 in reserve are needed. Lower xomnet_backup_days, or set" in done.stderr
    assert files(server / "var/backups") == before


def test_a_database_is_left_out_if_the_archive_is_to_build_it(server: Path, key: Path, tmp_path: Path) -> None:
    write(server / ARCHIVE / "2026-10-04.day.new", b"half of a day that is just being sealed", 0o600)
    opened = restore(backed_up(server, xomnet_backup_database=False), tmp_path / "opened", key)
    assert opened.status == 0, opened.said
    assert [path.suffix for path in sorted((opened.root / ARCHIVE).iterdir())] == [*[".day"] * 3, ".log"]
    assert not (tmp_path / "opened/unpacked/influxdb").exists()


@contextmanager
def written(database: Path) -> Iterator[list[int]]:
    """A database of some size that somebody writes to all the time, and what was committed."""
    ending, numbers = threading.Event(), list[int]()
    first = threading.Event()

    def write_on() -> None:
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = OFF")
            opened.execute("CREATE TABLE numbers(number, text)")
            with opened:
                opened.execute("BEGIN")
                opened.executemany("INSERT INTO numbers VALUES (-1, ?)", [("x" * 400,)] * WRITTEN)
            while not ending.wait(0.001):
                opened.execute("INSERT INTO numbers VALUES (?, '')", (len(numbers),))
                numbers.append(len(numbers))
                first.set()

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        assert first.wait(30)
        yield numbers
    finally:
        ending.set()
        thread.join()


@pytest.mark.timeout(240)
def test_a_server_in_use_comes_back_whole_on_an_empty_machine(
    server: Path, key: Path, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    state, first, last = server / STATE, tmp_path / "first", tmp_path / "last"
    registry = server / "etc/xomnet/lines.csv"
    registry.write_text(HEADER + "".join(f"{row}\n" for row in ROWS), encoding="utf-8")
    collector = Collector(
        made(tmp_path, "collector"),
        plain(mosquitto),
        ROWS,
        registry=str(registry),
        state_dir=str(state),
        backup_stamp=str(server / "var/lib/xomnet-backup/last"),
        store={"kind": "sqlite", "path": str(state / "store.db")},
    )
    for path in (state, *state.rglob("*")):
        os.chown(path, os.geteuid(), os.getegid())  # it runs as we do
    for name in ("alerts.db", "archive/2026-10-04.log"):
        (state / name).unlink()  # the collector makes its own
    record = open_record(
        state / "record.db"
    )  # as the collector has it: what was written last is not in the file itself
    record.execute("CREATE TABLE decided(reason TEXT)")
    record.execute("INSERT INTO decided VALUES ('stolen, Xóm 5')")
    with closing(record), collector, written(made(state, "later") / "accounts.sqlite") as numbers:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(mosquitto.port)
        for seq in range(1, 40):
            sender.send(result(seq))
        sender.send(result(41, agent="nd-none"), "xomnet/v1/nd-none/up")
        until(lambda: len(sender.stored()) == 39 and sender.rejected(), "they are answered")
        before = len(numbers)
        opened = restore(backed_up(server), first, key)
        assert opened.status == 0, opened.said
        until(lambda: collector.metric("xomnet_backup_age_seconds") < 3600, "it knows of the backup")
        copies = files(server / "var/backups/archive")
        sender.close()
        collector.stop()
    beside = [one for one in (first / "root" / STATE).rglob("*") if one.name.endswith(("-wal", "-shm"))]
    assert beside == [], "SQLite has copied every database"
    assert count(first / "root" / STATE / "store.db", "latency") == 39
    assert rows(first / "root" / STATE / "record.db") == rows(state / "record.db")
    assert "nd-none" in (first / "root" / STATE / "dead-letters.jsonl").read_text()
    for log in (first / "root" / ARCHIVE).glob("*.log"):
        assert (state / "archive" / log.name).read_bytes().startswith(log.read_bytes())
    assert len(numbers) >= count(first / "root" / STATE / "later/accounts.sqlite", "numbers") - WRITTEN >= before
    opened = restore(backed_up(server), last, key)
    assert opened.status == 0, opened.said
    check_equal(server, opened.root, "etc/xomnet", "var/lib/xomnet-ca", STATE)
    names = {path.name for path in (opened.root / STATE).rglob("*")}
    assert {"store.db", "record.db", "alerts.db", "quota.db", "registry.json", "dead-letters.jsonl"} <= names
    assert files(server / "var/backups/archive") == copies, "a sealed day is encrypted once"
    newest = max((server / "var/backups").glob("*.age"))
    assert (server / "var/lib/xomnet-backup/last").read_text() == f"{newest.name}\n"


def count(database: Path, table: str) -> int:
    rows(database)
    with closing(sqlite3.connect(database)) as opened:
        return int(opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_an_archive_on_a_disk_of_its_own_is_in_the_backup(server: Path, key: Path, tmp_path: Path) -> None:
    (server / "srv").mkdir()
    (server / ARCHIVE).rename(server / "srv/archive")
    opened = restore(backed_up(server, xomnet_archive_dir="/srv/archive"), tmp_path / "opened", key)
    assert opened.status == 0, opened.said
    check_equal(server, opened.root, "srv", STATE)
    assert len(files(opened.root / "srv/archive")) == 4


def test_a_day_that_is_missing_or_damaged_is_named_and_the_others_come_back(
    server: Path, key: Path, tmp_path: Path
) -> None:
    backup = backed_up(server)
    (backup.parent / "archive/2026-10-01.day.age").unlink()
    damaged = backup.parent / "archive/2026-10-02.day.age"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    opened = restore(backup, tmp_path / "opened", key)
    assert opened.status == 3
    assert [line for line in opened.said.splitlines() if not line.startswith("age: ")] == [
        f"2026-10-01.day is missing: no {backup.parent}/archive/2026-10-01.day.age",
        f"2026-10-02.day is damaged: {damaged}",
    ]
    assert [*files(opened.root / ARCHIVE)] == ["2026-10-03.day", "2026-10-04.log"]


def test_another_day_under_its_name_is_damaged_too(server: Path, key: Path, tmp_path: Path) -> None:
    copies = backed_up(server).parent / "archive"
    (copies / "2026-10-01.day.age").write_bytes((copies / "2026-10-03.day.age").read_bytes())
    opened = restore(next(copies.parent.glob("*.age")), tmp_path / "opened", key)
    assert (opened.status, "2026-10-01.day is damaged" in opened.said) == (3, True)


@pytest.mark.parametrize("broken", ["root/etc/xomnet/lines.csv", f"root/{ARCHIVE}/2026-10-02.day"])
def test_nothing_is_put_back_where_a_file_is_damaged(server: Path, tmp_path: Path, broken: str) -> None:
    write(server / "etc/xomnet/lines.csv", b"agent,line", 0o644)
    restore(backed_up(server, xomnet_backup_unencrypted=True), tmp_path / "opened")
    (tmp_path / "opened/unpacked" / broken).write_bytes(b"agent,lime")
    empty = made(tmp_path, "empty")
    argv = [str(ROLE / "files/put-back"), str(tmp_path / "opened/unpacked"), str(empty)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert f"{broken}: FAILED" in done.stdout
    assert [*empty.iterdir()] == []


def test_a_copy_goes_with_its_day_and_a_lost_day_is_kept(server: Path, key: Path, tmp_path: Path) -> None:
    backup = earlier(backed_up(server), 20 * DAY)
    copies = backup.parent / "archive"
    for number in (1, 3):  # the archive lets go of its oldest; another is lost
        (server / ARCHIVE / f"2026-10-0{number}.day").unlink()
    write(server / ARCHIVE / "2026-10-04.day", b"day 4", 0o600)
    done = back_up(server)
    assert done.returncode == 0
    assert "2026-10-03.day is lost; its copy in" in done.stderr
    assert {name[:10] for name in files(copies)} == {"2026-10-02", "2026-10-03", "2026-10-04"}
    assert not backup.exists()
    earlier(max(backup.parent.glob("*.age")), 20 * DAY)
    (server / ARCHIVE).rename(tmp_path / "gone")
    done = back_up(server)
    assert done.returncode == 0
    assert {name[:10] for name in files(copies)} == {"2026-10-02", "2026-10-03", "2026-10-04"}, "all of it is lost"


def earlier(backup: Path, by_s: float) -> Path:
    """The same, made earlier, with all that lies beside it."""
    moved = backup.rename(backup.with_name("xomnet-earlier.tar.age"))
    for path in backup.parent.rglob("*"):
        os.utime(path, (time.time() - by_s,) * 2)
    return moved


def test_a_copy_stays_as_long_as_a_backup_that_names_it(server: Path, key: Path, tmp_path: Path) -> None:
    backup = earlier(backed_up(server), 13 * DAY)
    (server / ARCHIVE / "2026-10-01.day").unlink()
    backed_up(server)
    opened = restore(backup, tmp_path / "opened", key)
    assert opened.status == 0, opened.said
    assert (opened.root / ARCHIVE / "2026-10-01.day").exists()


def test_a_new_key_reads_all_days_from_the_next_backup_on(server: Path, tmp_path: Path) -> None:
    backed_up(server)
    other = tmp_path / "other.key"
    (server / "etc/xomnet/backup.recipients").write_text(new_key(other))
    assert restore(backed_up(server), tmp_path / "opened", other).status == 0


def test_a_backup_of_before_is_put_back(server: Path, tmp_path: Path) -> None:
    unpacked, empty = made(tmp_path, "unpacked"), made(tmp_path, "empty")
    with tarfile.open(unpacked / "files.tar", "w") as tar:
        tar.add(server / "var/lib", "var/lib", filter=lambda one: None if one.name.endswith(".db") else one)
    for name in ("xomnet-ca/ledger.db", "xomnet-collector/alerts.db"):
        write(unpacked / "sqlite" / Path(name).name, (server / "var/lib" / name).read_bytes(), 0o644)
        (server / "var/lib" / name).chmod(0o600)  # as the collector and the authority have them
    put_back(unpacked, empty)
    check_equal(server, empty, "var/lib/xomnet-ca", STATE)


@pytest.mark.timeout(400)
def test_the_play_copies_the_days_that_are_not_here_or_differ(server: Path, tmp_path: Path) -> None:
    (play,) = yaml.safe_load((PLAYS / "backup.yml").read_text())
    play |= {"hosts": "localhost", "connection": "local", "gather_facts": False, "become": False}
    play["tasks"][0]["ansible.builtin.command"]["argv"] = script(server)
    here, there = tmp_path / "copies", server / "var/backups"
    play["vars"] |= {"ansible_python_interpreter": sys.executable}
    play["vars"] |= {"xomnet_backup_dir": str(there), "backup_copies": str(here)}
    (tmp_path / "backup.yml").write_text(yaml.safe_dump([play], width=1000))
    before: dict[str, bytes] = {}
    for name in ("second.key", "third.key"):
        done = run("ansible-playbook", "-i", "localhost,", str(tmp_path / "backup.yml"))
        assert done.returncode == 0, done.stdout
        days = {path: data for path, data in files(there).items() if path.endswith(".day.age")}
        copied = {path: data for path, data in files(here).items() if path.startswith("archive/")}
        assert (copied, len(days)) == (days, 3)
        assert days.items().isdisjoint(before.items()), "a new key encrypts them again, and they are copied again"
        before = days
        (server / "etc/xomnet/backup.recipients").write_text(new_key(tmp_path / name))
        (here / "archive/2026-10-01.day.age").unlink()
    assert len(list(here.glob("xomnet-*.tar.age"))) == 2


def play(folder: Path, backup: Path, key: Path | None, **more: object) -> subprocess.CompletedProcess[str]:
    """What restore.yml does until the backup is unpacked, in a folder of this computer."""
    (play, *_) = yaml.safe_load((PLAYS / "restore.yml").read_text())
    parts = [task for task in play["tasks"] if "block" in task or task["name"].startswith("Ask for the key")]
    assert len(parts) == 2
    (folder / "restored").mkdir()
    play |= {"hosts": "localhost", "connection": "local", "gather_facts": False, "become": False, "tasks": parts}
    play["vars"] |= {"ansible_python_interpreter": sys.executable, **more}
    play["vars"] |= {"restore_folder": f"{folder}/restored", "backup": str(backup)}
    play["vars"] |= {"backup_key": str(key)} if key else {}
    text = yaml.safe_dump([play], width=1000)
    (folder / "restore.yml").write_text(text.replace("{{ playbook_dir }}", str(PLAYS)))
    return run("ansible-playbook", "-i", "localhost,", str(folder / "restore.yml"))


@pytest.mark.timeout(400)
def test_the_play_asks_for_the_key_and_stops_where_a_day_is_missing(server: Path, key: Path, tmp_path: Path) -> None:
    backup = backed_up(server)
    before = files(server / "var/backups")
    done = play(made(tmp_path, "whole"), backup, key)
    assert done.returncode == 0, done.stdout
    assert {"MANIFEST", "DAYS", "root", "influxdb"} == {path.name for path in (tmp_path / "whole/restored").iterdir()}
    assert len(files(tmp_path / "whole/restored/root" / ARCHIVE)) == 4
    assert files(server / "var/backups") == before, "what was decrypted is gone"
    done = play(made(tmp_path, "keyless"), backup, None)
    assert done.returncode != 0
    assert "is encrypted. Name the private key's file" in done.stdout + done.stderr
    (backup.parent / "archive/2026-10-02.day.age").unlink()
    done = play(made(tmp_path, "missing"), backup, key)
    assert done.returncode != 0
    assert "2026-10-02.day is missing" in done.stdout + done.stderr
    assert "-e restore_without_days=true" in done.stdout + done.stderr
    done = play(made(tmp_path, "without"), backup, key, restore_without_days=True)
    assert done.returncode == 0, done.stdout
    assert len(files(tmp_path / "without/restored/root" / ARCHIVE)) == 3
