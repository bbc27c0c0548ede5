"""The tool that upgrades a unit: real HTTPS with client certificates, ssh-keygen, environments and kills."""

import datetime as dt
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from tests.support.releases import Door, Press
from tests.support.services import free_port, program

ROOT = Path(__file__).parents[2]
RUN = "import sys; sys.path.insert(0, {lib!r}); from updater.__main__ import main; sys.exit(main())"
RESTART = """\
import os, signal, subprocess, sys, time, urllib.request
home, config, port, pid = sys.argv[1:]
try:
    os.kill(int(open(pid).read()), signal.SIGKILL)
    time.sleep(0.1)
except (OSError, ValueError):
    pass
log = open(home + "/log", "a")
one = subprocess.Popen([home + "/current/bin/python", "-m", "agent", config], stdout=log, stderr=log, cwd=home)
open(pid, "w").write(str(one.pid))
for _ in range(100):
    if one.poll() is not None:
        sys.exit(1)
    try:
        urllib.request.urlopen("http://127.0.0.1:" + port, timeout=1)
        sys.exit(0)
    except OSError:
        time.sleep(0.05)
sys.exit(1)
"""
"""What `systemctl restart` does on a unit: the release in force, as a process."""


@dataclass
class Unit:
    """A unit in a folder, with the tool copied to it as deployment does."""

    folder: Path
    port: int
    door: Door
    press: Press

    def settings(self, **more: Any) -> None:
        restart = [sys.executable, str(self.folder / "restart.py"), *map(str, (self.home, self.config)), str(self.port)]
        known: dict[str, Any] = {
            "agent": "nd-a",
            "server": self.door.url,
            "area": "Nam Định/Hải Hậu",
            "home": str(self.home),
            "state": str(self.folder / "state"),
            "config": str(self.config),
            "pki": str(self.folder / "pki"),
            "signers": str(self.press.signers),
            "token": str(self.folder / "token"),
            "status_url": f"http://127.0.0.1:{self.port}/status.json",
            "key_owner": getpass.getuser(),
            "python": sys.executable,
            "restart": [*restart, str(self.folder / "pid")],
            "reload": ["true"],
            "clock": ["echo", "yes"],
            "enable": [*restart, str(self.folder / "pid")],
            "ack_s": 2.0,
            "poll_s": 0.1,
        }
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in (known | more).items()]
        (self.folder / "updater.toml").write_text("".join(lines))

    @property
    def home(self) -> Path:
        return self.folder / "opt"

    @property
    def config(self) -> Path:
        return self.folder / "agent.json"

    @property
    def current(self) -> str:
        return Path(os.readlink(self.home / "current")).name

    def run(self, *arguments: str, dies_at: str | None = None) -> tuple[int, str]:
        """The tool, as the timer starts it: the distribution's Python, without anything but the standard library."""
        code = RUN.format(lib=str(self.folder / "lib"))
        argv = [sys.executable, "-I", "-S", "-c", code, "--settings", str(self.folder / "updater.toml"), *arguments]
        environment = os.environ | ({"XOMNET_UPDATER_FAILPOINT": dies_at} if dies_at else {})
        done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False, env=environment)
        if dies_at:
            assert done.returncode == -signal.SIGKILL, done
        return done.returncode, done.stdout + done.stderr

    def start(self) -> None:
        """What a boot does: the release in force runs."""
        assert (self.home / "current/manifest.json").exists()
        pid = str(self.folder / "pid")
        argv = [sys.executable, str(self.folder / "restart.py"), str(self.home), str(self.config), str(self.port), pid]
        subprocess.run(argv, check=True, timeout=30)

    def runs(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status.json", timeout=5) as answer:
            return str(json.load(answer)["version"])

    def notes(self) -> list[str]:
        path = self.folder / "state/notes.json"
        return [note["name"] for note in json.loads(path.read_bytes())["notes"]] if path.exists() else []

    def end(self) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Press:
    return Press(tmp_path_factory.mktemp("press") / "v1")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, press: Press) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("ca")
    authority = Authority.make(folder / "ca", now())
    key, csr = folder / "server.key", folder / "server.csr"
    argv = [program("openssl"), "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(csr), "-subj", "/CN=localhost"]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    certificate = folder / "server.crt"
    certificate.write_text(authority.sign(csr.read_bytes(), "localhost", "server", now()).pem)
    with Door(folder, press.folder, authority, (certificate, key)) as one:
        yield one


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, press: Press, door: Door) -> Unit:
    """A unit that came by its certificate and its first release in a first boot, cut off at every step of it."""
    unit = Unit(tmp_path_factory.mktemp("unit"), free_port(), door, press)
    (unit.folder / "pki").mkdir()
    shutil.copytree(ROOT / "updater", unit.folder / "lib/updater")
    shutil.copy(door.authority.folder / "ca.crt", unit.folder / "pki/ca.crt")
    (unit.folder / "restart.py").write_text(RESTART)
    unit.config.write_text(json.dumps({"port": unit.port, "away": str(unit.folder / "away")}))
    unit.settings()
    press.release("1.0.0", stages=[{"agents": ["somebody-else"], "from": "2026-01-01T00:00:00Z"}])
    (unit.folder / "token").write_text(enrolment_tokens.make(door.authority, "nd-a", now()) + "\n")
    unit.run("first-boot", dies_at="key")
    door.lose_answer = True
    status, said = unit.run("first-boot")  # the token is spent, and nobody was told
    assert status == 1, said
    for step in ("certificate", "token", "download", "installing", "installed"):
        unit.run("first-boot", dies_at=step)
    status, said = unit.run("first-boot")
    assert (status, said.split(":")[0]) == (0, "ready")
    unit.end()
    return unit


