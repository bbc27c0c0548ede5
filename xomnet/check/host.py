"""This machine in a few words, and checks that any machine can run."""

import os
import platform
import tempfile
from pathlib import Path

MODEL = Path("/proc/device-tree/model")
OS_RELEASE = Path("/etc/os-release")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # who listens there is asked here


def board_model() -> str:
    """The model of the board; empty if the machine does not say."""
    try:
        return MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def describe_machine() -> str:
    """Board, operating system and architecture."""
    try:
        system = next(
            line.partition("=")[2].strip('"')
            for line in OS_RELEASE.read_text(encoding="utf-8").splitlines()
            if line.startswith("PRETTY_NAME=")
        )
    except (OSError, StopIteration):
        system = platform.system()
    return ", ".join(filter(None, (board_model(), system, platform.machine())))


def reachable_host(host: str) -> str:
    """The address at which a program of this machine that listens at `host` can be reached."""
    return EVERYWHERE.get(host, host)


def try_to_write(folder: Path) -> None:
    """Writes a page to the disk and removes it. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
