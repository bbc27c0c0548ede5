"""Atomic writes of small files: after a power cut a file is as it was before, or as it was written."""

import os
from pathlib import Path


def write_atomically(path: Path, payload: bytes, mode: int = 0o600) -> None:
    """Replaces a file, with this mode whatever the umask is. Raises OSError: then the old file stays."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(new, path)


def put_in_place(new: Path, path: Path) -> None:
    """Replaces a file by another whose content is on the disk already. Raises OSError."""
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def set_aside(path: Path) -> Path:
    """Renames a damaged file, so that a person can look at it; returns its new path. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    os.replace(path, aside)
    return aside
