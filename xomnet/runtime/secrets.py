"""Secrets are files that other users can't read: passwords, tokens, keys, addresses of channels."""

import os
import stat
from pathlib import Path


class SecretError(Exception):
    """A secret's file is missing, or other users can read it; the text says what to do."""


def read_secret(path: Path) -> str:
    """The text of a secret's file, without white space around it. Raises SecretError."""
    check_private(path)
    return path.read_text(encoding="utf-8").strip()


def check_private(path: Path) -> None:
    """Raises SecretError if the file is missing, if this user can't read it, or if other users have any right to it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}; put the secret there") from error
    if not os.access(path, os.R_OK):
        raise SecretError(f"{path}: this user can't read it; give it to the service's user with chown")
    if mode & stat.S_IRWXO:
        raise SecretError(f"{path}: mode {stat.S_IMODE(mode):o} is open to others; run: chmod 600 {path}")
