"""Where the broker is, and the secrets that open it."""

import os
import stat
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ca: Path
    cert: Path | None = None
    key: Path | None = None


class Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is and how to speak to it; `protocol: "3.1.1"` is for brokers without version 5."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 60


class SecretError(Exception):
    """A secret's file that is missing or that others can read."""


def read_secret(path: Path) -> str:
    """The text of a secret's file. Raises SecretError where it is missing or readable for others."""
    check_private(path)
    return path.read_text(encoding="utf-8").strip()


def check_private(path: Path) -> None:
    """Raises SecretError unless the file is there and closed to others."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}; put the secret there") from error
    if not os.access(path, os.R_OK):
        raise SecretError(f"{path}: this user can't read it; give it to the service's user with chown")
    if mode & stat.S_IRWXO:
        raise SecretError(f"{path}: mode {stat.S_IMODE(mode):o} is open to others; run: chmod 600 {path}")
