"""`xomnet measure-server`: starts the measurement server in place of this process."""

import os
import sys
from typing import Annotated

import typer


def measure_server(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one; the address is printed.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    rate: Annotated[float, typer.Option(min=0, metavar="MBIT", help="Mb/s for each client; 0: no limit.")] = 0,
    max_tests: Annotated[int, typer.Option(min=1, metavar="N", help="Clients that may download at once.")] = 8,
) -> None:
    """Serve what LibreSpeed, speedtest-cli and xomnet measure against, until SIGTERM or Ctrl-C.

    Prints the address it listens on. Example: xomnet measure-server --host 0.0.0.0 --port 8080 --rate 300
    """
    options = ["--host", host, "--port", str(port), "--rate", str(rate), "--max-tests", str(max_tests)]
    # the server itself runs without typer, as every daemon does
    os.execv(sys.executable, [sys.executable, "-m", "measurement_server", *options])  # noqa: S606  # no shell is the point
