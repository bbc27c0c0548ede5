"""`python -m measurement_server`: prints the address it listens on, serves until SIGTERM or SIGINT."""

import argparse
import math
import re
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from measurement_server.day_bytes import DayBytes
from measurement_server.server import MeasurementServer
from xomnet.runtime import log
from xomnet.runtime.clock import utc_now

if TYPE_CHECKING:
    from measurement_server.permissions import PermissionVerifier


class _Unusable(Exception):
    """Arguments that can't be used on this machine, or not together."""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 after a signal, 1 where it can't listen; argparse exits with 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    log.setup()
    _allow_descriptors()
    try:
        permissions = _verifier(options)
    except _Unusable as error:
        print(f"measure-server: {error}", file=sys.stderr)
        return 2
    try:
        server = MeasurementServer(
            options.host,
            options.port,
            options.rate,
            options.max_tests,
            permissions=permissions,
            stranger_tests=options.stranger_tests,
            public_name=options.public_name,
            day_bytes=DayBytes(utc_now),
        )
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        print(f"measure-server: cannot listen on {where}: {error.strerror or error}", file=sys.stderr)
        return 1

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()  # it waits for serve_forever, so not in this thread

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(server.url, flush=True)
    try:
        server.serve_forever()
    finally:
        server.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xomnet measure-server",
        description="Serve download tests to units, LibreSpeed and speedtest-cli.",
        epilog="Example: xomnet measure-server --host 0.0.0.0 --port 8080 --rate 300",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=_port, required=True, help="port; 0 takes any free port")
    parser.add_argument("--rate", type=_rate, default=0.0, metavar="MBIT", help="Mb/s for each client; 0 is no limit")
    parser.add_argument("--max-tests", type=_count, default=8, metavar="N", help="downloads at the same time")
    parser.add_argument(
        "--permission-key", type=Path, metavar="FILE", help="public key of the collector's permissions (PEM)"
    )
    parser.add_argument(
        "--stranger-tests", type=_two, default=2, metavar="N", help="of the downloads, those without a permission"
    )
    parser.add_argument(
        "--public-name", type=_name, metavar="HOST:PORT", help="how clients reach it, where not by its own address"
    )
    return parser


def _verifier(options: argparse.Namespace) -> "PermissionVerifier | None":
    if options.permission_key is None:
        return None
    if options.max_tests <= options.stranger_tests:
        raise _Unusable("--max-tests: allowed: more than --stranger-tests")
    try:
        from measurement_server.permissions import KeyFileError, PermissionVerifier  # noqa: PLC0415
    except ImportError as error:
        raise _Unusable(f"--permission-key: {error.name} is missing; run: pip install 'xomnet[collector]'") from error
    try:
        return PermissionVerifier(options.permission_key, utc_now)
    except KeyFileError as error:
        raise _Unusable(f"--permission-key: {error}") from error
    except OSError as error:
        raise _Unusable(f"--permission-key: {options.permission_key}: {error.strerror}") from error


def _allow_descriptors() -> None:
    """Every connection takes one; where the system allows no more, the oldest that waits is let go."""
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _two(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number from 2 on")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: HOST:PORT")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: 0 to 65535")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (rate == 0 or 0.1 <= rate <= 1e6):
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: 0, or 0.1 to 1000000 Mb/s")
    return rate


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
