"""`xomnet demo`: a small province on this machine, in one command."""

from pathlib import Path
from typing import Annotated

import typer

OF_INFLUX = "Options of InfluxDB"


def demo(
    for_: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop after this time, not only at Ctrl-C.", min=5),
    ] = None,
    port: Annotated[int, typer.Option(metavar="PORT", help="Port of the page.", min=1, max=65535)] = 8420,
    lines: Annotated[int, typer.Option(metavar="N", help="Number of lines.", min=8, max=24)] = 8,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder for data and logs.")] = Path("demo-data"),
    influx_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Store in this InfluxDB instead of SQLite.", rich_help_panel=OF_INFLUX),
    ] = None,
    influx_token: Annotated[
        str, typer.Option(metavar="TOKEN", help="Token.", envvar="XOMNET_INFLUX_TOKEN", rich_help_panel=OF_INFLUX)
    ] = "",
    influx_bucket: Annotated[str, typer.Option(metavar="BUCKET", help="Bucket.", rich_help_panel=OF_INFLUX)] = "xomnet",
    influx_org: Annotated[
        str, typer.Option(metavar="NAME", help="Organisation of the bucket (InfluxDB 2).", rich_help_panel=OF_INFLUX)
    ] = "-",
) -> None:
    """Run a small province on this machine: units, broker, collector and page.

    The units are real and transfer over loopback. Ctrl-C stops everything.

    Exit status: 0 stopped, 1 it could not run.

    Example: xomnet demo --for 120
    """
    from xomnet_demo.run import InfluxTarget, run  # noqa: PLC0415  # needs the parts of both sides

    influx = None if influx_url is None else InfluxTarget(influx_url, influx_token, influx_bucket, influx_org)
    raise typer.Exit(run(folder, port, lines, for_, influx))
