"""`xomnet archive check`."""

from pathlib import Path
from typing import Annotated

import typer

from xomnet_cli.options import AsJson
from xomnet_cli.process import replace_process

archive = typer.Typer(help="Check the archive of accepted messages.", no_args_is_help=True)
CONFIG = Path("/etc/xomnet/collector.yaml")


@archive.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="The archive.", show_default="that of the settings")
    ] = None,
    config: Annotated[Path, typer.Option(metavar="FILE", help="Settings file (YAML).", dir_okay=False)] = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Read all of the archive, count its messages, and name what is damaged.

    The collector may be running or stopped. Nothing is changed.

    Exit status: 0 no damage, 1 damage, 2 the archive cannot be read.

    Example: sudo -u xomnet xomnet archive check
    """
    where = ["--config", str(config.resolve())] if folder is None else [str(folder)]
    replace_process("collector.archive", "check", *where, *(["--json"] if as_json else []))
