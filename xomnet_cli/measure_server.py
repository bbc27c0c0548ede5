"""`xomnet measure-server`: starts the measurement server in place of this process."""

from pathlib import Path
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
    permission_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public key (PEM) of the units' permissions.")
    ] = None,
    stranger_tests: Annotated[
        int, typer.Option(min=2, metavar="N", help="Of the downloads, those without a permission.")
    ] = 2,
    public_name: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="How clients reach it.", show_default="the address of the connection"),
    ] = None,
) -> None:
    """Serve download tests to units, LibreSpeed and speedtest-cli, until stopped.

    With --permission-key, units that show a permission of the collector have
    places of their own; all others share --stranger-tests.

    The command prints the address that it listens on. SIGTERM or Ctrl-C stops
    it.

    Exit status: 0 stopped, 1 cannot listen there, 2 wrong arguments.

    Example: xomnet measure-server --host 0.0.0.0 --port 8080 --rate 300
    """
    options = ["--host", host, "--port", str(port), "--rate", str(rate), "--max-tests", str(max_tests)]
    options += ["--stranger-tests", str(stranger_tests)]
    options += [] if permission_key is None else ["--permission-key", str(permission_key)]
    options += [] if public_name is None else ["--public-name", public_name]
    replace_process("measurement_server", *options)
