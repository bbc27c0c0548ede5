"""What this machine is, in a few words, and what one may find out of any."""

import os
import platform
import tempfile
from pathlib import Path

MODEL = Path("/proc/device-tree/model")
OS_RELEASE = Path("/etc/os-release")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # who listens there is asked here


def model() -> str:
    """Of the board; empty where the machine does not say."""
    try:
        return MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def about_machine() -> str:
    """Board, system, architecture."""
    try:
        system = next(
            line.partition("=")[2].strip('"')
            for line in OS_RELEASE.read_text(encoding="utf-8").splitlines()
            if line.startswith("PRETTY_NAME=")
        )
    except (OSError, StopIteration):
        system = platform.system()
    return ", ".join(filter(None, (model(), system, platform.machine())))


def asked_at(host: str) -> str:
    """Where a program of this machine that listens at `host` is asked."""
    return EVERYWHERE.get(host, host)


def try_to_write(folder: Path) -> None:
    """A page that reaches the disk, and is gone again. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
