"""What the plays write for systemd and apt, as files: how closed each service is, what memory it may take, when a
machine updates itself. That they work so closed is for the machines that boot.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.templates import PLAYS, rendered
from tests.support.services import program

MAX_EXPOSURE = 2.5
"""Of 10, by `systemd-analyze security`."""
LINES = [{"line": "ftth", "access": "fixed"}, {"line": "4g", "access": "mobile", "interface": "usb0"}]
SERVICES = {path.name: path for path in PLAYS.glob("roles/**/*.service")}
UPDATES = PLAYS / "roles/agent/templates/updates"


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A service as the plays write it."""
    path = SERVICES[request.param]
    written = tmp_path / path.name
    written.write_text(rendered(path) if "templates" in path.parts else path.read_text())
    return written


every_service = pytest.mark.parametrize("service", sorted(SERVICES), indirect=True)


@every_service
def test_a_service_is_closed(service: Path) -> None:
    most = round(MAX_EXPOSURE * 10)
    argv = [program("systemd-analyze"), "security", "--offline=yes", f"--threshold={most}", "--no-pager"]
    done = subprocess.run([*argv, str(service)], capture_output=True, text=True, timeout=60, check=False)
    assert "Overall exposure level" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@every_service
def test_a_service_takes_no_more_than_its_memory(service: Path) -> None:
    lines = service.read_text().splitlines()
    assert [line for line in lines if line.startswith("MemoryMax=") and line[-1] in "MG"], lines


@pytest.mark.parametrize("role", ["influxdb", "grafana"])
def test_a_vendors_service_takes_no_more_than_its_memory(role: str) -> None:
    known = yaml.safe_load((PLAYS / "group_vars/server.yml").read_text())
    assert known[f"xomnet_{role}_memory"][-1] in "MG"
    assert f"MemoryMax={{{{ xomnet_{role}_memory }}}}" in "".join(
        path.read_text() for path in (PLAYS / "roles" / role / "tasks").glob("*.yml")
    )


def test_a_viewer_reaches_neither_metrics_nor_the_servers_network() -> None:
    assert "GF_METRICS_ENABLED=false" in (PLAYS / "roles/grafana/templates/environment").read_text().splitlines()
    tasks = yaml.safe_load((PLAYS / "roles/influxdb/tasks/vendor.yml").read_text())
    (settings,) = [task["loop"] for task in tasks if "ansible.builtin.lineinfile" in task]
    found = {one["key"]: one["value"] for one in settings}
    assert found["hardening-enabled"] == "true"
    assert int(found["query-concurrency"]) * int(found["query-memory-bytes"]) <= int(found["query-max-memory-bytes"])
    assert found["http-bind-address"] == '"127.0.0.1:8086"'


def apt_settings(file: Path) -> list[str]:
    """What apt reads in a file of settings, after that of the package."""
    environment = {**os.environ, "APT_CONFIG": str(file)}
    done = subprocess.run(
        ["apt-config", "dump"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_machines_install_the_updates_of_debian_and_of_raspberry_pi_os(tmp_path: Path) -> None:
    for machine, more in (("unit", {"xomnet_agent": "nd-haihau-0012"}), ("server", {})):
        (tmp_path / machine).write_text(rendered(UPDATES / "apt.conf", **more))
        found = apt_settings(tmp_path / machine)
        origins = [line.split('"')[1] for line in found if line.startswith("Unattended-Upgrade::Origins-Pattern:: ")]
        assert {origin.split(",")[0] for origin in origins} == {
            *("origin=Debian", "origin=Raspbian", "origin=Raspberry Pi Foundation")
        }
        assert "origin=Debian,codename=${distro_codename}-security,label=Debian-Security" in origins
        assert 'APT::Periodic::Unattended-Upgrade "1";' in found
        assert 'APT::Periodic::Update-Package-Lists "1";' in found
        assert 'Unattended-Upgrade::Automatic-Reboot "true";' in found
        restarts = 'DPkg::Post-Invoke:: "touch /run/reboot-required";' in found
        assert restarts is (machine == "unit"), "a server restarts services instead"


def test_machines_update_and_restart_at_night_only() -> None:
    for timer in ("download.timer", "install.timer"):
        lines = rendered(UPDATES / timer).splitlines()
        assert "Persistent=false" in lines, "else a unit that was off at night restarts by day"
        (at,) = [line.partition("=")[2] for line in lines if line.startswith("OnCalendar=") and not line.endswith("=")]
        hour = int(at.split()[1].split(":")[0])
        assert (hour in range(2, 5), at.split()[2]) == (True, "Asia/Ho_Chi_Minh")
        argv = [program("systemd-analyze"), "calendar", at]
        assert subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0
    assert "ExecCondition=/usr/local/lib/xomnet/updates-allowed" in rendered(UPDATES / "service.conf")


def allowed(folder: Path, port: str, days: float | None, **settings: object) -> bool:
    """Whether a unit may download when its default route is by `port`, and it last did so `days` ago."""
    (folder / "ip").write_text(f"#!/bin/sh\necho '192.0.2.1 via 10.0.0.1 dev {port} src 10.0.0.2 uid 0'\n")
    (folder / "ip").chmod(0o755)
    script, stamp = folder / "updates-allowed", folder / "stamp"
    script.write_text(rendered(UPDATES / "updates-allowed", **{"xomnet_lines": LINES, **settings}))
    stamp.unlink(missing_ok=True)
    if days is not None:
        stamp.touch()
        then = stamp.stat().st_mtime - days * 86400 - 60
        os.utime(stamp, (then, then))
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(script), str(stamp)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert not done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(
    ("port", "days", "may"),
    [
        ("eth0", 1, True),
        ("usb0", 1, False),
        ("usb0", 29, False),
        ("usb0", 30, True),
        ("usb0", None, True),
        ("wwan0", 1, False),
        ("ppp0", 1, False),
    ],
)
def test_updates_wait_on_a_metered_line(tmp_path: Path, port: str, days: float | None, may: bool) -> None:
    assert allowed(tmp_path, port, days) is may


def test_a_line_is_metered_as_its_settings_say(tmp_path: Path) -> None:
    assert allowed(tmp_path, "usb0", 1, xomnet_line_more={"4g": {"metered": False}})
    assert not allowed(tmp_path, "eth0", 1, xomnet_line_more={"ftth": {"metered": True}}), "no line is left"


def test_every_port_of_a_unit_without_another_line_is_metered(tmp_path: Path) -> None:
    only = {"xomnet_lines": [{"line": "4g", "access": "mobile"}]}
    assert allowed(tmp_path, "eth0", 30, **only)
    assert not allowed(tmp_path, "eth0", 1, **only)
    assert not allowed(tmp_path, "eth0", 400, **only, xomnet_updates_metered_days=0), "0: they wait for ever"
