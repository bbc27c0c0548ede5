"""`xomnet measure-server`: starts the measurement server in place of this process."""

from typing import Annotated

import typer

from xomnet_cli.process import replace_process


def measure_server(
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes any free port.")],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 is every address.")
    ] = "127.0.0.1",
    rate: Annotated[float, typer.Option(min=0, metavar="MBIT", help="Mb/s for each client; 0 is no limit.")] = 0,
    max_tests: Annotated[int, typer.Option(min=1, metavar="N", help="Downloads at the same time.")] = 8,
) -> None:
    """Serve download tests to units, LibreSpeed and speedtest-cli, until stopped.

    The command prints the address that it listens on. SIGTERM or Ctrl-C stops
    it.

    Exit status: 0 stopped, 1 cannot listen there, 2 wrong arguments.

    Example: xomnet measure-server --host 0.0.0.0 --port 8080 --rate 300
    """
    options = ["--host", host, "--port", str(port), "--rate", str(rate), "--max-tests", str(max_tests)]
    replace_process("measurement_server", *options)
