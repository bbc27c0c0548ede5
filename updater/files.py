"""Files that a power cut leaves either as they were or as they are to be."""

import json
import os
from pathlib import Path
from typing import Any

from .errors import UpdateError


def write(path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replaces a file whole. `owner`: user and group by number. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def link(path: Path, target: str) -> None:
    """Points a symbolic link elsewhere, at once. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """The names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read_json(path: Path) -> dict[str, Any]:
    """An object; an empty one where there is no file. Raises UpdateError."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UpdateError(f"{path}: {error}; remove the file, and the next run creates it") from error
    if not isinstance(found, dict):
        raise UpdateError(f"{path}: found no JSON object; remove the file, and the next run creates it")
    return found


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Raises OSError."""
    write(path, json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n")
