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
