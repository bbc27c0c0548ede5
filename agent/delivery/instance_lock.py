"""One agent in a state folder: two would send each other's results and spend each other's bytes."""

import fcntl
from pathlib import Path
from typing import IO


class AlreadyRunning(Exception):
    """Another agent works in the same state folder."""


def lock_state_dir(state_dir: Path) -> IO[str]:
    """Locks the state folder for as long as the file returned is open. Raises AlreadyRunning, OSError."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (state_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(
            f"another agent works in {state_dir}; stop it, or give this one its own state_dir"
        ) from None
    return lock
