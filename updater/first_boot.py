"""First boot of a card without a screen: packages; then certificate, release, services.

Each step is done or not done. If one fails, systemd starts this again a minute later, and it goes on from there.
"""

import datetime as dt
import os
import subprocess
from pathlib import Path

from .agent_service import RESTART_S, wait_for_ack
from .enrolment import enrol
from .errors import UpdateError
from .notes import note
from .releases import current_version
from .settings import UpdaterSettings
from .upgrade import pull

APT_S = 1800.0
REPORT = "xomnet-first-boot.txt"
BOOT_PARTITIONS = (Path("/boot/firmware"), Path("/boot"))


def first_boot(settings: UpdaterSettings, now: dt.datetime) -> str:
    """Sets the unit up; returns what was reached, in a sentence. Raises UpdateError."""
    enrol(settings)
    if current_version(settings.home) is None:
        outcome = pull(settings, now, first=True)
        if current_version(settings.home) is None:
            raise UpdateError(f"no release of the server fits this unit ({outcome}); see docs/deploy.en.md, Upgrade")
    version = current_version(settings.home)
    assert version is not None
    try:
        done = subprocess.run(settings.enable, timeout=RESTART_S, capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{settings.enable[0]}: {error}") from error
    if done.returncode:
        raise UpdateError(f"{' '.join(settings.enable)}: {done.stderr.strip()[:300]}; read journalctl -u xomnet-agent")
    if not wait_for_ack(settings, version):
        raise UpdateError(f"{settings.agent} runs, but the collector has not answered; run: sudo xomnet agent check")
    note(settings.state, "first_boot", version)
    return f"ready: {settings.agent} measures, and the collector has answered"


def install_packages(names: tuple[str, ...]) -> str:
    """Installs the packages of the distribution that are missing; returns which, in a sentence. Raises UpdateError."""
    missing = [name for name in names if not is_installed(name)]
    if not missing:
        return "no package is missing"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for argv in (["apt-get", "update", "-q"], install):
        try:
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=APT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpdateError(f"{' '.join(argv[:2])}: {error}") from error
        if done.returncode:
            raise UpdateError(f"{' '.join(argv)}: {done.stderr.strip()[-300:]}; check that the network is up")
    return f"installed: {', '.join(missing)}"


def is_installed(name: str) -> bool:
    """Whether a package of the distribution is installed."""
    argv = ["dpkg-query", "-W", "-f", "${db:Status-Status}", name]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout == "installed"


def write_report(text: str, partitions: tuple[Path, ...] = BOOT_PARTITIONS) -> None:
    """Writes a line to the boot partition, where a person finds it who puts the card into a computer."""
    for folder in partitions:
        if (folder / "cmdline.txt").exists():
            (folder / REPORT).write_text(text + "\n", encoding="utf-8")
            return
