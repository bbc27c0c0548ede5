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
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from updater.errors import UpdateError
from updater.manifest import MAX_FILES, parse, parse_instant, wheel_fits
from updater.releases import MANIFEST, NAMESPACE
from xomnet_cli import completion

release = typer.Typer(help="Make, stage and sign the releases that units install.", no_args_is_help=True)

PIWHEELS = "https://www.piwheels.org/simple"
"""Wheels for 32-bit Raspberry Pis that PyPI does not have."""
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)
"""Wheels may ask for up to glibc 2.36, that of Debian 12."""
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
    source: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Source tree.", show_default="the one around this folder")
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION",
            help="Python version of the units; may be repeated.",
            show_default="3.11 and 3.13",
            autocompletion=completion.pythons,
        ),
    ] = None,
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
) -> None:
    """Build a release: the wheels and the manifest. Sign it afterwards.

    No unit installs it until you add a stage. The options of a stage add the
    first one.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release make dist/release --agent nd-haihau-0012
    """
    pythons, machines = tuple(python or ("3.11", "3.13")), tuple(arch or ("aarch64",))
    source = source or next((one for one in (Path.cwd(), *Path.cwd().parents) if (one / "uv.lock").exists()), Path())
    version = _version(source / "pyproject.toml")
    files = folder / "files"
    try:
        files.mkdir(parents=True, exist_ok=True)
        for old in files.glob("*.whl"):
            old.unlink()
    except OSError as error:
        _stop_writing(files, error)
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(files.resolve()), str(source.resolve())])
    with tempfile.TemporaryDirectory() as scratch:
        needs = Path(scratch) / "requirements.txt"
        exported = ["uv", "export", "--quiet", "--frozen", "--no-dev", "--extra", "agent", "--no-emit-project"]
        exported += ["--no-annotate", "--output-file", str(needs)]
        for on in machines:  # piwheels builds its own files, whose sums uv.lock does not know
            _run([*exported, "--no-hashes"] if on == "armv7l" else exported, source)
            for one in pythons:
                _run([*_download(one, on), "-d", str(files), "-r", str(needs)])
    stages = [_stage(agents, areas, share, start)] if agents or areas or share is not None else []
    document = {"version": version, "python": list(pythons), "files": _listed(files), "for": stages, "made": _now()}
    _write(folder, document | ({"downgrade": True} if downgrade else {}))
    for one in pythons:
        for on in machines:
            number = tuple(int(part) for part in one.split("."))
            cost = sum(file["bytes"] for file in _listed(files) if wheel_fits(file["name"], (number[0], number[1]), on))
            print(f"{version} for Python {one} on {on}: {cost / 1e6:.1f} MB; an upgrade downloads only what changed")


@release.command()
def stage(folder: Folder, agents: Agents = None, areas: Areas = None, share: Share = None, start: From = None) -> None:
    """Add a stage, so that more units install the release. Sign it again afterwards.

    Exit status: 0 done, 1 failed, with the reason.

    Example: xomnet release stage dist/release --share 0.1
    """
    if not agents and not areas and share is None:
        _stop("a stage needs units: give --agent, --area or --share (1 is every unit)")
    document = _read(folder)
    document["for"].append(_stage(agents, areas, share, start))
    document["made"] = _now()
    _write(folder, document)
    print(f"{document['version']}: {len(document['for'])} stages; now sign it")


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
    _remove_signature(folder)
    _run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(folder / MANIFEST)])
    print(f"{folder / MANIFEST}.sig")


def _download(python: str, machine: str) -> list[str]:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    argv += ["--platform", f"manylinux2014_{machine}", "--platform", f"linux_{machine}"]
    for minor in GLIBC:
        argv += ["--platform", f"manylinux_2_{minor}_{machine}"]
    if machine == "armv7l":
        argv += ["--platform", "linux_armv6l", "--extra-index-url", PIWHEELS]
    return argv


def _stage(
    agents: Sequence[str] | None, areas: Sequence[str] | None, share: float | None, start: str | None
) -> dict[str, Any]:
    try:
        begins = parse_instant(start).astimezone(dt.UTC).isoformat() if start else _now()
    except ValueError as error:
        _stop(f"--from: {error}")
    found: dict[str, Any] = {"from": begins}
    if agents:
        found["agents"] = list(agents)
    if areas:
        found["areas"] = list(areas)
    if share is not None:
        found["share"] = share
    return found


def _listed(files: Path) -> list[dict[str, Any]]:
    wheels = sorted(files.glob("*.whl"))
    if len(wheels) > MAX_FILES:
        _stop(f"{files}: found {len(wheels)} wheels; allowed: at most {MAX_FILES}")
    return [
        {"name": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "bytes": wheel.stat().st_size}
        for wheel in wheels
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


def _write(folder: Path, document: dict[str, Any]) -> None:
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


def _remove_signature(folder: Path) -> None:
    """An old one would not hold."""
    signature = folder / f"{MANIFEST}.sig"
    try:
        signature.unlink(missing_ok=True)
    except OSError as error:
        _stop_writing(signature, error)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


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
