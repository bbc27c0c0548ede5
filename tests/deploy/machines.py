"""Machines that boot: Debian under systemd-nspawn, each on a layer of its own above the base."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.deploy.base import USER
from tests.deploy.network import Failed, end_all, run, within

BOOT_S = 120.0
STOP_S = 40.0
REBOOT_ASKED = 133
"""How nspawn ends where the machine wants to be booted again."""
CGROUPS = Path("/sys/fs/cgroup")


class Machine:
    """One machine with a disk of its own, that boots, reboots when it wants to, and can lose its power."""

    def __init__(self, folder: Path, address: str, base: Path, ssh_options: Sequence[str]) -> None:
        """`folder`: where its disk lies; its last part is the machine's name."""
        self.folder, self.address, self.name, self.ssh_options = folder, address, folder.name, ssh_options
        self.space = f"xm-{self.name}"
        self.root = folder / "root"
        self.console = folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._on = threading.Event()
        self._keeper: threading.Thread | None = None
        for part in ("root", "upper", "work"):
            (folder / part).mkdir(parents=True)
        _mount(base, folder)

    def start(self, *first: str) -> Self:
        """Returns when it lets somebody in; `first`: words of the kernel's command line at the first of these boots.
        Raises TimeoutError with the end of its console.
        """
        self._on.set()
        self._keeper = threading.Thread(target=self._keep_on, args=(first,), name=self.name)
        self._keeper.start()
        self.wait_for_ssh()
        return self

    def stop(self) -> None:
        """As its power button does; after a while as a power cut."""
        self._end(signal.SIGTERM)

    def cut_power(self) -> None:
        """At once. What it wrote is in this computer's memory all the same."""
        self._end(signal.SIGKILL)

    def name_it(self, key: Path, name_server: str) -> str:
        """Gives it a name, a name server, who may log in (a public key), and an identity. Returns its known_hosts."""
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (etc / "resolv.conf").write_text(f"nameserver {name_server}\n")
        home = self.root / "home" / USER
        (home / ".ssh").mkdir(mode=0o700)
        shutil.copy(key, home / ".ssh/authorized_keys")
        for path in (home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, home.stat().st_uid, home.stat().st_gid)
        identity = etc / "ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(identity))
        kind, public, _ = identity.with_suffix(".pub").read_text().split()
        return f"{self.address} {kind} {public}\n"

    def lose(self) -> None:
        """Its power and its cable, for good: another machine may have its address."""
        self.cut_power()
        within(self.space, "ip", "link", "set", "eth0", "down")

    def started(self) -> str:
        """When its first process began: another after each boot."""
        return self.run("cat", "/proc/1/stat").split()[21]

    def reboot(self) -> None:
        """As an administrator does. Returns when it lets somebody in again."""
        before = self.started()
        with contextlib.suppress(Failed):
            self.run("sudo", "systemctl", "reboot")
        self._until(lambda: self.started() != before, "is not back from its reboot")

    def wait_for_ssh(self) -> None:
        self._until(lambda: self.run("true") == "", "does not boot")

    def run(self, *command: str, limit_s: float = 60.0) -> str:
        """What a command says, over SSH as the user with sudo. Raises Failed with what it said."""
        return run("ssh", *self.ssh_options, f"{USER}@{self.address}", *command, limit_s=limit_s)

    def root_run(self, script: str, limit_s: float = 60.0) -> str:
        """What a script of the shell says, as root."""
        argv = ["ssh", *self.ssh_options, f"{USER}@{self.address}", "sudo", "sh", "-eu"]
        return run(*argv, limit_s=limit_s, stdin=script)

    def output(self, last: int = 3000) -> str:
        """The end of its console."""
        return self.console.read_text(errors="replace")[-last:] if self.console.exists() else ""

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + BOOT_S
        while True:
            with contextlib.suppress(Failed):
                if ready():
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} {what} within {BOOT_S:g} s:\n{self.output()}")
            time.sleep(0.3)

    def _keep_on(self, words: Sequence[str]) -> None:
        """The power supply: boots it, and again as often as it asks for."""
        while self._on.is_set():
            with self.console.open("ab") as log:
                argv = [*self._argv(), *words]
                self._nspawn = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if self._nspawn.wait() != REBOOT_ASKED:
                return
            words = ()

    def _argv(self) -> list[str]:
        """The words that boot it, in a control group of its own; it ends with whoever started it."""
        groups = [CGROUPS / tree / self.space for tree in ("systemd", "unified") if (CGROUPS / tree).is_dir()]
        enter = "".join(f"mkdir -p {group}; echo $$ >{group}/cgroup.procs; " for group in groups)
        nspawn = [
            *("systemd-nspawn", "--quiet", "--register=no", "--boot", f"--directory={self.root}"),
            *(f"--machine={self.name}", f"--network-namespace-path=/run/netns/{self.space}"),
            *("--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--timezone=off", "--console=read-only"),
            "--setenv=SYSTEMD_LOG_COLOR=0",
        ]
        if not Path("/run/systemd/system").exists():
            nspawn.append("--keep-unit")  # nobody here to ask for a unit
        environment = "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network"
        return ["setpriv", "--pdeathsig", "KILL", "env", environment, "sh", "-c", enter + 'exec "$@"', "sh", *nspawn]

    def _end(self, how: signal.Signals) -> None:
        self._on.clear()
        if self._nspawn is None or self._keeper is None:
            return
        if how == signal.SIGKILL:
            end_all(self.space)  # first what is inside: it would outlive nspawn
        self._nspawn.send_signal(how)
        try:
            self._nspawn.wait(STOP_S)
        except subprocess.TimeoutExpired:
            end_all(self.space)
            self._nspawn.kill()
        self._keeper.join(STOP_S)


def _mount(base: Path, folder: Path) -> None:
    """The base with a layer of the machine's own above it; a copy where the kernel refuses that."""
    layers = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
    try:
        # volatile: nothing of it outlives this computer's memory, so nobody waits for the disk
        run("mount", "-t", "overlay", "-o", f"{layers},volatile", "xomnet-machine", f"{folder}/root")
    except Failed:
        run("cp", "-a", "--reflink=auto", f"{base}/.", f"{folder}/root", limit_s=300)
