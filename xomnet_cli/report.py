"""`xomnet report`: the officer's monthly report as a file."""

import enum
import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from xomnet.runtime.clock import utc_now


class Language(enum.StrEnum):
    VI = "vi"
    EN = "en"


def report(
    month: Annotated[str, typer.Option(help="The month, like 2026-11.")],
    out: Annotated[Path, typer.Option(help="The file to write: .pdf, .docx, .xlsx, .csv or .html.")],
    area: Annotated[str | None, typer.Option(help="Only this area of the registry, at any level.")] = None,
    lang: Annotated[Language, typer.Option(help="The language.")] = Language.VI,
    config: Annotated[Path, typer.Option(help="The collector's settings file (YAML).")] = Path(
        "/etc/xomnet/collector.yaml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Writes the monthly report from the collector's store; it only reads, and a collector may run beside.

    Exit status: 0 the file is written, 1 it is not; the file is whole or not there.

    Example: xomnet report --month 2026-11 --area "Nam Định/Hải Hậu" --out report.pdf
    """
    try:
        from collector.report import make  # noqa: PLC0415  # the server's side, which a unit does not have
    except ImportError as error:
        _fail(f"{error.name} is not installed, which the report needs: pip install 'xomnet[collector,report]'", as_json)
    try:
        settings, asked, form = make.settings(config), make.month_of(month), make.format_of(out)
        make.check_folder(out)
        found = make.read(settings, asked, area, utc_now())
        content = make.printed(found, settings, lang.value, form)
        make.write_whole(out, content)
    except make.ERRORS as error:
        _fail(str(error), as_json)
    summary = make.summary(found)
    as_of = None if found.as_of is None else found.as_of.isoformat().replace("+00:00", "Z")
    if as_json:
        written = {"ok": True, "file": str(out), "format": form, "bytes": len(content)}
        of = {"month": month, "area": area, "language": lang.value, "as_of": as_of}
        print(json.dumps({**written, **of, "summary": summary}, ensure_ascii=False))
    else:
        print(_said(out, month, as_of, summary))


def _said(out: Path, month: str, as_of: str | None, summary: dict[str, Any]) -> str:
    met = ", ".join(
        f"{access} {summary[access]['met']} of {summary[access]['lines']} met" for access in ("mobile", "fixed")
    )
    when = "" if as_of is None else f" as of {as_of}"
    return f"{out}: {month}{when}; {summary['lines']} lines in {summary['hamlets']} hamlets, {met}"


def _fail(reason: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"ok": False, "error": reason}, ensure_ascii=False))
    else:
        print(reason, file=sys.stderr)
    raise typer.Exit(1)
