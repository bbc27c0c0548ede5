"""Checks of a line's measurement servers: their names, whether they answer, whether they are busy."""

import secrets
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from agent.engines import ENGINES
from agent.errors import MeasurementError
from agent.measure.engines.http_stream import HEAD_LIMIT, Source, parse_head
from agent.net.dns import resolve
from agent.net.public_address import is_address
from agent.net.sockets import open_socket, to_measurement_error
from agent.settings import LineSettings
from xomnet.check.finding import Finding, Sentence, fail, ok, say, skip, warn

NAME_S, ANSWER_S = 5.0, 5.0
FEW_BYTES = 4_096
"""The receive buffer: the check receives no more of the test data than this."""
LOOK = "garbage.php?ckSize=1&r="


def check_names(line: LineSettings, servers: Sequence[str]) -> Finding | None:
    """Checks whether the servers' names are found over the line; None if all are addresses."""
    hosts = dict.fromkeys(host for server in servers if (host := urlsplit(server).hostname) and not is_address(host))
    title = f"names {line.line}"
    start = time.monotonic()
    for host in hosts:
        try:
            resolve(host, 80, line.interface, NAME_S)
        except MeasurementError as error:
            remedy = say("check that the line is online, and its name servers: nmcli device show (IP4.DNS)")
            return fail(title, say("{reason}", reason=str(error)), remedy)
    return ok(title, say("found in {n} ms", n=round((time.monotonic() - start) * 1000))) if hosts else None


def check_servers(line: LineSettings, servers: Sequence[str]) -> Finding:
    """Checks whether a server answers and is not busy; the first one that does will measure."""
    title = f"server {line.line}"
    server_list = ENGINES[line.engine].server_list
    if server_list is not None:
        return skip(
            title, say("{engine} chooses a server of {list} at each test", engine=line.engine, list=server_list)
        )
    if not servers:
        return fail(title, say("no server is set"), say("set servers: in agent.yaml"))
    away: list[Sentence] = []
    busy = False
    for one in servers:
        where = urlsplit(one).netloc
        try:
            ms = round(probe_server(one, line.interface), 1)
        except MeasurementError as error:
            busy = busy or error.error == "server_busy"
            away.append(say("{server} {code}: {reason}", server=where, code=error.error, reason=error.detail))
            continue
        good = say("{server} answers in {n} ms, not busy", server=where, n=ms)
        if not away:
            return ok(title, good)
        return warn(title, (*away, good), say("the next server is used instead; tell the operator"))
    if busy:
        return warn(
            title, tuple(away), say("normal now and then, the unit tries again; if it goes on, tell the operator")
        )
    return fail(
        title,
        tuple(away),
        say("check that the line is online, and servers: in agent.yaml; if both are right, tell the operator"),
    )


def probe_server(server: str, interface: str | None) -> float:
    """Connects to a server and asks for test data; returns the time of the connect in ms.

    Raises MeasurementError, `server_busy` if it refuses a test now.
    """
    url = urlsplit(server)
    deadline = time.monotonic() + ANSWER_S
    try:
        port = url.port or 80
    except ValueError as error:
        raise MeasurementError("settings", f"{server}: {error}") from error
    address = resolve(url.hostname or "", port, interface, NAME_S)
    source = Source(url, address, interface, secrets.token_hex(8), LOOK)
    with open_socket(address[0], interface) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW_BYTES)
            sock.settimeout(ANSWER_S)
            start = time.monotonic()
            sock.connect(address[1])
            ms = (time.monotonic() - start) * 1000
            sock.sendall(source.request())
            head = b""
            while b"\r\n\r\n" not in head:
                sock.settimeout(max(0.01, deadline - time.monotonic()))
                data = sock.recv(FEW_BYTES)
                head += data
                if not data or len(head) > HEAD_LIMIT:
                    raise MeasurementError("portal" if head else "reset", "no whole HTTP answer")
        except OSError as error:
            raise to_measurement_error(error, url.netloc) from error
    parse_head(head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    return ms
