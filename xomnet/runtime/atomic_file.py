"""A small file that is on the disk as it was before or as it is now, whatever happens in between."""

import os
from pathlib import Path


def write_atomically(path: Path, payload: bytes, mode: int = 0o600) -> None:
    """Puts the file in its old one's place, of this mode whatever the umask. Raises OSError: the old one stands."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(new, path)


def put_in_place(new: Path, path: Path) -> None:
    """Replaces a file by one whose content is on the disk already, for good. Raises OSError."""
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def set_aside(path: Path) -> Path:
    """Takes a damaged file out of the way, for a person to look at; says where it is. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    os.replace(path, aside)
    return aside
