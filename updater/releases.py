"""Releases on the unit's disk: a folder with a virtual environment for each, and a link to the one in use.

/opt/xomnet/wheels/NAME.whl           what the releases were installed from
/opt/xomnet/releases/VERSION/         the environment; complete where it has `manifest.json`
/opt/xomnet/current                   -> releases/VERSION
"""

import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import atomic_file, failpoints
from .errors import UnfitRelease, UpdateError
from .manifest import ReleaseFile, ReleaseManifest, parse, wheel_fits
from .server import sha256
from .settings import UpdaterSettings

INSTALL_S = 900.0
NAMESPACE = IDENTITY = "xomnet-release"
MANIFEST = "manifest.json"


def verify(data: bytes, signature: bytes, signers: Path) -> None:
    """Raises UpdateError unless one of `signers` has signed the manifest."""
    if not signers.exists():
        raise UpdateError(f"{signers}: missing, so no release can be verified; run the playbook, which writes it")
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        argv = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", IDENTITY, "-n", NAMESPACE, "-s", file.name]
        done = subprocess.run(argv, input=data, capture_output=True, timeout=60, check=False)
    if done.returncode:
        output = (done.stderr or done.stdout).decode(errors="replace").strip()[:200]
        raise UpdateError(f"manifest.json.sig: no valid signature of a known key ({output}); sign the release again")


def machine_tag() -> str:
    """This machine in the tags of wheels; a 32-bit system on a 64-bit kernel is armv7l."""
    found = platform.machine()
    return "armv7l" if struct.calcsize("P") == 4 and found in ("aarch64", "armv8l") else found


def wheels_for(
    manifest: ReleaseManifest, python: tuple[int, int] | None = None, on: str | None = None
) -> list[ReleaseFile]:
    """The wheels of a release for this unit. Raises UnfitRelease if it was not made for this Python or machine."""
    python, on = python or sys.version_info[:2], on or machine_tag()
    if f"{python[0]}.{python[1]}" not in manifest.python:
        made_for = ", ".join(manifest.python)
        own = f"{python[0]}.{python[1]}"
        raise UnfitRelease(
            f"{manifest.version}: made for Python {made_for}, this unit has {own}; make the release with --python {own}"
        )
    found = [file for file in manifest.files if wheel_fits(file.name, python, on)]
    if not any(file.name.startswith("xomnet-") for file in found):
        raise UnfitRelease(f"{manifest.version}: holds no wheel of xomnet for {on}; make the release with --arch {on}")
    return found


def has_wheel(file: ReleaseFile, wheels: Path) -> bool:
    """Whether a wheel is in the folder, complete and with its signed sum."""
    path = wheels / file.name
    return path.is_file() and path.stat().st_size == file.bytes and sha256(path) == file.sha256


def current_version(home: Path) -> str | None:
    """The version in use; None before the first."""
    link = home / "current"
    return Path(os.readlink(link)).name if link.is_symlink() else None


def installed_manifest(home: Path, version: str) -> bytes | None:
    """The manifest from which a release was installed, as bytes; None if it is not installed completely."""
    path = home / "releases" / version / MANIFEST
    return path.read_bytes() if path.exists() else None


def install(settings: UpdaterSettings, release: ReleaseManifest, data: bytes) -> None:
    """Makes the release's folder, unless it is complete. Raises UpdateError; UnfitRelease if it can't work here."""
    folder = settings.home / "releases" / release.version
    if installed_manifest(settings.home, release.version) == data:
        return
    if current_version(settings.home) == release.version:
        raise UpdateError(f"{release.version}: in use, from another manifest; give the new release a new version")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o755)
    failpoints.at("installing")
    _run([settings.python, "-m", "venv", "--without-pip", str(folder)], UpdateError, "check that the disk is not full")
    wheels = [str(settings.wheels / file.name) for file in wheels_for(release)]
    pip = [
        *_pip_command(settings),
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--python",
        str(folder / "bin/python"),
    ]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", *wheels], UpdateError, "read what pip says")
    _run([*pip, "check"], UnfitRelease, "make the release again, with all that it needs")
    output = _run([str(folder / "bin/xomnet"), "--version"], UnfitRelease, "the release does not start; make it again")
    if output.strip() != release.version:
        raise UnfitRelease(f"{release.version}: reports version {output.strip()!r}; make the release again")
    if settings.config.exists():
        check_config(folder, settings.config)
    subprocess.run(["sync", "-f", str(folder)], timeout=INSTALL_S, check=True)
    atomic_file.write(folder / MANIFEST, data)
    failpoints.at("installed")


def _pip_command(settings: UpdaterSettings) -> list[str]:
    """The command that runs pip, in an environment of its own. Raises UpdateError."""
    folder = settings.home / f"pip-{sys.version_info[0]}.{sys.version_info[1]}"
    argv = [str(folder / "bin/python"), "-m", "pip"]
    works = folder.exists() and subprocess.run([*argv, "--version"], capture_output=True, timeout=60, check=False)
    if not works or works.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        _run(
            [settings.python, "-m", "venv", str(folder)],
            UpdateError,
            "check that python3-venv is installed and the disk is not full",
        )
    return argv


def check_config(release: Path, config: Path) -> None:
    """Raises UnfitRelease if a release does not accept a settings file."""
    code = "import sys, pathlib, agent.settings as s\ntry: s.read(pathlib.Path(sys.argv[1]))\n"
    code += "except s.SettingsError as error: sys.exit(str(error))"
    argv = [str(release / "bin/python"), "-I", "-c", code, str(config)]
    _run(argv, UnfitRelease, "correct the settings, or the release")


def switch(home: Path, version: str) -> None:
    """Points `current` to a release, atomically. Raises OSError."""
    atomic_file.link(home / "current", f"releases/{version}")


def prune(settings: UpdaterSettings, keep: Sequence[str | None]) -> None:
    """Removes releases that are not in `keep`, and wheels that those in `keep` do not need; raises OSError.

    Partly downloaded wheels that are needed stay.
    """
    releases = settings.home / "releases"
    needed_wheels: set[str] = set()
    for folder in releases.iterdir():
        if folder.name not in keep:
            (folder / MANIFEST).unlink(missing_ok=True)  # from here on it is not complete
            shutil.rmtree(folder)
        elif (folder / MANIFEST).exists():
            needed_wheels |= {file.name for file in parse((folder / MANIFEST).read_bytes()).files}
    for wheel in settings.wheels.iterdir():
        if wheel.name.removesuffix(".part") not in needed_wheels:
            wheel.unlink()


def _run(argv: list[str], error: type[UpdateError], remedy: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise UpdateError(f"{Path(argv[0]).name}: {failed}; {remedy}") from failed
    if done.returncode:
        output = " ".join((done.stderr or done.stdout).split())[-300:]
        raise error(f"{' '.join(argv[:4])}: {output}; {remedy}")
    return done.stdout
