"""LibreSpeed's and M-Lab's own clients, where they can be had. What each is, and where from: `README.md`."""

import subprocess
import sys
from pathlib import Path

from bench.rivals.librespeed import librespeed_cli
from bench.rivals.ndt7 import ndt7_js, ndt7_serving
from bench.tools import Tool

__all__ = ["available", "missing", "ndt7_serving"]

OBTAIN_S = 600.0
_ALL: dict[str, Tool] = {"librespeed-cli": librespeed_cli, "ndt7-js": ndt7_js}
_WANTS = {
    "librespeed-cli": "Debian's package librespeed-cli (Debian 13 has it)",
    "ndt7-js": "Node, and npm's packages @m-lab/ndt7 and ws",
}


def available(*names: str) -> dict[str, Tool]:
    """Those of the named clients, or of all, that are there after `obtain` has fetched what can be fetched.

    The others are told on standard error.
    """
    obtain = [str(Path(__file__).parent / "obtain")]
    try:
        done = subprocess.run(obtain, stdout=subprocess.PIPE, text=True, timeout=OBTAIN_S, check=True)
        there = done.stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{obtain[0]}: {error}", file=sys.stderr)
        there = []
    wanted = names or tuple(_ALL)
    found = {name: _ALL[name] for name in wanted if name in there}
    print(missing(found, *wanted), file=sys.stderr, end="")
    return found


def missing(found: dict[str, Tool], *names: str) -> str:
    """A line in Markdown for each of the named clients, or of all, that is not among `found`; empty where all are."""
    lost = [name for name in names or _ALL if name not in found]
    return "".join(f"Not compared, since it could not be had here: {name} ({_WANTS[name]}).\n" for name in lost)
