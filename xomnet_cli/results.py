"""`xomnet results`: what a unit sent is left out of all figures, or counts again."""

from pathlib import Path
from typing import Annotated

import typer

from xomnet_cli import completion
from xomnet_cli.options import AsJson, Config
from xomnet_cli.process import replace_process

results = typer.Typer(help="Leave results out of all figures, or let them count again.", no_args_is_help=True)
CONFIG = Path("/etc/xomnet/collector.yaml")

Unit = Annotated[
    str, typer.Argument(metavar="UNIT", help="The unit, as in the registry.", autocompletion=completion.units)
]
Line = Annotated[
    str | None,
    typer.Option(metavar="LINE", help="Only this line of the unit.", autocompletion=completion.lines),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="End, written as --since; of a date its end.", show_default="open"),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for pages and the report.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who decided it.")]
Measured = Annotated[
    bool, typer.Option("--measured", metavar="", help="The times are those of measurement, not of receipt.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Only say what it would touch.")]


@results.command()
def quarantine(
    unit: Unit,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Beginning: 2026-11-22, 2026-11-22 09:30 (Viet Nam), or RFC 3339."),
    ],
    reason: Reason,
    by: By,
    line: Line = None,
    until: Until = None,
    measured: Measured = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Leave out what the server received from a unit since a time.

    Nothing is changed or deleted. States follow within a minute, hours, days
    and months within some rounds of the collector, which may be running or
    stopped. What is left out is counted and named in pages and report.

    Exit status: 0 done, 2 the command could not run.

    Example: sudo -u xomnet xomnet results quarantine nd-haihau-0012 --since 2026-11-22 --reason stolen --by "Lan"
    """
    given = _options(since=since, line=line, until=until, reason=reason, by=by)
    flags = _flags(measured=measured, dry_run=dry_run)
    _run(config, as_json, "quarantine", *given, *flags, "--", unit)


@results.command()
def release(
    unit: Unit,
    reason: Reason,
    by: By,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Beginning: 2026-11-22, 2026-11-22 09:30, RFC 3339.", show_default="ever"),
    ] = None,
    line: Line = None,
    until: Until = None,
    measured: Measured = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Let what was left out of a unit count again, also its late results.

    Exit status: 0 done, 2 the command could not run.

    Example: sudo -u xomnet xomnet results release nd-haihau-0012 --reason "found again" --by "Lan"
    """
    given = _options(since=since, line=line, until=until, reason=reason, by=by)
    flags = _flags(measured=measured, dry_run=dry_run)
    _run(config, as_json, "release", *given, *flags, "--", unit)


@results.command("list")
def list_(
    unit: Annotated[
        str | None,
        typer.Argument(metavar="UNIT", help="Only this unit.", autocompletion=completion.units, show_default="all"),
    ] = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """List what was left out and what counts again, in the order of the decisions.

    Exit status: 0 done, 2 the command could not run.

    Example: sudo -u xomnet xomnet results list
    """
    _run(config, as_json, "list", *([] if unit is None else ["--", unit]))


def _options(**given: str | None) -> list[str]:
    return [f"--{name}={text}" for name, text in given.items() if text is not None]


def _flags(**given: bool) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name, wanted in given.items() if wanted]


def _run(config: Path, as_json: bool, *arguments: str) -> None:
    json = ["--json"] if as_json else []
    replace_process("collector.archive.results_command", "--config", str(config), *json, *arguments)
