"""Whether this unit knows the time: without a battery a Pi starts with that of its last shutdown."""

import subprocess
from collections.abc import Sequence

CLOCK_S = 20.0


def is_synced(command: Sequence[str]) -> bool:
    """Whether a time server has set the clock since the boot, as `command` says; no where it says nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLOCK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "yes"
