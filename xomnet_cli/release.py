"""`xomnet release`: makes, stages and signs, on the operator's machine, what the units install.

DIR/manifest.json, manifest.json.sig      what the release holds, and which units install it when
DIR/files/NAME.whl                        the wheels for each Python and machine of the release
"""

import datetime as dt
import hashlib
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from updater.errors import UpdateError
from updater.manifest import MAX_FILES, parse, parse_instant, wheel_fits
from updater.releases import MANIFEST, NAMESPACE
from xomnet_cli import completion, wheels

release = typer.Typer(help="Make, stage and sign the releases that units install.", no_args_is_help=True)

PYTHONS = ("3.11", "3.13")
VALID_DAYS = 180
OF_STAGE = "Stage: a unit must match all of these"
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the release.", file_okay=False)]
Agents = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        metavar="UNIT",
        help="Only this unit; may be repeated.",
        rich_help_panel=OF_STAGE,
        autocompletion=completion.units,
    ),
]
Areas = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        metavar="AREA",
        help="Only units of this area; may be repeated.",
        rich_help_panel=OF_STAGE,
        autocompletion=completion.areas,
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", min=0, max=1, help="Share of the units; 0.1 is one in ten.", rich_help_panel=OF_STAGE
    ),
]
Source = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Source tree.", show_default="the one around this folder")
]
Pythons = Annotated[
    list[str] | None,
    typer.Option(
        "--python",
        metavar="VERSION",
        help="Python version of the units; may be repeated.",
        show_default="3.11 and 3.13",
        autocompletion=completion.pythons,
    ),
]
Days = Annotated[
    int, typer.Option("--days", metavar="DAYS", min=1, max=3650, help="Days from now on which units may install it.")
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Beginning, such as 2026-12-01T02:00:00+07:00.",
        show_default="now",
        rich_help_panel=OF_STAGE,
    ),
]


@release.command()
def make(
    folder: Folder,
    source: Source = None,
    python: Pythons = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MACHINE",
            help="Machine of the units: aarch64, armv7l or x86_64; may be repeated.",
            show_default="aarch64",
            autocompletion=completion.machines,
        ),
    ] = None,
    agents: Agents = None,
    areas: Areas = None,
    share: Share = None,
    start: From = None,
    downgrade: Annotated[
        bool, typer.Option("--downgrade", metavar="", help="Units with a newer release go back to this one.")
    ] = False,
    days: Days = VALID_DAYS,
) -> None:
    """Build a release: the wheels and the manifest. Sign it afterwards.

    No unit installs it until you add a stage. The options of a stage add the
    first one. Refresh the release before it expires.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release make dist/release --agent nd-haihau-0012
    """
    pythons, machines = tuple(python or PYTHONS), tuple(arch or ("aarch64",))
    source = source or _source_here()
    version = _version(source / "pyproject.toml")
    files = folder / "files"
    try:
        files.mkdir(parents=True, exist_ok=True)
        for old in files.glob("*.whl"):
            old.unlink()
    except OSError as error:
        _stop_writing(files, error)
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(files.resolve()), str(source.resolve())])
    try:
        wheels.fetch(source, pythons, machines, files)
    except wheels.WheelError as error:
        _stop(str(error))
    stages = [_stage(agents, areas, share, start)] if agents or areas or share is not None else []
    document = {"version": version, "python": list(pythons), "files": _listed(files), "for": stages}
    _write(folder, document | ({"downgrade": True} if downgrade else {}), days)
    for one in pythons:
        for on in machines:
            number = tuple(int(part) for part in one.split("."))
            cost = sum(file["bytes"] for file in _listed(files) if wheel_fits(file["name"], (number[0], number[1]), on))
            print(f"{version} for Python {one} on {on}: {cost / 1e6:.1f} MB; an upgrade downloads only what changed")


@release.command()
def pin(source: Source = None, python: Pythons = None) -> None:
    """Pin the wheels for 32-bit Raspberry Pis that PyPI does not have.

    Writes their checksums to piwheels.lock in the source tree; commit that file.
    A release for armv7l takes no other files. Repeat it when one of these
    libraries has a new version.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release pin
    """
    source = source or _source_here()
    try:
        pinned = wheels.pin(source, tuple(python or PYTHONS))
    except (wheels.WheelError, OSError) as error:
        _stop(str(error))
    print(f"{source / wheels.LOCK}: {', '.join(pinned) or 'PyPI has all'}")


