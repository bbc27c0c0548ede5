"""The settings of the broker: where it is, and how to speak to it."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM: the authority of the broker's certificate, our own certificate and its key."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


class Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`protocol: "3.1.1"` is for brokers without version 5."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 60