@pytest.fixture
def unit(tmp_path: Path, first: Unit, press: Press, door: Door) -> Iterator[Unit]:
    """A unit at work under release 1.0.0."""
    shutil.copytree(first.folder, tmp_path / "unit", symlinks=True)
    one = Unit(tmp_path / "unit", free_port(), door, press)
    one.config.write_text(json.dumps({"port": one.port, "away": str(one.folder / "away")}))
    one.settings()
    press.made = now()
    (one.folder / "state/upgrade.json").unlink()
    one.start()
    yield one
    one.end()


def test_a_first_boot_enrols_installs_and_erases_its_token(first: Unit) -> None:
    assert not (first.folder / "token").exists()
    assert (first.folder / "pki/unit.key").stat().st_mode & 0o777 == 0o600
    assert first.current == "1.0.0"
    assert first.notes() == ["first_boot"]


def test_an_upgrade_survives_a_power_cut_at_every_step(unit: Unit, press: Press, door: Door) -> None:
    press.release("2.0.0")
    for step in ("manifest", "download", "downloaded", "installing", "installed", "trial", "switched"):
        unit.run("upgrade", dies_at=step)
        if step != "switched":
            assert unit.current == "1.0.0"
        unit.start()
        assert unit.runs() == unit.current
    unit.run("upgrade", dies_at="restarted")
    unit.run("upgrade", dies_at="acknowledged")
    shutil.rmtree(unit.home / "releases/1.0.0/lib")  # nothing needs the old one any more
    unit.run("upgrade", dies_at="kept")
    status, said = unit.run("upgrade")
    assert (status, unit.current, unit.runs()) == (0, "2.0.0", "2.0.0"), said
    assert unit.notes()[-1] == "upgraded"


def test_what_is_downloaded_is_not_fetched_again(unit: Unit, press: Press, door: Door) -> None:
    size = press.release("2.1.0", "unheard").stat().st_size
    door.served, door.cut_after = 0, 100_000
    status, said = unit.run("upgrade")
    assert "rolled back" in said
    assert door.served == size  # the rest after the cut, not all of it again
    assert status == 1


def test_a_release_that_the_collector_does_not_answer_is_rolled_back_and_not_tried_again(
    unit: Unit, press: Press, door: Door
) -> None:
    press.release("3.0.0", "unheard")
    unit.run("upgrade", dies_at="restarted")
    assert unit.runs() == "3.0.0"
    unit.run("upgrade", dies_at="back")
    assert unit.current == "1.0.0"
    unit.start()
    unit.run("upgrade", dies_at="blamed")
    assert unit.runs() == "1.0.0"
    door.served = 0
    status, said = unit.run("upgrade")
    assert (status, unit.runs(), door.served) == (0, "1.0.0", 0)
    assert said.startswith("waits: 3.0.0 failed here")
    assert unit.notes()[-1] == "upgrade_rolled_back"
    press.release("3.0.1")
    assert unit.run("upgrade")[1].startswith("upgraded: 1.0.0 -> 3.0.1")
    assert sorted(path.name for path in (unit.home / "releases").iterdir()) == ["1.0.0", "3.0.1"]
    assert len(list((unit.home / "wheels").iterdir())) == 2


@pytest.mark.parametrize("conduct", ["dies", "strict"])
def test_a_release_that_cannot_work_here_leaves_the_old_one_in_force(unit: Unit, press: Press, conduct: str) -> None:
    press.release("4.0.0", conduct)
    status, said = unit.run("upgrade")
    assert (status, unit.current, unit.runs()) == (1, "1.0.0", "1.0.0"), said
    assert ("does not start" if conduct == "dies" else "agent.yaml, broker") in said
    assert unit.run("upgrade")[1].startswith("waits: 4.0.0 failed here")


def test_a_release_is_not_blamed_for_a_collector_that_is_away(unit: Unit, press: Press) -> None:
    press.release("5.0.0")
    (unit.folder / "away").touch()
    unit.end()
    unit.start()
    assert "tried again later" in unit.run("upgrade")[1]
    assert unit.runs() == "1.0.0"
    (unit.folder / "away").unlink()
    assert unit.run("upgrade")[1].startswith("upgraded")


def test_a_unit_that_goes_down_again_and_again_goes_back(unit: Unit, press: Press) -> None:
    press.release("6.0.0", "unheard")
    for _ in range(3):
        unit.run("upgrade", dies_at="restarted")
    status, said = unit.run("upgrade")
    assert (status, unit.runs()) == (1, "1.0.0")
    assert "went down 3 times" in said


