"""`xomnet month`: close a month, so that its figures stay."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer

from xomnet.plan import PROVINCE_TIME
from xomnet.runtime.clock import utc_now
from xomnet_cli import completion
from xomnet_cli.options import AsJson

month = typer.Typer(help="Close a month: its figures stay as they are, whatever comes later.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(metavar="MONTH", help="Month, such as 2026-10.", autocompletion=completion.months)
]
Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The collector's settings file (YAML).")]
DEFAULT = Path("/etc/xomnet/collector.yaml")


@month.command()
def close(
    which: Which,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who closes the month: the report names this person.")],
    config: Settings = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Close a month that is over.

    Its figures, targets, registry rows and exclusions are kept as they are
    now. A closed month is never opened again: its report lists what has
    changed since. The collector may be running.

    Exit status: 0 the month is closed, 1 it is not, with the reason.

    Example: xomnet month close 2026-10 --by "Trần Thị Bình"
    """
    with _reported(as_json) as command:
        from collector.archive.writer import Archive  # noqa: PLC0415

        settings, chosen = command.load_settings(config), command.parse_month(which)
        closed = command.close(settings, chosen, by, utc_now(), lambda of: Archive(of.archive_folder, utc_now))
        found = command.describe(closed)
    text = f"{found['month']} is closed by {found['by']}: {found['lines']} lines; figures as of {_local(found)}"
    _print(found, text, as_json)


@month.command("list")
def list_(config: Settings = DEFAULT, as_json: AsJson = False) -> None:
    """List the closed months, with when and by whom each was closed.

    Exit status: 0 listed, 1 the record cannot be read.

    Example: xomnet month list
    """
    with _reported(as_json) as command:
        found = [command.head(one) for one in command.closed_months(command.load_settings(config))]
    lines = [f"{one['month']}  closed {_local(one)} by {one['by']}" for one in found]
    _print({"months": found}, "\n".join(lines) or "no month is closed", as_json)


@month.command()
def show(which: Which, config: Settings = DEFAULT, as_json: AsJson = False) -> None:
    """Show what was kept of a closed month.

    Exit status: 0 shown, 1 the month is not closed, or the record cannot be
    read.

    Example: xomnet month show 2026-10
    """
    with _reported(as_json) as command:
        closed = command.read_closed(command.load_settings(config), command.parse_month(which))
        found = command.describe(closed)
    kept = {name: found[name] for name in ("lines", "registry_rows", "exclusions", "xomnet")}
    _print(
        found,
        f"{found['month']} was closed {_local(found)} by {found['by']}\n"
        + "\n".join(f"  {name.replace('_', ' ')}: {value}" for name, value in kept.items())
        + "".join(
            f"\n  {access}: {own['met']} of {own['lines']} met, target {own['target_mbps']:g} Mb/s"
            for access, own in found["summary"].items()
            if isinstance(own, dict) and "met" in own
        ),
        as_json,
    )


@contextmanager
def _reported(as_json: bool) -> Iterator[ModuleType]:
    """The steps of the server's side; an error of theirs is one sentence."""
    try:
        from collector.report import command  # noqa: PLC0415  # which a unit does not have
    except ImportError as error:
        _fail(f"{error.name} is not installed; run: pip install 'xomnet[collector,report]'", as_json)
    try:
        yield command
    except command.ERRORS as error:
        _fail(str(error), as_json)


def _local(closing: dict[str, Any]) -> str:
    """When a month was closed, by the province's clock, which its months go by."""
    at = datetime.fromisoformat(closing["closed_at"])
    return f"{at.astimezone(ZoneInfo(PROVINCE_TIME)):%Y-%m-%d %H:%M}"


def _print(found: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps({"ok": True, **found}, ensure_ascii=False) if as_json else text)


def _fail(reason: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"ok": False, "error": reason}, ensure_ascii=False))
    else:
        print(reason, file=sys.stderr)
    raise typer.Exit(1)
