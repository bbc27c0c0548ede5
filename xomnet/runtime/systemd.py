"""systemd's notify socket (sd_notify(3)), which is one datagram."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Sends a state such as `READY=1`, `RELOADING=1`, `STOPPING=1`, `WATCHDOG=1`; nothing outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), address)  # a manager that went away must not end the service


def watchdog_interval_s() -> float | None:
    """Half of what systemd allows between two `WATCHDOG=1`; None where it does not watch this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2e6 if microseconds.isdigit() and mine else None
