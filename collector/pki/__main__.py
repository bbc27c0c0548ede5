"""`python -m collector.pki`: on a loopback port, or on the socket that systemd hands over."""

import argparse
import os
import socket
import sys
from pathlib import Path

from collector.http_server import http_server
from collector.pki.authority import Authority, AuthorityError
from collector.pki.enrolment import create_app
from xomnet.runtime.descriptors import raise_descriptor_limit
from xomnet.runtime.log import Log, setup

log = Log("collector.pki")

FIRST_OF_SYSTEMD = 3


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 after a signal, 1 where it can't listen, 2 where there is no authority."""
    options = _parser().parse_args(arguments)
    setup()
    os.umask(0o077)
    raise_descriptor_limit()
    try:
        authority = Authority(options.ca)
        listening = _listen(options.port)
    except AuthorityError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"enrol: cannot listen on 127.0.0.1 port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    server = http_server(create_app(authority, options.registry))
    log.info("enrolment runs", ca=str(options.ca), registry=str(options.registry))
    server.run(sockets=[listening])
    return 0


def _listen(port: int | None) -> socket.socket:
    """The port on loopback; without one the socket of `xomnet-enrol.socket`, which only nginx may open."""
    if port is not None:
        return socket.create_server(("127.0.0.1", port))
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise OSError(0, "no --port is given, and systemd passed no socket")
    return socket.socket(fileno=FIRST_OF_SYSTEMD)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m collector.pki",
        description="Issue certificates to units, behind nginx.",
        epilog="Example: python -m collector.pki --registry /etc/xomnet/lines.csv --port 8422",
    )
    parser.add_argument(
        "--ca", type=Path, default=Path("/var/lib/xomnet-ca"), help="folder of the certificate authority"
    )
    parser.add_argument(
        "--registry", type=Path, default=Path("/etc/xomnet/lines.csv"), help="registry that must have the unit"
    )
    parser.add_argument("--port", type=int, help="port on 127.0.0.1; without it, the socket that systemd passes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
