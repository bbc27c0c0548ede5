"""`xomnet registry check`."""

import json
import sys
from collections.abc import Sized
from pathlib import Path
from typing import Annotated

import typer

from xomnet.registry.registry import BadCell, LineRow, RegistryError, read_rows
from xomnet_cli.options import AsJson

registry = typer.Typer(help="Check the registry, the list of lines.", no_args_is_help=True)


@registry.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The registry, such as lines.csv.")],
    as_json: AsJson = False,
) -> None:
    """Check a registry, and list every bad cell: line, column, what to write instead.

    Exit status: 0 no errors, 1 errors, or the file cannot be read.

    Example: xomnet registry check lines.csv
    """
    rows: list[LineRow] = []
    problems: list[BadCell] = []
    try:
        rows = read_rows(file.read_bytes(), str(file))
    except OSError as error:
        problems = [BadCell(str(file), 0, "file", error.strerror or str(error), "name a readable CSV file")]
    except RegistryError as error:
        problems = error.problems
    lines, units = {(row.agent, row.line) for row in rows}, {row.agent for row in rows}
    if as_json:
        found = [{"line": p.row, "column": p.column, "found": p.found, "write": p.instead} for p in problems]
        counts = {"rows": len(rows), "lines": len(lines), "agents": len(units)}
        print(json.dumps({"file": str(file), "ok": not problems, **counts, "problems": found}, ensure_ascii=False))
    elif problems:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        print(_count(problems, "error"), file=sys.stderr)
    else:
        print(f"{file}: no errors; {_count(rows, 'row')}, {_count(lines, 'line')}, {_count(units, 'unit')}")
    if problems:
        raise typer.Exit(1)


def _count(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")
