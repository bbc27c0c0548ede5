"""A card's first boot without a screen: packages, certificate, release, and the services in force.

Each step is done or not done; where one fails, the service is started again a minute later and goes on there.
"""

import datetime as dt
import os
import subprocess
from pathlib import Path

from . import status
from .errors import UpdateError
from .identity import enrol
from .notes import note
from .releases import current
from .settings import UpdaterSettings
from .upgrade import RESTART_S, pull

APT_S = 1800.0
REPORT = "xomnet-first-boot.txt"
BOOT_PARTITIONS = (Path("/boot/firmware"), Path("/boot"))


def first_boot(settings: UpdaterSettings, now: dt.datetime) -> str:
    """Returns what was reached, in a sentence. Raises UpdateError."""
    install_packages(settings.packages)
    enrol(settings)
    if current(settings.home) is None:
        pull(settings, now, first=True)
    version = current(settings.home)
    if version is None:
        raise UpdateError("the server has no release for this unit; publish a release, see docs/deploy.en.md")
    try:
        done = subprocess.run(settings.enable, timeout=RESTART_S, capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{settings.enable[0]}: {error}") from error
    if done.returncode:
        raise UpdateError(f"{' '.join(settings.enable)}: {done.stderr.strip()[:300]}; read journalctl -u xomnet-agent")
    if not status.wait(settings, version):
        raise UpdateError(f"{settings.agent} runs, but the collector has not answered; run: sudo xomnet agent check")
    note(settings.state, "first_boot", version)
    return f"ready: {settings.agent} measures, and the collector has answered"


def install_packages(names: tuple[str, ...]) -> None:
    """What the distribution's image left out. Raises UpdateError."""
    missing = [name for name in names if not installed(name)]
    if not missing:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for argv in (["apt-get", "update", "-q"], install):
        try:
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=APT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpdateError(f"{' '.join(argv[:2])}: {error}") from error
        if done.returncode:
            raise UpdateError(f"{' '.join(argv)}: {done.stderr.strip()[-300:]}; check that the network is up")


def installed(name: str) -> bool:
    argv = ["dpkg-query", "-W", "-f", "${db:Status-Status}", name]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout == "installed"


def report(text: str, partitions: tuple[Path, ...] = BOOT_PARTITIONS) -> None:
    """Leaves a line where a person finds it who puts the card into a computer."""
    for folder in partitions:
        if (folder / "cmdline.txt").exists():
            (folder / REPORT).write_text(text + "\n", encoding="utf-8")
            return