def test_only_what_the_operator_has_signed_for_releases_is_believed(unit: Unit, press: Press, door: Door) -> None:
    press.release("7.0.0")
    manifest = press.folder / "manifest.json"
    signed = manifest.read_bytes()
    manifest.write_bytes(signed.replace(b"7.0.0", b"7.0.1"))
    assert "no valid signature" in unit.run("upgrade")[1]
    press.publish(signed, namespace="file")
    assert "no valid signature" in unit.run("upgrade")[1]
    press.publish(signed)
    wheel = press.folder / "files/xomnet-7.0.0-py3-none-any.whl"
    wheel.write_bytes(bytes(wheel.stat().st_size))
    assert "its checksum is not the signed one" in unit.run("upgrade")[1]
    wheel.write_bytes(bytes(10_000_000))
    door.served = 0
    assert "larger than signed" in unit.run("upgrade")[1]
    assert unit.notes()[-1] == "upgrade_refused"
    assert unit.current == "1.0.0"


def test_an_older_manifest_is_not_believed_again_and_going_back_must_be_meant(unit: Unit, press: Press) -> None:
    press.release("8.0.0", stages=[{"agents": ["nd-b"], "from": "2026-01-01T00:00:00Z"}])
    assert "includes this unit yet" in unit.run("upgrade")[1]
    made = press.made
    press.release("0.9.0")
    assert "is older than 1.0.0" in unit.run("upgrade")[1]
    press.release("0.9.1", downgrade=True)
    assert unit.run("upgrade")[1].startswith("upgraded: 1.0.0 -> 0.9.1")
    press.made = made
    press.release("9.0.0")
    assert "older than one that this unit has seen" in unit.run("upgrade")[1]
    assert unit.runs() == "0.9.1"


EXPIRED = {"expires": "2026-01-01T00:00:00Z"}


def test_an_expired_release_is_not_installed_and_reported(unit: Unit, press: Press, door: Door) -> None:
    press.release("9.1.0", **EXPIRED)
    door.served = 0
    said = "9.1.0: the release expired at 2026-01-01 00:00 UTC; refresh it, sign it and publish it"
    assert unit.run("upgrade")[1].startswith(f"refused: {said}")
    assert unit.run("upgrade", "--from", str(press.folder))[1].startswith(f"refused: {said}")
    assert (unit.runs(), door.served) == ("1.0.0", 0)
    unit.run("upgrade")
    assert unit.notes().count("release_expired") == 1
    press.release("9.1.0")  # refreshed
    assert unit.run("upgrade")[1].startswith("upgraded: 1.0.0 -> 9.1.0")


def test_a_server_that_stays_at_an_expired_release_is_reported_by_a_unit_that_knows_the_time(
    unit: Unit, press: Press
) -> None:
    press.release("9.2.0", **EXPIRED)
    unit.settings(clock=["echo", "no"])
    assert unit.run("upgrade")[1].startswith("upgraded: 1.0.0 -> 9.2.0")
    unit.settings(clock=["no-such-program"])
    assert unit.run("upgrade")[1].startswith("same: 9.2.0")
    assert "release_expired" not in unit.notes()
    unit.settings()
    assert unit.run("upgrade")[1].startswith("same: 9.2.0")
    assert (unit.runs(), unit.notes()[-1]) == ("9.2.0", "release_expired")


def test_a_run_receives_no_more_than_it_may(unit: Unit, press: Press, door: Door) -> None:
    press.release("10.0.0")
    unit.settings(max_mb=0.1)
    assert "max_mb in updater.toml allows 0.1" in unit.run("upgrade")[1]
    unit.settings(max_mb=0.3)
    (unit.folder / "state/upgrade.json").unlink()
    door.takes_ranges, door.cut_after, door.served = False, 150_000, 0
    try:
        assert "more than this run may download" in unit.run("upgrade")[1]
    finally:
        door.takes_ranges = True
    assert door.served < 600_000


def test_somebody_with_a_shell_brings_a_release(unit: Unit, press: Press) -> None:
    wheel = press.release("11.0.0", stages=[])
    assert unit.run("missing", "--from", str(press.folder))[1].split() == [wheel.name]
    assert unit.run("upgrade", "--from", str(press.folder))[1].startswith("upgraded: 1.0.0 -> 11.0.0")
    assert unit.run("upgrade", "--from", str(press.folder))[1].startswith("same: 11.0.0")


def test_a_certificate_is_renewed_in_its_last_third_and_replaced_whole(unit: Unit) -> None:
    certificate = unit.folder / "pki/unit.crt"
    before = certificate.read_text()
    assert unit.run("renew")[1].startswith("not yet: due in")
    assert certificate.read_text() == before
    status, said = unit.run("renew", "--force")
    assert (status, said.split(":")[0]) == (0, "renewed"), said
    assert certificate.read_text() != before
    assert unit.notes()[-1] == "certificate_renewed"
    assert unit.run("upgrade")[0] in (0, 1)
    unit.door.authority.revoke("nd-a", now())
    status, said = unit.run("renew", "--force")
    assert status == 1
    assert unit.notes()[-1] == "renew_failed"
