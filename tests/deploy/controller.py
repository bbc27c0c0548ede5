"""The operator's computer: Ansible with the plays of deploy/ansible, and an inventory for the machines of a test."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.deploy.base import USER
from tests.deploy.machines import Machine
from tests.deploy.network import SERVER_NAME
from tests.deploy.site import ROOT

BIN = Path(sys.executable).parent
PLAYS = ROOT / "deploy/ansible"
TASKS = Path(__file__).parent / "tasks"
PLAY_S = 900.0
WRITER, READER = "test-writer-token", "test-reader-token"


class PlayFailed(Exception):
    """A play ended with a failure; what Ansible said, its end."""


class Recap(NamedTuple):
    """Counts of a host at the end of a play."""

    ok: int
    changed: int
    unreachable: int
    failed: int


class Played(NamedTuple):
    hosts: dict[str, Recap]
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        return sum(recap.changed for recap in self.hosts.values())

    @property
    def failed(self) -> list[str]:
        return [host for host, recap in self.hosts.items() if recap.failed]


class Controller:
    """An operator's folder: the inventory beside the registry, wheels, secrets."""

    def __init__(self, folder: Path, connections: Path, **settings: Any) -> None:
        """`connections`: where SSH keeps its sockets, so a short path."""
        self.folder, self._connections = folder, connections
        self.registry = folder / "lines.csv"
        self.hosts: dict[str, dict[str, Machine]] = {"server": {}, "agents": {}}
        self.settings = {
            "xomnet_server_name": SERVER_NAME,
            "xomnet_influxdb_tasks": str(TASKS / "influxdb.yml"),
            "xomnet_grafana_tasks": str(TASKS / "grafana.yml"),
            "xomnet_wheels": str(folder / "wheels"),
            "xomnet_operator_token": "test-operator-token",
            "xomnet_people": "operator:!\n",
            "xomnet_grafana_password": "test-grafana-password",
            "test_writer": WRITER,
            "test_reader": READER,
            **settings,
        }

    def play(self, name: str, *arguments: str, limit_s: float = PLAY_S, may_fail: bool = False) -> Played:
        """Runs a play. Raises PlayFailed with the end of what Ansible said."""
        self._write()
        environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "XOMNET_REGISTRY": str(self.registry),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._connections),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=20s",
        }
        argv = [
            str(BIN / "ansible-playbook"),
            *("-i", str(PLAYS / "inventory/registry.py"), "-i", str(self.folder / "hosts.yml")),
            *("-e", f"@{self.folder / 'settings.yml'}", name, *arguments),
        ]
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=PLAYS, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
        output = done.stdout + done.stderr
        (self.folder / "ansible.log").open("a").write(f"$ {name} {' '.join(arguments)}\n{output}\n")
        if done.returncode and not may_fail:
            raise PlayFailed(f"{name}: status {done.returncode}\n{output[-6000:]}")
        return Played(recaps(output), output, time.monotonic() - began)

    def _write(self) -> None:
        (self.folder / "settings.yml").write_text(yaml.safe_dump(self.settings))
        groups = {
            group: {"hosts": {name: _variables(machine) for name, machine in machines.items()}}
            for group, machines in self.hosts.items()
        }
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(groups))


def _variables(machine: Machine) -> dict[str, Any]:
    return {
        "ansible_host": machine.address,
        "ansible_user": USER,
        "ansible_become": True,
        "ansible_ssh_common_args": shlex.join(machine.ssh_options),
    }


def recaps(output: str) -> dict[str, Recap]:
    """The last lines of a play, by host."""
    pattern = r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)"
    return {host: Recap(*map(int, counts)) for host, *counts in re.findall(pattern, output, re.MULTILINE)}
