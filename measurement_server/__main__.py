"""`python -m measurement_server`: prints the address it listens on, serves until SIGTERM or SIGINT."""

import argparse
import math
import signal
import sys
import threading

from measurement_server.server import MeasurementServer
from xomnet.runtime import log


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 after a signal, 1 where it can't listen; argparse exits with 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    log.setup()
    try:
        server = MeasurementServer(options.host, options.port, options.rate, options.max_tests)
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
    return parser


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
