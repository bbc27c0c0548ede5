"""The networks and the machines on them. One at a time on this computer.

Everything made is named `xm-…` or lies in one folder, so that a next run ends and removes what a killed one left.
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.deploy.base import HOME, alone, emulated
from tests.deploy.machines import CGROUPS, Machine
from tests.deploy.network import (
    BEHIND,
    LAN,
    SERVER,
    SERVER_NAME,
    end_all,
    new_bridge,
    new_router,
    new_space,
    new_wire,
    run,
    within,
)

ROOT = Path(__file__).parents[2]


class Site:
    """The networks and the machines on them; one at a time on this computer."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, HOME / "run"
        self.machines: dict[str, Machine] = {}
        self._alone = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._alone.enter_context(alone("running"))
        _clean(self.folder)
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.cut_power()
        _clean(self.folder)
        self._alone.close()

    def _make(self) -> None:
        self.folder.mkdir()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        new_space("xm-lan")
        new_bridge("xm-lan", f"{LAN}1/24")
        new_router("xm-nat", "xm-lan")
        names = [sys.executable, "-m", "tests.support.name_server", f"{LAN}1", f"{SERVER_NAME}={LAN}{SERVER}"]
        subprocess.Popen(["nsenter", "--net=/run/netns/xm-lan", *names], cwd=ROOT, stdout=subprocess.DEVNULL)

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def machine(self, name: str, number: int, behind_nat: bool = False, base: Path | None = None) -> Machine:
        """A machine as it comes from its installer, not started: a name, an address, a key that may log in."""
        address = (BEHIND if behind_nat else LAN) + str(number)
        space, router = f"xm-{name}", "xm-nat" if behind_nat else "xm-lan"
        new_space(space)
        new_wire(space, "eth0", f"{address}/24", router)
        gateway = f"{BEHIND}1" if behind_nat else f"{LAN}1"
        within(space, "ip", "route", "add", "default", "via", gateway)
        machine = Machine(self.folder / name, address, base or self.base, self._ssh_options(router))
        with self.known_hosts.open("a") as known:
            known.write(machine.name_it(self.key.with_suffix(".pub"), f"{LAN}1"))
        self.machines[name] = machine
        return machine

    def emulate(self, processor: str) -> None:
        """Machines with another processor may be made from now on."""
        self._alone.enter_context(emulated(processor))

    def _ssh_options(self, space: str) -> list[str]:
        """How the controller reaches a machine: from a network of ours, not from this computer's."""
        options = {
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "4",
            "LogLevel": "ERROR",
            "ProxyCommand": f"nsenter --net=/run/netns/{space} nc %h %p",
        }
        return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _clean(folder: Path) -> None:
    """Ends and removes whatever a run made, by our names only."""
    spaces = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith("xm-")]
    for space in spaces:
        end_all(space)
    for mount in _mounts_below(folder):
        run("umount", "--lazy", mount)
    for space in spaces:
        run("ip", "netns", "delete", space)
    for tree in ("systemd", "unified"):
        for group in sorted((CGROUPS / tree).glob("xm-*/**/"), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
    if folder.exists():
        shutil.rmtree(folder)


def _mounts_below(folder: Path) -> Iterator[str]:
    for line in Path("/proc/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            yield place
