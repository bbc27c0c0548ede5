"""The address of a name. A pinned line asks over its own interface, and its own name servers.

The system's resolver would ask over the default route: one line would then find the name of a server and another line
use it, and a broken DNS of a mobile line would stay hidden.
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
from agent.net.dns_message import (
    AAAA,
    NO_ERROR,
    NO_SUCH_NAME,
    RCODES,
    A,
    DnsAnswer,
    encode_name,
    encode_question,
    parse_answer,
)
from agent.net.name_servers import hosts_addresses, name_servers
from agent.net.public_address import is_public
from agent.net.sockets import Address, open_socket

DNS_PORT = 53
AGAIN_S = 1.0
"""A server that has not answered is asked again after this."""
TCP_S = 4.0
UDP_BYTES = 4096


def resolve(
    host: str,
    port: int,
    interface: str | None = None,
    timeout_s: float = 10.0,
    servers: Callable[[str], Sequence[str]] = name_servers,
) -> Address:
    """The first address of a name, IPv4 before IPv6, within `timeout_s`. Raises MeasurementError, mostly `dns_failure`.

    With an interface: an address as it stands, then /etc/hosts, then DNS over the interface, of the name servers that
    `servers` gives for it. Names are absolute.
    """
    if not 0 < port < 65536:  # getaddrinfo takes 99999 for 34463
        raise MeasurementError("settings", f"{host}: port {port} is not one of 1 to 65535", ("unit_fault",))
    try:
        if interface is None:
            found = _resolve_by_system(host, port, timeout_s)
        else:
            found = _resolve_pinned(host, port, interface, timeout_s, servers)
    except OSError as error:
        raise MeasurementError("dns_failure", f"{host}: {error.strerror or error}") from error
    except ValueError as error:  # IDNA says UnicodeError of an empty label or one of over 63 letters
        raise MeasurementError("dns_failure", f"{host}: not a host's name") from error
    return min(found, key=lambda one: one[0] != socket.AF_INET)


def check_reach(host: str, address: Address, named_hosts: Sequence[str] | None) -> None:
    """Raises MeasurementError if a host that nobody has named on the unit has an address that is not public.

    Checked where the address is used, since whoever owns a name can change its address at any time.
    """
    if named_hosts is not None and host.lower() not in named_hosts and not is_public(address[1][0]):
        raise MeasurementError(
            "settings", f"{host}: its address is not public, and agent.yaml does not name this host", ("unit_fault",)
        )


def _numeric(host: str, port: int, flags: int = socket.AI_NUMERICHOST) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _resolve_by_system(host: str, port: int, timeout_s: float) -> list[Address]:
    """getaddrinfo has no time limit, so it runs in a thread that may stay behind."""
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


def _resolve_pinned(
    host: str, port: int, interface: str, timeout_s: float, servers: Callable[[str], Sequence[str]]
) -> list[Address]:
    deadline = time.monotonic() + timeout_s
    try:
        return _numeric(host, port)
    except socket.gaierror:
        name = encode_name(host)
    texts = hosts_addresses(name.decode())
    if not texts:
        known = servers(interface)
        if not known:
            raise MeasurementError(
                "dns_failure",
                f"{host}: no name server is known for {interface}; look at nmcli device show and /etc/resolv.conf",
                ("unit_fault",),
            )
        texts = query(name, known, interface, deadline - time.monotonic(), DNS_PORT)
    return [address for text in texts for address in _numeric(text, port)]


def query(name: bytes, servers: Sequence[str], interface: str, timeout_s: float, port: int) -> tuple[str, ...]:
    """The IPv4 addresses of a name as text; its IPv6 addresses if it has none. Raises MeasurementError
    `dns_failure`.
    """
    deadline = time.monotonic() + timeout_s
    for kind in (A, AAAA):
        question = encode_question(secrets.randbelow(1 << 16), name, kind)
        server, answer = _first_answer(question, name.decode(), servers, interface, deadline, port)
        if answer.rcode == NO_SUCH_NAME:
            break
        if answer.addresses:
            return answer.addresses
    raise MeasurementError("dns_failure", f"{name.decode()}: {server}, asked over {interface}, knows no address of it")


def _first_answer(
    question: bytes, name: str, servers: Sequence[str], interface: str, deadline: float, port: int
) -> tuple[str, DnsAnswer]:
    """The server that answered first, and its answer. All are asked at once: a line may reach only some of them."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        queries: list[_Query] = []
        failures: list[str] = []
        for server in servers:
            try:
                one = _Query(server, port, interface, question)
            except OSError as error:
                failures.append(f"{server}: {_reason(error)}")
            else:
                queries.append(one)
                selector.register(stack.enter_context(one.sock), selectors.EVENT_READ, one)
        again = 0.0
        while any(one.waiting for one in queries) and (now := time.monotonic()) < deadline:
            if now >= again:
                again = now + AGAIN_S
                for one in queries:
                    one.send()
            for key, _ in selector.select(min(again, deadline) - now):
                if answer := key.data.answer(deadline):
                    return key.data.server, answer
    failures += [f"{one.server}: {one.outcome}" for one in queries]
    raise MeasurementError(
        "dns_failure",
        f"{name}: no name server answered over {interface} ({', '.join(failures)});"
        " is the line online? its servers: nmcli device show",
    )


class _Query:
    """One question to one server, over UDP; over TCP if the answer is truncated."""

    def __init__(self, server: str, port: int, interface: str, question: bytes) -> None:
        """Raises OSError if there is no route to the server, MeasurementError if there is no such interface."""
        self.server, self.outcome = server, "no answer"
        self.waiting = True
        self._interface, self._question = interface, question
        self._family, self._address = _numeric(server, port)[0]
        self.sock = open_socket(self._family, interface, socket.SOCK_DGRAM)
        try:
            self.sock.connect(self._address)  # so the kernel drops packets of others, and reports a refusal
        except OSError:
            self.sock.close()
            raise

    def send(self) -> None:
        try:
            self.sock.send(self._question)
        except OSError as error:
            self._fail(_reason(error))

    def answer(self, deadline: float) -> DnsAnswer | None:
        """The answer, if one has arrived that settles the question; None else. A refusal becomes the `outcome`."""
        try:
            answer = parse_answer(self.sock.recv(UDP_BYTES), self._question)
            if answer and answer.truncated:
                answer = self._over_tcp(max(0.1, min(TCP_S, deadline - time.monotonic())))
        except BlockingIOError:
            return None
        except OSError as error:
            self._fail(_reason(error))
            return None
        if answer and answer.rcode not in (NO_ERROR, NO_SUCH_NAME):
            self._fail(RCODES.get(answer.rcode, f"error {answer.rcode}"))
            return None
        return answer

    def _over_tcp(self, timeout_s: float) -> DnsAnswer | None:
        deadline = time.monotonic() + timeout_s
        with open_socket(self._family, self._interface) as sock:
            sock.settimeout(timeout_s)
            sock.connect(self._address)
            sock.sendall(struct.pack("!H", len(self._question)) + self._question)
            (length,) = struct.unpack("!H", _exactly(sock, 2, deadline))
            return parse_answer(_exactly(sock, length, deadline), self._question)

    def _fail(self, reason: str) -> None:
        self.waiting, self.outcome = False, reason


def _exactly(sock: socket.socket, count: int, deadline: float) -> bytes:
    """Receives `count` bytes. Raises OSError if the other side ends before, or takes too long."""
    data = b""
    while len(data) < count:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        block = sock.recv(count - len(data))
        if not block:
            raise ConnectionResetError(errno.ECONNRESET, "the answer ended early")
        data += block
    return data


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
