"""The plays as files: what a linter says of them, whether Ansible reads them, and the inventory made of the registry.

That they do what they say is for the machines that boot.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployment import HEADER

PLAYS = Path(__file__).parents[2] / "deploy/ansible"
BIN = Path(sys.executable).parent
ROWS = """\
nd-haihau-0012,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01
nd-haihau-0012,4g,mobile,Xóm 5,Nam Định/Hải Hậu/Hải Minh,Viettel,2026-01-01
nd-haihau-0012,ftth,mobile,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2999-01-01
nd-giaothuy-0002,4g,mobile,Đội 2,Nam Định/Giao Thủy,Viettel,2026-01-01
nb-0001,4g,mobile,Xóm 1,Ninh Bình,Viettel,2999-01-01
"""


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of Ansible's programs in the folder of the plays, without colours, and with nothing of this user's own."""
    path = f"{BIN}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", **environment}
    return subprocess.run(argv, cwd=PLAYS, env=env, capture_output=True, text=True, timeout=600, check=False)


def inventory(folder: Path, rows: str) -> subprocess.CompletedProcess[str]:
    registry = folder / "lines.csv"
    registry.write_text(HEADER + rows, encoding="utf-8")
    return run("ansible-inventory", "-i", "inventory", "--list", XOMNET_REGISTRY=str(registry))


@pytest.mark.timeout(400)
def test_the_linter_has_nothing_to_say() -> None:
    done = run("ansible-lint", "--offline", "--profile", "production")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_reads_every_play() -> None:
    plays = sorted(
        file.name for file in PLAYS.glob("*.yml") if "hosts:" in file.read_text() and "vault" not in file.name
    )
    assert {"server.yml", "enrol.yml", "revoke.yml", "renew.yml", "retire.yml", "backup.yml", "restore.yml"} <= {*plays}
    done = run("ansible-playbook", "--syntax-check", *plays)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_units_of_the_inventory_come_from_the_registry(tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(inventory(tmp_path, ROWS).stdout)
    assert sorted(found["agents"]["hosts"]) == ["nb-0001", "nd-giaothuy-0002", "nd-haihau-0012"]
    assert sorted(found["area_nam_dinh"]["children"]) == ["area_nam_dinh__giao_thuy", "area_nam_dinh__hai_hau"]
    assert found["area_nam_dinh__hai_hau__hai_minh"]["hosts"] == ["nd-haihau-0012"]
    assert found["area_ninh_binh"]["hosts"] == ["nb-0001"]
    of = found["_meta"]["hostvars"]
    lines = [{"line": "ftth", "access": "fixed"}, {"line": "4g", "access": "mobile"}]
    assert of["nd-haihau-0012"]["xomnet_lines"] == lines  # as they are today
    assert of["nb-0001"]["xomnet_lines"] == [{"line": "4g", "access": "mobile"}]  # to come
    assert (of["nb-0001"]["xomnet_agent"], of["nd-giaothuy-0002"]["xomnet_hamlet"]) == ("nb-0001", "Đội 2")


def test_a_bad_registry_stops_ansible_with_the_place_and_the_remedy(tmp_path: Path) -> None:
    done = inventory(tmp_path, ROWS.replace("fixed", "cable"))
    assert "line 2, column access: found 'cable'; write fixed or mobile" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Make a key pair on your own machine (age-keygen -o xomnet-backup.key)"),
        ({"xomnet_backup_recipients": ["AGE-SECRET-KEY-1QQ"]}, "xomnet_backup_recipients takes public keys only"),
    ],
)
def test_a_server_is_not_set_up_without_a_public_key_for_its_backups(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    tasks = yaml.safe_load((PLAYS / "roles/common/tasks/main.yml").read_text())
    asking = [task for task in tasks if "xomnet_backup_recipients" in str(task)]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": asking}
    play["vars"] = yaml.safe_load((PLAYS / "group_vars/server.yml").read_text()) | settings
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = run("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"))
    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_an_archive_that_outgrows_its_disk_is_refused(tmp_path: Path) -> None:
    tasks = yaml.safe_load((PLAYS / "roles/collector/tasks/main.yml").read_text())[:2]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {
        "ansible_python_interpreter": sys.executable,
        **yaml.safe_load((PLAYS / "roles/collector/vars/main.yml").read_text()),
        **dict.fromkeys(("xomnet_archive_dir", "xomnet_backup_dir"), str(tmp_path / "not/yet")),
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    argv = ("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"), "-e")
    done = run(*argv, "xomnet_archive_max_gb=0.001")
    assert done.returncode == 0, done.stdout
    done = run(*argv, "xomnet_archive_max_gb=900000")
    assert done.returncode != 0
    assert "take up to 1800000" in done.stdout + done.stderr
    assert "Set xomnet_archive_max_gb lower" in done.stdout + done.stderr
