"""Former names of commands: they work for one more version, hidden, and name the new one."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

P = ParamSpec("P")


def add_hidden_alias(group: typer.Typer, path: str, old: str, new: str, command: Callable[P, None]) -> None:
    """Registers `old` beside `new` in the group that `path` names; it warns on standard error."""

    @wraps(command)
    def run_with_warning(*args: P.args, **kwargs: P.kwargs) -> None:
        print(f"warning: `xomnet {path} {old}` is now `xomnet {path} {new}`; the old name goes away", file=sys.stderr)
        command(*args, **kwargs)

    group.command(old, hidden=True)(run_with_warning)
