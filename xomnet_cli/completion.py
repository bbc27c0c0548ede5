"""What the shell completes: names from the registry, settings keys, months. It never fails and never asks the network.

Each function gives the candidates, with a word about them, for a value that begins with `incomplete`; Typer drops those
that do not.
"""

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import typer

from xomnet.area import areas_of
from xomnet.contract import remote_settings
from xomnet.contract.commands import CommandName
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import LineRow, RegistryError, read_rows

REGISTRIES = tuple(
    Path(path)
    for path in (
        "/etc/xomnet/lines.csv",  # on the server
        "lines.csv",
        "inventory/lines.csv",
        "deploy/ansible/inventory/lines.csv",  # on the operator's machine, in the repository
        "config/lines.csv",
        "config/lines.example.csv",
    )
)
MAX_BYTES = 4_000_000
"""A larger file is not read: completion must not take long."""
MONTHS = 13
MACHINES = ("aarch64", "armv7l", "x86_64")
PYTHONS = ("3.11", "3.12", "3.13")
INTERFACES = Path("/sys/class/net")

Candidates = list[tuple[str, str]]


def units(ctx: typer.Context, incomplete: str) -> Candidates:
    """Units of the registry; of several with commas, the last."""
    before = incomplete[: incomplete.rfind(",") + 1]
    named = before.split(",")
    return [(before + unit, hamlet) for unit, hamlet in _hamlets(_rows(ctx)) if unit not in named]


def units_or_commands(ctx: typer.Context, incomplete: str) -> Candidates:
    """The first word of `xomnet ask`: a unit, or with --area or --all the command."""
    if ctx.params.get("area") or ctx.params.get("all_"):
        return _commands()
    return units(ctx, incomplete)


def commands(ctx: typer.Context) -> Candidates:
    """The second word of `xomnet ask`."""
    return [] if ctx.params.get("unit") in get_args(CommandName) else _commands()


def certificate_names(ctx: typer.Context, incomplete: str) -> Candidates:
    """Units, and the collector."""
    return [*units(ctx, incomplete), ("collector", "the collector's certificate")]


def lines(ctx: typer.Context) -> Candidates:
    """Lines of the unit that the command names, else of every unit."""
    return list({row.line: f"{row.access}, {row.isp}" for row in _lines_of_unit(ctx)}.items())


def areas(ctx: typer.Context, incomplete: str) -> Candidates:
    """Areas at every level."""
    return _as_words(sorted({area for row in _rows(ctx) for area in areas_of(row.area)}), incomplete)


def providers(ctx: typer.Context, incomplete: str) -> Candidates:
    return _as_words(sorted({row.isp for row in _rows(ctx)}), incomplete)


def setting_keys(ctx: typer.Context) -> Candidates:
    """Keys that can be changed remotely."""
    names = list(dict.fromkeys(row.line for row in _lines_of_unit(ctx))) or ["LINE"]
    return [
        (key.replace("LINE", name), why)
        for key, why in remote_settings.CHANGEABLE.items()
        for name in (names if "LINE" in key else [""])
    ]


def assignments(ctx: typer.Context) -> Candidates:
    """`KEY=`, for a value to follow: the second candidate keeps the shell from ending the word there."""
    return [pair for key, why in setting_keys(ctx) for pair in ((f"{key}=", why), (f"{key}=null", "the default"))]


def months() -> Candidates:
    """Months to report."""
    return [(month, "") for month in last_months(dt.datetime.now(ZoneInfo(PROVINCE_TIME)).date())]


def last_months(today: dt.date) -> list[str]:
    """The last whole month first, the present one last."""
    numbers = (today.year * 12 + today.month - 1 - back for back in (*range(1, MONTHS), 0))
    return [f"{number // 12}-{number % 12 + 1:02}" for number in numbers]


def interfaces() -> Candidates:
    """Network interfaces of this machine."""
    try:
        return [(name, "") for name in sorted(os.listdir(INTERFACES))]
    except OSError:
        return []


def machines() -> Candidates:
    return [(name, "") for name in MACHINES]


def pythons() -> Candidates:
    return [(version, "") for version in PYTHONS]


def _commands() -> Candidates:
    return [(name, "") for name in get_args(CommandName)]


def _lines_of_unit(ctx: typer.Context) -> list[LineRow]:
    # behind an option that lacks its value, the words before it are in `args`
    unit = ctx.params.get("unit") or ctx.params.get("agent") or next(iter(ctx.args), None)
    rows = _rows(ctx)
    return [row for row in rows if row.agent == unit] or rows


def _hamlets(rows: Iterable[LineRow]) -> Candidates:
    """Each unit, with where it stands."""
    return sorted({row.agent: f"{row.hamlet}, {row.area}" for row in rows}.items())


def _rows(ctx: typer.Context) -> list[LineRow]:
    """The rows of the registry that the command names, else of the first that is found; none if it has errors."""
    named = ctx.params.get("registry")
    given = getattr(ctx.get_parameter_source("registry"), "name", "") == "COMMANDLINE"
    for path in (Path(named),) if named and given else REGISTRIES:
        try:
            if path.is_file() and path.stat().st_size <= MAX_BYTES:
                return read_rows(path.read_bytes(), str(path))
        except (OSError, RegistryError):
            continue
    return []


def _as_words(values: Iterable[str], incomplete: str) -> Candidates:
    """Values with spaces. bash takes a candidate as it is, so that a space would end a word that is not quoted."""
    words = os.environ.get("COMP_WORDS", "")
    if os.environ.get("_XOMNET_COMPLETE") != "complete_bash" or words.rpartition("\n")[2].startswith(('"', "'")):
        return [(value, "") for value in values]
    if " " in incomplete:
        return []  # bash has taken the backslash away, and would not put it back
    return [(value.replace(" ", "\\ "), "") for value in values]
