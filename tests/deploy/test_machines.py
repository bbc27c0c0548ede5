"""From bare machines to a measuring fleet, by the plays, on machines that boot. The tests are one story, in order.

`make test` runs how it begins, `make deploy-test` all of it, and keeps its log.
"""

import datetime as dt
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.fleet import Fleet
from tests.deploy.grafana_files import provisioned
from tests.deploy.run_log import RunLog
from tests.deploy.site import ROOT
from tests.deploy.test_services import MAX_EXPOSURE
from tests.support.deployment import until
from tests.support.packages import PACKAGES

pytestmark = pytest.mark.timeout(1800)
ACKNOWLEDGED_S = 120.0
REVOKED_S = 5.0
"""How long a unit that was revoked may still publish."""
FIRST_RUN = (
    *("systemd.run=/boot/firmware/firstrun.sh", "systemd.run_success_action=reboot"),
    "systemd.unit=kernel-command-line.target",
)
"""What docs/deploy.en.md appends to the card's cmdline.txt."""
REPORT = "/boot/firmware/xomnet-first-boot.txt"
FIRST_BOOT_S = 300.0
PARTS = (*PACKAGES, "config", "pyproject.toml", "uv.lock", "README.md", "LICENSE")
"""What a release is built of."""


def test_the_plays_install_a_server_and_a_unit_behind_nat(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("A bare unit boots, behind NAT") as saw:
        far = fleet.new_unit("far", 2, behind_nat=True).start()
        assert fleet.server.run("ping", "-c1", "-W2", far.address, "||", "echo", "away").split()[-1] == "away"
        saw("it lets somebody in; the server cannot reach it")
    fleet.make_release()
    with run_log.step("`site.yml`") as saw:
        played = fleet.controller.play("site.yml")
        saw(f"{played.changed} changes")
    with run_log.step("`enrol.yml`: the unit's first result") as saw:
        played = fleet.controller.play("enrol.yml", "--limit", "far")
        assert "far: ready" in played.output
        saw("the play says `far: ready`")
    assert far.run("systemctl", "is-active", "xomnet-agent").strip() == "active"


def test_a_result_is_in_the_database_and_acknowledged(fleet: Fleet, run_log: RunLog) -> None:
    far = fleet.site.machines["far"]
    with run_log.step("A result is stored, and leaves the unit's disk") as saw:
        waiting = fleet.waiting(far)
        until(lambda: fleet.stored("far") > 0, "a result in the database", ACKNOWLEDGED_S)
        until(lambda: not set(waiting) & set(fleet.waiting(far)), "the answer", ACKNOWLEDGED_S)
        saw(f"{fleet.stored('far')} of `health` in the database")


def test_grafana_finds_all_that_its_files_name(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("What Grafana reads at its start, as the plays left it") as saw:
        files = provisioned(fleet.server)
        assert {file.name for file in files if file.suffix == ".json"} >= {"province.json", "line.json", "fleet.json"}
        grafanas, collectors = map(fleet.token, ("/etc/grafana/xomnet/influx.token", "/etc/xomnet/influx-token"))
        assert fleet.may_query(grafanas)
        assert not fleet.may_write(grafanas)
        assert fleet.may_write(collectors), "or the question means nothing"
        saw(f"{len(files)} files as in `grafana/`, no name in them without a value; the token reads and cannot write")


def test_services_are_as_closed_as_promised(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`systemd-analyze security`") as saw:
        for machine in (fleet.server, fleet.site.machines["far"]):
            for service in machine.run(
                "systemctl", "list-unit-files", "--plain", "--no-legend", "'xomnet-*.service'"
            ).split("\n"):
                if name := service.split(".service")[0]:
                    said = machine.run("systemd-analyze", "security", "--no-pager", f"{name}.service")
                    level = float(re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)[0])
                    saw(f"{name} {level}")
                    assert level <= MAX_EXPOSURE


def test_the_machines_take_security_updates(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`unattended-upgrade --dry-run`, and when it runs") as saw:
        for machine in (fleet.server, fleet.site.machines["far"]):
            said = machine.root_run("unattended-upgrade --dry-run --debug 2>&1", limit_s=300)
            (origins,) = [line for line in said.splitlines() if line.startswith("Allowed origins are")]
            assert "label=Debian-Security" in origins
            assert "origin=Raspberry Pi Foundation" in origins
            timers = machine.run(
                "systemctl", "show", "-P", "TimersCalendar", "apt-daily.timer", "apt-daily-upgrade.timer"
            )
            assert re.findall(r"OnCalendar=\S+ (\S+) (\S+)", timers) == [
                ("02:00:00", "Asia/Ho_Chi_Minh"),
                ("03:00:00", "Asia/Ho_Chi_Minh"),
            ]
            machine.root_run("systemctl start apt-daily.service", limit_s=300)
        saw("from Debian and Raspberry Pi OS, at night")


@pytest.mark.deploy
def test_the_second_run_changes_nothing(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`site.yml` again") as saw:
        played = fleet.controller.play("site.yml")
        assert played.changed == 0, re.findall(r"(?s)TASK \[[^\n]*\n(?:ok[^\n]*\n)*changed:[^\n]*", played.output)
        saw("0 changes")


@pytest.mark.parametrize("name", ["hub", "far"])
@pytest.mark.deploy
def test_a_machine_comes_back_by_itself(fleet: Fleet, run_log: RunLog, name: str) -> None:
    machine = fleet.site.machines[name]
    with run_log.step(f"Reboot of `{name}`") as saw:
        machine.reboot()
        before = fleet.stored("far")
        until(lambda: fleet.stored("far") > before, "a result after the reboot", ACKNOWLEDGED_S)
        saw("results of the unit are stored again, nobody did anything")


@pytest.mark.deploy
def test_the_server_loses_its_power(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("The server's power is cut") as saw:
        boot = fleet.server.started()
        fleet.server.cut_power()
        fleet.server.start()
        assert fleet.server.started() != boot
        before = fleet.stored("far")
        until(lambda: fleet.stored("far") > before, "a result after the power cut", ACKNOWLEDGED_S)
        saw("results are stored again")


@pytest.mark.deploy
def test_check_mode_changes_nothing_and_works(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`site.yml --check`") as saw:
        played = fleet.controller.play("site.yml", "--check")
        assert played.changed == 0
        saw("0 changes")


@pytest.mark.deploy
def test_another_unit_is_enrolled(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`enrol.yml` for another unit, bare and new in the registry") as saw:
        near = fleet.new_unit("near", 21).start()
        played = fleet.controller.play("enrol.yml", "--limit", "near")
        assert "near: ready" in played.output
        saw("the play says `near: ready`")
    until(lambda: fleet.stored("near") > 0, "a result in the database", ACKNOWLEDGED_S)
    assert near.run("systemctl", "is-active", "xomnet-agent").strip() == "active"


@pytest.mark.deploy
def test_a_broken_release_stops_at_the_canary(fleet: Fleet, run_log: RunLog, tmp_path: Path) -> None:
    units = [fleet.site.machines[name] for name in ("far", "near")]
    with run_log.step("`upgrade.yml` with a release that does not work, by SSH to two units") as saw:
        fleet.make_release(_broken(_source(tmp_path, "0.1.1")))
        played = fleet.controller.play("upgrade.yml", "--limit", "agents", may_fail=True)
        assert "rolled back: 0.1.1 -> 0.1.0" in played.output
        assert played.failed
        tried = [
            unit.name for unit in units if "0.1.1" in unit.root_run("cat /var/lib/xomnet-updater/upgrade.json || true")
        ]
        assert [fleet.version(unit) for unit in units] == ["0.1.0", "0.1.0"]
        assert tried == ["far"], "the second unit was not to be touched"
        saw("the first has gone back, the play has ended, the second was not touched")


@pytest.mark.deploy
def test_a_release_comes_by_ssh_in_batches(fleet: Fleet, run_log: RunLog, tmp_path: Path) -> None:
    with run_log.step("`upgrade.yml` with one that works") as saw:
        fleet.make_release(_source(tmp_path, "0.1.2"))
        played = fleet.controller.play("upgrade.yml", "--limit", "agents")
        assert [fleet.version(fleet.site.machines[name]) for name in ("far", "near")] == ["0.1.2", "0.1.2"]
        assert played.output.index("far: upgraded") < played.output.index("near: upgraded")
        saw("0.1.2 is in force on the first, then on the second; the collector has answered both")


@pytest.mark.deploy
def test_a_stolen_unit_is_shut_out_and_the_others_notice_nothing(fleet: Fleet, run_log: RunLog) -> None:
    connections = fleet.connections("far")
    with run_log.step("`revoke.yml` of that unit") as saw:
        fleet.controller.play("revoke.yml", "-e", "unit=near")
        time.sleep(REVOKED_S)
        after = fleet.stored("near")
        time.sleep(4 * REVOKED_S)
        assert fleet.stored("near") == after, "a unit that was revoked has published"
        saw(f"{REVOKED_S:g} s after it nothing more of it is stored")
        before = fleet.stored("far")
        until(lambda: fleet.stored("far") > before, "a result of the other", ACKNOWLEDGED_S)
        assert fleet.connections("far") == connections
        saw("the other has the connection that it had")
        fleet.site.machines["near"].root_run("systemctl restart xomnet-agent")
        time.sleep(2 * REVOKED_S)
        assert fleet.stored("near") == after
        saw("a restart lets it in no more")


@pytest.mark.deploy
def test_a_release_comes_by_pull(fleet: Fleet, run_log: RunLog, tmp_path: Path) -> None:
    with run_log.step("A release, fetched by the unit behind NAT") as saw:
        fleet.make_release(_source(tmp_path, "0.2.0"))
        fleet.controller.play("upgrade.yml", "--tags", "publish")
        fleet.site.machines["far"].root_run("systemctl start xomnet-upgrade.service", limit_s=300)
        assert fleet.version(fleet.site.machines["far"]) == "0.2.0"
        saw("0.2.0 is in force, the collector has answered it")


@pytest.mark.deploy
def test_a_card_starts_without_a_screen(fleet: Fleet, run_log: RunLog, tmp_path: Path) -> None:
    for guide in ("deploy.en.md", "deploy.vi.md"):
        assert " ".join(FIRST_RUN) in (ROOT / "docs" / guide).read_text()
    with run_log.step("`firstboot.yml`; a bare unit boots with that card, as Raspberry Pi OS 12 does") as saw:
        unit = fleet.new_unit("card", 23)
        fleet.controller.play("firstboot.yml", "--limit", "card", "-e", f"agent_card={tmp_path}")
        partition = unit.root / "boot/firmware"
        shutil.copytree(tmp_path / "card", partition)
        (partition / "cmdline.txt").write_text(f"console=tty1 {' '.join(FIRST_RUN)}\n")
        for file in filter(Path.is_file, partition.rglob("*")):
            file.chmod(0o755)  # as everything on a FAT partition
        unit.start(*FIRST_RUN)
        until(lambda: "ready: card" in unit.root_run(f"cat {REPORT} || true"), "the card's report", FIRST_BOOT_S)
        until(lambda: fleet.stored("card") > 0, "a result in the database", ACKNOWLEDGED_S)
        saw("nobody did anything: it enrolled, fetched the release, and its results are stored")
        assert unit.root_run("ls /boot/firmware/xomnet /etc/xomnet/pki").split() == [
            *("/boot/firmware/xomnet:", "install.sh", "/etc/xomnet/pki:", "ca.crt", "unit.crt", "unit.key")
        ]
        assert "enrol.token" not in unit.root_run("ls /etc/xomnet")
        assert unit.root_run("cat /boot/firmware/cmdline.txt").strip() == "console=tty1 cgroup_enable=memory"
        saw("the token is gone from the card and from the unit")


@pytest.mark.deploy
def test_a_broken_release_is_rolled_back(fleet: Fleet, run_log: RunLog, tmp_path: Path) -> None:
    with run_log.step("A release that does not work, fetched by the same unit") as saw:
        fleet.make_release(_broken(_source(tmp_path, "0.3.0")))
        fleet.controller.play("upgrade.yml", "--tags", "publish")
        fleet.site.machines["far"].root_run("systemctl start xomnet-upgrade.service || true", limit_s=300)
        assert fleet.version(fleet.site.machines["far"]) == "0.2.0"
        said = fleet.site.machines["far"].root_run("journalctl -u xomnet-upgrade.service -o cat")
        assert "rolled back: 0.3.0 -> 0.2.0" in said, "it was tried, and not only refused"
        saw("it was tried, and 0.2.0 is back")
        before = fleet.stored("far")
        until(lambda: fleet.stored("far") > before, "a result of the old release", ACKNOWLEDGED_S)
        saw("and its results are stored")


@pytest.mark.deploy
def test_a_fresh_server_takes_the_place_of_a_lost_one(fleet: Fleet, run_log: RunLog) -> None:
    far = fleet.site.machines["far"]
    process = far.run("systemctl", "show", "-P", "MainPID", "xomnet-agent")
    copies, day = fleet.folder / "backups", "/var/lib/xomnet-collector/archive/2026-10-01"
    with run_log.step("A day of the archive is sealed, a unit's results are left out, a month is closed") as saw:
        fleet.server.root_run(f"install -o xomnet -g xomnet -m 600 $(ls {day[:-10]}*.log | tail -n 1) {day}.log")
        fleet.server.root_run("systemctl restart xomnet-collector")
        until(lambda: fleet.server.root_run(f"ls {day}.day || true").strip(), "a sealed day", ACKNOWLEDGED_S)
        excluded = "results quarantine near --since 2026-10-01 --reason stolen --by test"
        month = (dt.datetime.now(dt.UTC) - dt.timedelta(days=62)).strftime("%Y-%m")
        maintained = "maintenance add --agent near --until 24h --why moved --token-file /etc/xomnet/operator-token"
        for command in (excluded, f"month close {month} --by test"):
            fleet.server.root_run(f"runuser -u xomnet -- xomnet {command}")
        fleet.server.root_run(f"xomnet {maintained}")
        record, windows = fleet.record(), fleet.collector("/api/v1/maintenance")
        points = fleet.points("far")
        saw(f"{month} is closed")
    with run_log.step("`backup.yml`") as saw:
        fleet.controller.play("backup.yml", "-e", f"backup_copies={copies}")
        (backup,) = copies.glob("xomnet-*.tar.age")
        assert [path.name for path in (copies / "archive").iterdir()] == ["2026-10-01.day.age"]
        fleet.server.root_run("systemctl start xomnet-backup.service", limit_s=120)
        made = fleet.server.root_run("ls /var/backups/xomnet/*.age").split()
        assert len(made) == 2, "the service's own, beside the play's"
        stored = fleet.stored("far")
        saw(f"{backup.stat().st_size / 1e6:.1f} MB")
    with run_log.step("The server is lost; `restore.yml` on a bare machine") as saw:
        fleet.server.lose()
        fleet.server = fleet.new_server("hub2").start()
        fleet.controller.play("restore.yml", "-e", f"backup={backup}", "-e", f"backup_key={fleet.backup_key}")
        assert {path.name for path in copies.iterdir()} == {"archive", backup.name}, "the decrypted copy is gone"
        assert fleet.stored("far") >= stored
        assert (fleet.record(), fleet.collector("/api/v1/maintenance")) == (record, windows)
        saw(f"{stored} results of before are there")
        until(lambda: fleet.stored("far") > stored, "a new result", ACKNOWLEDGED_S)
        assert far.run("systemctl", "show", "-P", "MainPID", "xomnet-agent") == process
        saw("the unit, unaware, adds to them")
    with run_log.step("Its database is emptied; `xomnet replay` fills it from the archive") as saw:
        fleet.query("DROP MEASUREMENT health")
        said = fleet.replay()
        again = fleet.points("far")
        assert [time for time, point in points.items() if again.get(time) != point] == [], said
        saw(f"{said['added']} results, those of before with the same figures")
    with run_log.step("`site.yml` on the restored server") as saw:
        played = fleet.controller.play("site.yml", "--limit", "server")
        assert played.changed == 0
        saw("0 changes")


@pytest.mark.deploy
def test_a_unit_that_is_retired_sends_what_it_has_first(fleet: Fleet, run_log: RunLog) -> None:
    far = fleet.site.machines["far"]
    with run_log.step("`retire.yml` of the unit behind NAT") as saw:
        fleet.controller.play("retire.yml", "-e", "unit=far")
        assert len(fleet.waiting(far)) <= 1, "but for what was measured as it was stopped"
        assert far.root_run("systemctl is-active xomnet-agent || true").strip() == "inactive"
        assert far.root_run("ls /etc/xomnet/pki").split() == ["ca.crt", "unit.crt"]
        saw("what it had measured is sent, its key is gone")


@pytest.mark.deploy
def test_a_unit_with_an_arm_processor(fleet: Fleet, run_log: RunLog) -> None:
    with run_log.step("`enrol.yml` for a unit with an arm64 processor, emulated") as saw:
        fleet.make_release(architectures=("aarch64",))
        fleet.site.emulate("aarch64")
        fleet.new_unit("arm", 22, architecture="arm64").start()
        played = fleet.controller.play("enrol.yml", "--limit", "arm", limit_s=1800)
        assert "arm: ready" in played.output
        saw("the play says `arm: ready`")
    until(lambda: fleet.stored("arm") > 0, "a result in the database", ACKNOWLEDGED_S)


def _source(folder: Path, version: str) -> Path:
    """A copy of what a release is made of, with another version."""
    listed = subprocess.run(["git", "ls-files", "-z", *PARTS], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    project = folder / "source/pyproject.toml"
    text, count = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text())
    assert count == 1
    project.write_text(text)
    return folder / "source"


def _broken(source: Path) -> Path:
    """Its agent ends as soon as it starts."""
    run = source / "agent/run.py"
    run.write_text(run.read_text() + '\nraise SystemExit("this release does not work")\n')
    return source
