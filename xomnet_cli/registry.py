"""`xomnet registry check`."""

import json
import sys
from collections.abc import Sized
from pathlib import Path
from typing import Annotated

import typer

from xomnet.registry.registry import BadCell, LineRow, RegistryError, read_rows


def check(
    file: Annotated[Path, typer.Argument(help="The registry, such as lines.csv.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Reads a registry and names every bad cell: line, column, what was found, what to write instead.

    Example: xomnet registry check lines.csv
    """
    rows: list[LineRow] = []
    problems: list[BadCell] = []
    try:
        rows = read_rows(file.read_bytes(), str(file))
    except OSError as error:
        problems = [BadCell(str(file), 0, "file", error.strerror or str(error), "the path of a readable CSV file")]
    except RegistryError as error:
        problems = error.problems
    lines, agents = {(row.agent, row.line) for row in rows}, {row.agent for row in rows}
    if as_json:
        found = [{"line": p.row, "column": p.column, "found": p.found, "write": p.instead} for p in problems]
        counted = {"rows": len(rows), "lines": len(lines), "agents": len(agents)}
        print(json.dumps({"file": str(file), "ok": not problems, **counted, "problems": found}, ensure_ascii=False))
    elif problems:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        print(f"{len(problems)} to mend", file=sys.stderr)
    else:
        print(f"{file}: good; {_counted(lines, 'line')} of {_counted(agents, 'unit')} in {_counted(rows, 'row')}")
    if problems:
        raise typer.Exit(1)


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")
