"""What this machine is, in a few words."""

import platform
from pathlib import Path

MODEL = Path("/proc/device-tree/model")
OS_RELEASE = Path("/etc/os-release")


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
