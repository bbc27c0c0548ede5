"""`xomnet report`: the officer's monthly report as a file."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from xomnet.access import ACCESSES
from xomnet.runtime.clock import utc_now
from xomnet_cli import completion
from xomnet_cli.options import AsJson, Language


def report(
    month: Annotated[
        str, typer.Option(metavar="MONTH", help="Month, such as 2026-11.", autocompletion=completion.months)
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .pdf, .docx, .xlsx, .html or .csv.")],
    area: Annotated[
        str | None,
        typer.Option(
            metavar="AREA",
            help='Only this area, such as "Ninh Bình/xã Hải Anh".',
            show_default="the whole province",
            autocompletion=completion.areas,
        ),
    ] = None,
    lang: Annotated[Language, typer.Option(help="Language of the report.")] = Language.VI,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The collector's settings file (YAML).")] = Path(
        "/etc/xomnet/collector.yaml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write the monthly report to a file.

    The command only reads the collector's store. The collector may be running
    or stopped. The file is written whole or not at all.

    Exit status: 0 the file is written, 1 it is not, with the reason.

    Example: xomnet report --month 2026-11 --area "Ninh Bình/xã Hải Anh" --out report.pdf
    """
    try:
        from collector.report import command  # noqa: PLC0415  # the server's side, which a unit does not have
    except ImportError as error:
        _fail(f"{error.name} is not installed; run: pip install 'xomnet[collector,report]'", as_json)
    try:
        settings, asked, form = command.load_settings(config), command.parse_month(month), command.format_of(out)
        command.check_folder(out)
        found = command.read_report(settings, asked, area, utc_now())
        content = command.render(found, settings, lang.value, form)
        command.write_file(out, content)
    except command.ERRORS as error:
        _fail(str(error), as_json)
    summary = command.summary(found)
    as_of = None if found.as_of is None else found.as_of.isoformat().replace("+00:00", "Z")
    if as_json:
        written = {"ok": True, "file": str(out), "format": form, "bytes": len(content)}
        of = {"month": month, "area": area, "language": lang.value, "as_of": as_of}
        print(json.dumps({**written, **of, "summary": summary}, ensure_ascii=False))
    else:
        print(_format_summary(out, month, as_of, summary))


def _format_summary(out: Path, month: str, as_of: str | None, summary: dict[str, Any]) -> str:
    met = ", ".join(f"{access} {summary[access]['met']} of {summary[access]['lines']} met" for access in ACCESSES)
    when = f" as closed by {summary['closed']['by']}" if summary["closed"] else f" as of {as_of}" if as_of else ""
    return f"{out}: {month}{when}; {summary['lines']} lines in {summary['hamlets']} hamlets, {met}"


def _fail(reason: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"ok": False, "error": reason}, ensure_ascii=False))
    else:
        print(reason, file=sys.stderr)
    raise typer.Exit(1)
