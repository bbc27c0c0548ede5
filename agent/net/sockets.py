"""TCP sockets that are pinned to a line's interface, and their errors as MeasurementError."""

import contextlib
import errno
import socket
import time

from agent.errors import MeasurementError

SO_BINDTODEVICE = 25

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]

_CODES = {
    errno.ECONNREFUSED: "connect_refused",
    errno.ETIMEDOUT: "connect_timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ENETDOWN: "interface_down",
    errno.ENODEV: "interface_missing",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
}


def to_measurement_error(error: OSError, what: str) -> MeasurementError:
    """A socket's error as MeasurementError; `what` names the peer or the interface."""
    code = "connect_timeout" if isinstance(error, TimeoutError) else _CODES.get(error.errno or 0, "network_error")
    return MeasurementError(code, f"{what}: {error.strerror or error}")


def open_socket(family: socket.AddressFamily, interface: str | None, type_: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking socket that uses `interface` whatever the routes are; None: by the routes. Raises
    MeasurementError.
    """
    try:
        sock = socket.socket(family, type_ | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise to_measurement_error(error, "no socket") from error
    try:
        sock.setblocking(False)
        pin(sock, interface)
    except BaseException:
        sock.close()
        raise
    return sock


def pin(sock: socket.socket, interface: str | None) -> None:
    """Binds a socket to an interface (SO_BINDTODEVICE). Raises MeasurementError if it is missing, or not permitted."""
    if interface is None:
        return
    name = interface.encode() + b"\0"
    try:
        if sock.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16) != name:  # a second time takes a privilege
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, name)
    except OSError as error:
        raise to_measurement_error(error, f"interface {interface}") from error


def connect_ms(address: Address, interface: str | None, timeout_s: float) -> float:
    """The time of one TCP connect in ms; a refusal is an answer too. Raises OSError, MeasurementError."""
    family, target = address
    sock = open_socket(family, interface)
    with sock:
        sock.settimeout(timeout_s)
        start = time.monotonic_ns()
        with contextlib.suppress(ConnectionRefusedError):  # the host itself said no: that is a round trip
            sock.connect(target)
        return (time.monotonic_ns() - start) / 1e6
