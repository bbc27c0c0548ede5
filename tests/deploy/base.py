"""What the machines are made of: Debian 12 as an installer leaves it, and the packages that the plays may install.

Made once by mmdebstrap and kept below `XOMNET_MACHINES` (/var/cache/xomnet-machines): a change of what is in it makes
it again. The machines have no internet; their apt sees one folder with the packages that the roles name.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.services import program

HOME = Path(os.environ.get("XOMNET_MACHINES", "/var/cache/xomnet-machines"))
ROLES = Path(__file__).parents[2] / "deploy/ansible/roles"
SUITE = "bookworm"
MAKE_S = 1200.0
BASE = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo"),
    *("python3", "python3-apt", "ca-certificates", "iproute2", "iputils-ping", "kmod", "procps"),
)
"""A Debian with an SSH server, or Raspberry Pi OS Lite without what it has beyond."""
REPOSITORY = "/packages"
"""Where the packages lie in a machine."""
USER = "admin"
"""Who may log in, and become root without a password."""


def base(architecture: str = "amd64", more: Iterable[str] = ()) -> Path:
    """The folder of a root file system that nobody may write to; its apt knows `more` and what the roles install.

    Raises ChildProcessError with what mmdebstrap said.
    """
    packages = sorted({*more, *_of_roles(ROLES)})
    recipe = _recipe(architecture, packages)
    folder = HOME / f"{SUITE}-{architecture}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    with alone("making"):
        if not folder.exists():  # another run may have made it meanwhile
            unfinished = folder.with_suffix(".unfinished")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            _make(unfinished, recipe)
            unfinished.rename(folder)
    return folder


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Keeps other runs on this computer from doing the same. Raises TimeoutError where one does for too long."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{what}.lock").open("w") as file:
        deadline = time.monotonic() + MAKE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another run holds {file.name}") from None
                time.sleep(1)
        yield


@contextlib.contextmanager
def emulated(processor: str) -> Iterator[None]:
    """Programs for another processor (`aarch64`) run on this computer meanwhile, sudo too: with the rights of their
    files (C), which Debian's own entry does not give. The newest entry is the one that counts.
    """
    kernels = Path("/proc/sys/fs/binfmt_misc")
    if not (kernels / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(kernels)], check=True, timeout=10)
    entry = kernels / f"xm-{processor}"
    if entry.exists():  # of a run that was killed
        entry.write_text("-1")
    debians = Path(f"/usr/lib/binfmt.d/qemu-{processor}.conf").read_bytes().strip()
    (kernels / "register").write_bytes(debians.replace(b":qemu-", b":xm-", 1) + b"C")
    try:
        yield
    finally:
        entry.write_text("-1")


def _of_roles(roles: Path) -> set[str]:
    """The Debian packages that the roles name: each list under a key that ends in `packages`."""
    files = [file for place in ("defaults", "vars") for file in roles.glob(f"*/{place}/*.yml")]
    return {name for file in files for name in _listed(yaml.safe_load(file.read_text(encoding="utf-8")))}


def _listed(settings: Any) -> Iterator[str]:
    for key, value in (settings or {}).items():
        if key.endswith("packages") and isinstance(value, list):
            yield from value


def _recipe(architecture: str, packages: list[str]) -> list[str]:
    """The arguments of mmdebstrap before the folder."""
    there = f'"$1{REPOSITORY}"'
    apt = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get'  # the one that put the base together
    hooks = [
        f"mkdir {there}",
        f"{apt} -o Dir::Cache::archives={there} -o APT::Install-Recommends=0 -dy install {' '.join(packages)}",
        f"cd {there} && apt-ftparchive packages . >Packages && rm -rf lock partial",
        f'echo "deb [trusted=yes] file:{REPOSITORY} ./" >"$1/etc/apt/sources.list"',
        'echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/xomnet-test"',
        'chroot "$1" apt-get update',
        f'chroot "$1" useradd --create-home --shell /bin/bash {USER}',
        f'echo "{USER} ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/{USER}"',
        'rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/resolv.conf" "$1/etc/hostname"',
    ]
    return [
        *("--variant=minbase", f"--architectures={architecture}", "--mode=root", "--format=directory"),
        f"--include={','.join(BASE)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "locale", "man")),
        "--skip=cleanup/apt/lists",
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
    ]


def _make(folder: Path, recipe: list[str]) -> None:
    print(f"making {folder}: some minutes, once", file=sys.stderr)
    # In namespaces of its own, which end with us: a killed run leaves no mount in the folder.
    apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv = [*apart, program("mmdebstrap"), *recipe, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=MAKE_S, check=False)
    if done.returncode:
        raise ChildProcessError(f"mmdebstrap made no {folder.name}:\n{done.stderr[-4000:]}")
