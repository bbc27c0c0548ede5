"""A name's address. For a pinned line it is asked over that line's interface, of that line's name servers.

The system's own resolver would ask over the default route: the name of a server would then be found by one line and
used on another, and a mobile line would not be told of its DNS being out of order.
"""

import errno
import queue
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from agent.errors import MeasurementError
from agent.net.dns_message import AAAA, NO_ERROR, NO_SUCH_NAME, RCODES, A, DnsAnswer, name_of, parse, question
from agent.net.name_servers import in_hosts, name_servers
from agent.net.sockets import Address, open_socket

DNS_PORT = 53
AGAIN_S = 1.0
"""A server that has said nothing is asked again after this."""
TCP_S = 4.0
UDP_BYTES = 4096


def resolve(
    host: str,
    port: int,
    interface: str | None = None,
    timeout_s: float = 10.0,
    servers: Callable[[str], Sequence[str]] = name_servers,
) -> Address:
    """The first address of a name, IPv4 before IPv6. Raises MeasurementError, mostly `dns_failure`; keeps to its time.

    With an interface: an address as it stands, then /etc/hosts, then DNS over that interface of those that `servers`
    gives for it; names are absolute.
    """
    if not 0 < port < 65536:  # getaddrinfo takes 99999 for 34463
        raise MeasurementError("settings", f"{host}: port {port} is not one of 1 to 65535", ("unit_fault",))
    try:
        if interface is None:
            found = _of_system(host, port, timeout_s)
        else:
            found = _pinned(host, port, interface, timeout_s, servers)
    except OSError as error:
        raise MeasurementError("dns_failure", f"{host}: {error.strerror or error}") from error
    except ValueError as error:  # IDNA says UnicodeError of an empty label or one of over 63 letters
        raise MeasurementError("dns_failure", f"{host}: not a host's name") from error
    return min(found, key=lambda one: one[0] != socket.AF_INET)


def _numeric(host: str, port: int, flags: int = socket.AI_NUMERICHOST) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _of_system(host: str, port: int, timeout_s: float) -> list[Address]:
    """getaddrinfo knows no limit on its time: it runs in a thread that may stay behind."""
    answer: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(_numeric(host, port, flags=0))
        except (OSError, ValueError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=timeout_s)
    except queue.Empty:
        raise MeasurementError("dns_failure", f"{host}: no answer within {timeout_s:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _pinned(
    host: str, port: int, interface: str, timeout_s: float, servers: Callable[[str], Sequence[str]]
) -> list[Address]:
    deadline = time.monotonic() + timeout_s
    try:
        return _numeric(host, port)
    except socket.gaierror:
        name = name_of(host)
    texts = in_hosts(name.decode())
    if not texts:
        known = servers(interface)
        if not known:
            raise MeasurementError(
                "dns_failure",
                f"{host}: no name server is known for {interface}; look at nmcli device show and /etc/resolv.conf",
                ("unit_fault",),
            )
        texts = ask(name, known, interface, deadline - time.monotonic(), DNS_PORT)
    return [address for text in texts for address in _numeric(text, port)]


def ask(name: bytes, servers: Sequence[str], interface: str, timeout_s: float, port: int) -> tuple[str, ...]:
    """A name's IPv4 addresses, or where it has none, its IPv6 ones, as text. Raises MeasurementError `dns_failure`."""
    deadline = time.monotonic() + timeout_s
    for kind in (A, AAAA):
        asked = question(secrets.randbelow(1 << 16), name, kind)
        server, answer = _first_answer(asked, name.decode(), servers, interface, deadline, port)
        if answer.rcode == NO_SUCH_NAME:
            break
        if answer.addresses:
            return answer.addresses
    raise MeasurementError("dns_failure", f"{name.decode()}: {server}, asked over {interface}, knows no address of it")


def _first_answer(
    asked: bytes, name: str, servers: Sequence[str], interface: str, deadline: float, port: int
) -> tuple[str, DnsAnswer]:
    """Who answered first, and what. All are asked at once: which ones a line can reach, only asking tells."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        inquiries: list[_Inquiry] = []
        failures: list[str] = []
        for server in servers:
            try:
                inquiry = _Inquiry(server, port, interface, asked)
            except OSError as error:
                failures.append(f"{server}: {_words(error)}")
            else:
                inquiries.append(inquiry)
                selector.register(stack.enter_context(inquiry.sock), selectors.EVENT_READ, inquiry)
        again = 0.0
        while any(inquiry.silent for inquiry in inquiries) and (now := time.monotonic()) < deadline:
            if now >= again:
                again = now + AGAIN_S
                for inquiry in inquiries:
                    inquiry.send()
            for key, _ in selector.select(min(again, deadline) - now):
                if answer := key.data.answer(deadline):
                    return key.data.server, answer
    failures += [f"{inquiry.server}: {inquiry.said}" for inquiry in inquiries]
    raise MeasurementError(
        "dns_failure",
        f"{name}: no name server answered over {interface} ({', '.join(failures)});"
        " is the line online? its servers: nmcli device show",
    )


class _Inquiry:
    """One question to one server, over UDP until that truncates the answer."""

    def __init__(self, server: str, port: int, interface: str, asked: bytes) -> None:
        """Raises OSError where there is no way to the server, MeasurementError where there is no such interface."""
        self.server, self.said = server, "no answer"
        self.silent = True
        self._interface, self._asked = interface, asked
        self._family, self._address = _numeric(server, port)[0]
        self.sock = open_socket(self._family, interface, socket.SOCK_DGRAM)
        try:
            self.sock.connect(self._address)  # what others send is not heard; a refusal of the host is
        except OSError:
            self.sock.close()
            raise

    def send(self) -> None:
        try:
            self.sock.send(self._asked)
        except OSError as error:
            self._failed(_words(error))

    def answer(self, deadline: float) -> DnsAnswer | None:
        """An answer that settles the question. None: something else came, or a refusal, which is noted."""
        try:
            answer = parse(self.sock.recv(UDP_BYTES), self._asked)
            if answer and answer.truncated:
                answer = self._over_tcp(max(0.1, min(TCP_S, deadline - time.monotonic())))
        except BlockingIOError:
            return None
        except OSError as error:
            self._failed(_words(error))
            return None
        if answer and answer.rcode not in (NO_ERROR, NO_SUCH_NAME):
            self._failed(RCODES.get(answer.rcode, f"error {answer.rcode}"))
            return None
        return answer

    def _over_tcp(self, timeout_s: float) -> DnsAnswer | None:
        deadline = time.monotonic() + timeout_s
        with open_socket(self._family, self._interface) as sock:
            sock.settimeout(timeout_s)
            sock.connect(self._address)
            sock.sendall(struct.pack("!H", len(self._asked)) + self._asked)
            (length,) = struct.unpack("!H", _exactly(sock, 2, deadline))
            return parse(_exactly(sock, length, deadline), self._asked)

    def _failed(self, why: str) -> None:
        self.silent, self.said = False, why


def _exactly(sock: socket.socket, count: int, deadline: float) -> bytes:
    """So many bytes. Raises OSError where the other side ends before, or takes too long."""
    data = b""
    while len(data) < count:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        block = sock.recv(count - len(data))
        if not block:
            raise ConnectionResetError(errno.ECONNRESET, "the answer ended early")
        data += block
    return data


def _words(error: OSError) -> str:
    return error.strerror or str(error)
