"""`xomnet demo`: the whole way of a result on this machine, in one command."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    for_: Annotated[float | None, typer.Option("--for", help="End by itself after so many seconds.", min=5)] = None,
    port: Annotated[int, typer.Option(help="Where the page is served.", min=1, max=65535)] = 8420,
    lines: Annotated[int, typer.Option(help="How many lines to measure.", min=8, max=24)] = 8,
    folder: Annotated[Path, typer.Option("--dir", help="Where the data and the logs go.")] = Path("demo-data"),
    influx_url: Annotated[str | None, typer.Option(help="Store in this InfluxDB instead of SQLite.")] = None,
    influx_token: Annotated[str, typer.Option(help="Its token.", envvar="XOMNET_INFLUX_TOKEN")] = "",
    influx_bucket: Annotated[str, typer.Option(help="Its bucket.")] = "xomnet",
    influx_org: Annotated[str, typer.Option(help="The bucket's organisation, which InfluxDB 2 wants.")] = "-",
) -> None:
    """Hamlets of Nam Định on this machine: real units, broker, collector and page, transferring over loopback.

    Example: xomnet demo --for 120
    """
    from xomnet_demo.run import InfluxTarget, run  # noqa: PLC0415  # needs the parts of both sides

    influx = None if influx_url is None else InfluxTarget(influx_url, influx_token, influx_bucket, influx_org)
    raise typer.Exit(run(folder, port, lines, for_, influx))
