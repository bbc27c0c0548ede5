"""A namespace at the other end of a cable: whoever sends from there comes in by a port, and not by loopback."""

import contextlib
import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.services import program

HERE, THERE = "198.51.100.1", "198.51.100.2"
"""TEST-NET-2 (RFC 5737)."""
_NEW_NETWORK = 0x40000000


class FarSide(NamedTuple):
    """`interface` is the end of the cable that is here."""

    namespace: str
    interface: str


@contextlib.contextmanager
def far_side() -> Iterator[FarSide]:
    """A namespace at THERE, whose cable ends at HERE. Wants root."""
    name = f"xf{secrets.token_hex(4)}"
    near, far = f"{name}n", f"{name}f"

    def do(*arguments: str) -> None:
        subprocess.run([program("ip"), *arguments], check=True, timeout=10)

    do("netns", "add", name)
    try:
        do("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        do("address", "add", f"{HERE}/24", "dev", near)
        do("link", "set", near, "up")
        do("-n", name, "address", "add", f"{THERE}/24", "dev", far)
        do("-n", name, "link", "set", far, "up")
        yield FarSide(name, near)
    finally:
        subprocess.run([program("ip"), "link", "del", near], check=False)  # the namespace's own end takes its time
        do("netns", "del", name)


@contextlib.contextmanager
def within(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes meanwhile are in the namespace, for as long as they live."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{namespace}").open() as away:
        _enter(away.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
