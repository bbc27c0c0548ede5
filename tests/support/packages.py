"""The packages of the product, as pyproject.toml names them for a release."""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: tuple[str, ...] = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def files_of(folders: Iterable[str]) -> list[Path]:
    """Their Python files."""
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def imports_of(file: Path) -> Iterator[str]:
    """The top-level packages that a file imports, at any place in it; its own, where the import is relative."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import(names=names):
                yield from (one.name.partition(".")[0] for one in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.ImportFrom():
                yield file.relative_to(ROOT).parts[0]
