"""Run as a process: runs another module as `python -m` does, in little memory and pinned to a line's interface.

`python -m agent.measure.engines.sandbox BYTES INTERFACE NAMED MODULE ARGUMENT…`; with an empty INTERFACE the routes
decide. NAMED are the hosts, with commas between them, whose addresses may be private; `*`: all.
Each request that fails is reported on standard error: speedtest-cli hides most reasons.
"""

import resource
import runpy
import socket
import sys
import urllib.request
from functools import cache
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from agent.errors import MeasurementError
from agent.net.dns import resolve
from agent.net.name_servers import name_servers
from agent.net.public_address import is_public
from agent.net.sockets import SO_BINDTODEVICE

HTTP_PORT = 80


def pin_sockets(interface: str) -> None:
    """From now on every socket of this process uses the interface, and every name is asked over it."""
    plain_getaddrinfo = socket.getaddrinfo
    servers = name_servers(interface)

    @cache  # forty connections to one server ask for its name once
    def address_of(host: str) -> str:
        return str(resolve(host, HTTP_PORT, interface, servers=lambda _: servers)[1][0])

    class Pinned(socket.socket):
        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            super().__init__(family, type, proto, fileno)
            if fileno is None and self.family in (socket.AF_INET, socket.AF_INET6):
                self.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")

    def getaddrinfo(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if isinstance(host, str) and not options.get("flags", 0) & socket.AI_NUMERICHOST:
            try:
                host = address_of(host)
            except MeasurementError as failed:
                raise socket.gaierror(socket.EAI_NONAME, str(failed)) from failed
        return plain_getaddrinfo(host, port, *more, **options)

    socket.socket = Pinned  # type: ignore[misc]
    socket.getaddrinfo = getaddrinfo


def refuse_private(named: set[str]) -> None:
    """From now on only these hosts, and the proxies, may have an address that is not public; also after a redirect."""
    plain_getaddrinfo = socket.getaddrinfo
    proxies = {urlsplit(url).hostname for url in urllib.request.getproxies().values()}

    def getaddrinfo(host: Any, *more: Any, **options: Any) -> Any:
        found = plain_getaddrinfo(host, *more, **options)
        if str(host).lower() not in named | proxies and not all(is_public(str(one[4][0])) for one in found):
            raise socket.gaierror(socket.EAI_NONAME, "an address that is not public")
        return found

    socket.getaddrinfo = getaddrinfo


def report_failures() -> None:
    """From now on each request by urllib that fails writes `URL: why`, with its Retry-After, to standard error."""
    plain_open = urllib.request.OpenerDirector.open

    def open_(self: urllib.request.OpenerDirector, request: Any, *more: Any, **options: Any) -> Any:
        try:
            return plain_open(self, request, *more, **options)
        except (OSError, HTTPException) as error:
            url = request if isinstance(request, str) else request.full_url
            wait = error.headers.get("Retry-After") if isinstance(error, HTTPError) else None
            print(f"{url}: {error}", *([f"Retry-After: {wait}"] if wait else []), file=sys.stderr, flush=True)
            raise

    urllib.request.OpenerDirector.open = open_  # type: ignore[assignment,method-assign]


def main() -> None:
    memory_bytes, interface, named, module, *arguments = sys.argv[1:]
    if interface:
        pin_sockets(interface)  # asks nmcli, which would inherit the limit and may not live with it
    if named != "*":
        refuse_private(set(named.split(",")))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    report_failures()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
