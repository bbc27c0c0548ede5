"""The daemons run in place of the command, so that they carry nothing of the command line."""

import os
import sys
from typing import NoReturn


def replace_process(module: str, *arguments: str) -> NoReturn:
    """Runs `python -m module` in this process, with its exit status."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606  # no shell is the point
