"""systemd's notify protocol (sd_notify(3)): one datagram to the service manager."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Sends a state such as `READY=1`, `RELOADING=1`, `STOPPING=1`, `WATCHDOG=1`; does nothing outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), address)  # a manager that went away must not end the service