@release.command()
def stage(
    folder: Folder,
    agents: Agents = None,
    areas: Areas = None,
    share: Share = None,
    start: From = None,
    days: Days = VALID_DAYS,
) -> None:
    """Add a stage, so that more units install the release. Sign it again afterwards.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release stage dist/release --share 0.1
    """
    if not agents and not areas and share is None:
        _stop("a stage needs units: give --agent, --area or --share (1 is every unit)")
    document = _read(folder)
    document["for"].append(_stage(agents, areas, share, start))
    expires = _write(folder, document, days)
    print(f"{document['version']}: {len(document['for'])} stages, valid until {expires:%Y-%m-%d}; now sign it")


@release.command()
def refresh(folder: Folder, days: Days = VALID_DAYS) -> None:
    """Extend the validity of a release. Sign it again afterwards.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release refresh dist/release
    """
    document = _read(folder)
    expires = _write(folder, document, days)
    print(f"{document['version']}: valid until {expires:%Y-%m-%d}; now sign it")


@release.command()
def sign(
    folder: Folder,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="Release key, made by ssh-keygen.", dir_okay=False, exists=True)
    ],
) -> None:
    """Sign the manifest with the release key. Keep that key on your own machine.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release sign dist/release --key ~/.ssh/xomnet-release
    """
    _read(folder)
    expires = parse((folder / MANIFEST).read_bytes()).expires
    if expires <= dt.datetime.now(dt.UTC):
        _stop(f"{folder / MANIFEST}: expired at {expires.isoformat()}; first: xomnet release refresh {folder}")
    _remove_signature(folder)
    _run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(folder / MANIFEST)])
    print(f"{folder / MANIFEST}.sig: valid until {expires:%Y-%m-%d}")


def _source_here() -> Path:
    return next((one for one in (Path.cwd(), *Path.cwd().parents) if (one / "uv.lock").exists()), Path())


def _stage(
    agents: Sequence[str] | None, areas: Sequence[str] | None, share: float | None, start: str | None
) -> dict[str, Any]:
    try:
        begins = parse_instant(start) if start else dt.datetime.now(dt.UTC)
    except ValueError as error:
        _stop(f"--from: {error}")
    found: dict[str, Any] = {"from": begins.astimezone(dt.UTC).isoformat(timespec="seconds")}
    if agents:
        found["agents"] = list(agents)
    if areas:
        found["areas"] = list(areas)
    if share is not None:
        found["share"] = share
    return found


def _listed(files: Path) -> list[dict[str, Any]]:
    found = sorted(files.glob("*.whl"))
    if len(found) > MAX_FILES:
        _stop(f"{files}: found {len(found)} wheels; allowed: at most {MAX_FILES}")
    return [
        {"name": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "bytes": wheel.stat().st_size}
        for wheel in found
    ]


def _version(project: Path) -> str:
    try:
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    except OSError as error:
        _stop(f"{project}: {error.strerror}; name the source tree with --source")
    except (LookupError, TypeError):
        _stop(f"{project}: project.version is missing; name the source tree with --source")
    except ValueError as error:
        _stop(f"{project}: {error}; name the source tree with --source")


def _read(folder: Path) -> dict[str, Any]:
    manifest = folder / MANIFEST
    try:
        data = manifest.read_bytes()
        parse(data)
    except FileNotFoundError as error:
        command = shlex.join(["xomnet", "release", "make", str(folder)])
        _stop(f"{manifest}: {error.strerror}; make a release first: {command}")
    except OSError as error:
        _stop(f"{manifest}: {error.strerror}; name the folder of a release that you may read")
    except UpdateError as error:
        _stop(f"{manifest}: {error}")
    found: dict[str, Any] = json.loads(data)
    return found


def _write(folder: Path, document: dict[str, Any], days: int) -> dt.datetime:
    """Writes the manifest, made now and valid for `days`; returns when it expires."""
    made = dt.datetime.now(dt.UTC).replace(microsecond=0)
    expires = made + dt.timedelta(days=days)
    document = document | {"made": made.isoformat(), "expires": expires.isoformat()}
    data = json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
    try:
        parse(data)
    except UpdateError as error:
        _stop(str(error))
    _remove_signature(folder)
    try:
        (folder / MANIFEST).write_bytes(data)
    except OSError as error:
        _stop_writing(folder / MANIFEST, error)
    return expires


def _remove_signature(folder: Path) -> None:
    """An old one would not hold."""
    signature = folder / f"{MANIFEST}.sig"
    try:
        signature.unlink(missing_ok=True)
    except OSError as error:
        _stop_writing(signature, error)


def _run(argv: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        _stop(f"{argv[0]}: {error.strerror}; install it (make install brings uv, openssh-client brings ssh-keygen)")
    if done.returncode:
        _stop(f"{' '.join(argv[:5])} …: {done.stderr.strip()[-1500:]}")


def _stop_writing(path: Path, error: OSError) -> NoReturn:
    _stop(f"{path}: {error.strerror}; name a folder that you may write to, on a disk with space")


def _stop(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    raise typer.Exit(1)
