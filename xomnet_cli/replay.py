"""`xomnet replay`: the database again from the archive."""

from pathlib import Path
from typing import Annotated

import typer

from xomnet_cli.options import AsJson, Config
from xomnet_cli.process import replace_process


def replay(
    config: Config = Path("/etc/xomnet/collector.yaml"),
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Archive to read.",
            show_default="that of the settings",
            exists=True,
            file_okay=False,
            resolve_path=True,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="First day of receipt, such as 2026-10-01.", show_default="the oldest"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last day of receipt.", show_default="the newest")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=16, help="Processes that share the work.", show_default="2; SQLite: 1"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Only say what would be added; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the database again from the archive.

    Use it after the database is lost, to move from SQLite to InfluxDB or to
    another version of InfluxDB, and, into an empty database, for fields
    that an earlier version did not store. It adds the results that the
    database of the settings does not have, with their times of receipt,
    puts back exclusions and closed months, and computes hours, days and
    months again. What the database has stays as it is. If it is stopped,
    run it again. The collector may be running or stopped; restart a running
    one afterwards. InfluxDB: create the empty bucket first. Only results,
    exclusions and closed months that were received on the days chosen are
    read.

    Exit status: 0 everything is in the database, 1 some results are refused
    or part of the archive is damaged, 2 the command could not run.

    Example: sudo -u xomnet xomnet replay --since 2026-10-01 --dry-run
    """
    options = (("--archive", archive), ("--since", since), ("--until", until), ("--processes", processes))
    given = [part for name, value in options if value is not None for part in (name, str(value))]
    flags = [name for name, wanted in (("--dry-run", dry_run), ("--json", as_json)) if wanted]
    replace_process("collector.archive.replay_command", "--config", str(config), *given, *flags)
