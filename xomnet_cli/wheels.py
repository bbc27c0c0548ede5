"""The wheels of a release: the libraries of a unit, for each Python and machine, each with a checksum that is known.

uv.lock has the checksums of PyPI's wheels. PyPI lacks a few for 32-bit Raspberry Pis; those that piwheels.org builds
are pinned by piwheels.lock, beside uv.lock.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from updater.manifest import wheel_fits

INDEX = "https://www.piwheels.org/simple"
PINNED_MACHINE = "armv7l"
LOCK = "piwheels.lock"
HEAD = "# Written by `xomnet release pin`: the wheels for 32-bit Raspberry Pis that PyPI does not have.\n"
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)
"""Wheels may ask for up to glibc 2.36, that of Debian 12."""
_REQUIREMENT = re.compile(r"(?m)^([A-Za-z0-9_.-]+==[^ \\;]+)(.*?)( \\)?$")

Checksums = dict[str, list[str]]
"""SHA-256 of the wheels of each `name==version`."""


class WheelError(Exception):
    """The wheels of a release can't be had: what, where, and what to do about it."""


def fetch(source: Path, pythons: Sequence[str], machines: Sequence[str], folder: Path) -> None:
    """Downloads the libraries of a unit, and refuses every file whose checksum is not in a lock. Raises WheelError."""
    exported = requirements(source)
    with tempfile.TemporaryDirectory() as scratch:
        needs = Path(scratch) / "requirements.txt"
        for machine in machines:
            needs.write_text(add_pinned(source, exported, pythons) if machine == PINNED_MACHINE else exported)
            for python in pythons:
                run([*pip_download(python, machine, folder), "--require-hashes", "-r", str(needs)])


def pin(source: Path, pythons: Sequence[str]) -> list[str]:
    """Writes the checksums of what only piwheels.org has to piwheels.lock; returns it. Raises WheelError."""
    wanted = missing_on_pypi(source, requirements(source), pythons)
    with tempfile.TemporaryDirectory() as scratch:
        for python in pythons if wanted else ():
            run([*pip_download(python, PINNED_MACHINE, Path(scratch)), "--index-url", INDEX, *wanted])
        found = checksums(Path(scratch).glob("*.whl"))
    lines = [" ".join([key, *(f"--hash=sha256:{one}" for one in sorted(found[key]))]) for key in sorted(found)]
    (source / LOCK).write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return wanted


def requirements(source: Path) -> str:
    """The libraries of a unit, with the checksums of uv.lock, as pip reads them. Raises WheelError."""
    exported = [_uv(), "export", "--quiet", "--frozen", "--no-dev", "--extra", "agent", "--no-emit-project"]
    return run([*exported, "--no-annotate", "--no-header"], source)


def missing_on_pypi(source: Path, exported: str, pythons: Sequence[str]) -> list[str]:
    """Each `name==version` of the requirements that has no 32-bit wheel in uv.lock for one of these Pythons. Raises
    WheelError.
    """
    try:
        packages = tomllib.loads((source / "uv.lock").read_text(encoding="utf-8"))["package"]
        numbers = [(int(major), int(minor)) for major, minor in (python.split(".") for python in pythons)]
        names = {
            f"{one['name']}=={one['version']}": [wheel["url"].rpartition("/")[2] for wheel in one.get("wheels", ())]
            for one in packages
            if "version" in one
        }
    except (OSError, ValueError, KeyError) as error:
        raise WheelError(f"{source / 'uv.lock'}, {', '.join(pythons)}: {error}") from error

    def is_on_pypi(wanted: str, number: tuple[int, int]) -> bool:
        return any(wheel_fits(name, number, PINNED_MACHINE) for name in names.get(wanted, ()))

    listed = [wanted for wanted, *_ in _REQUIREMENT.findall(exported)]
    return [wanted for wanted in listed if not all(is_on_pypi(wanted, number) for number in numbers)]


def add_pinned(source: Path, exported: str, pythons: Sequence[str]) -> str:
    """The requirements, with the checksums of piwheels.lock beside those of uv.lock. Raises WheelError."""
    pinned, wanted = _read_lock(source / LOCK), missing_on_pypi(source, exported, pythons)
    if lacking := [one for one in wanted if one not in pinned]:
        raise WheelError(f"{source / LOCK}: found no checksums of {', '.join(lacking)}; run `xomnet release pin`")

    def add(found: re.Match[str]) -> str:
        added = pinned[found[1]] if found[1] in wanted else []
        return "".join([found[1], found[2], *(f" \\\n    {one}" for one in added), found[3] or ""])

    return _REQUIREMENT.sub(add, exported)


def checksums(wheels: Iterable[Path]) -> Checksums:
    """Those of downloaded wheels. Raises OSError."""
    found: Checksums = {}
    for wheel in sorted(wheels):
        name, version = wheel.name.split("-")[:2]
        key = f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"
        found.setdefault(key, []).append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    return found


def _read_lock(path: Path) -> Checksums:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {key: hashes for key, *hashes in words}


def pip_download(python: str, machine: str, folder: Path) -> list[str]:
    """The command that downloads wheels for a Python and a machine, without what they depend on."""
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "-d", str(folder)]
    argv += ["--platform", f"manylinux2014_{machine}", "--platform", f"linux_{machine}"]
    for minor in GLIBC:
        argv += ["--platform", f"manylinux_2_{minor}_{machine}"]
    if machine == PINNED_MACHINE:
        argv += ["--platform", "linux_armv6l", "--extra-index-url", INDEX]
    return argv


def _uv() -> str:
    """The one beside this Python, where `make install` puts it, else that of the PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def run(argv: Sequence[str], folder: Path | None = None) -> str:
    """What a program prints. Raises WheelError with its error text."""
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise WheelError(f"{argv[0]}: {error.strerror}; install it (make install brings uv)") from error
    if done.returncode:
        raise WheelError(f"{' '.join(argv[:5])} …: {done.stderr.strip()[-1500:]}")
    return done.stdout
