"""The manifest of a release: its wheels, the stages of its rollout, its version. Pure."""

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import Any

from .canary_rollout import RolloutStage
from .errors import UpdateError

_VERSION = re.compile(r"(\d+(?:\.\d+)*)(?:\.?(dev|a|b|rc)(\d+))?")
_PHASES = {"dev": 0, "a": 1, "b": 2, "rc": 3}
_WHEEL = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.!+]+(?:-\d\w*)?-([a-z0-9_.]+)-([a-z0-9_.]+)-([a-zA-Z0-9_.]+)\.whl")
MAX_FILES = 500
MAX_BYTES = 200_000_000
UNDATED_VALIDITY = dt.timedelta(days=365)
"""How long a manifest without `expires` is valid after `made`: that of a release that version 0.1.0 made."""


@dataclass(frozen=True)
class ReleaseFile:
    """A wheel of a release."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ReleaseManifest:
    """`python` are versions such as `3.11`; `made` orders manifests; from `expires` on no unit installs the release;
    `downgrade` allows an older version.
    """

    version: str
    python: tuple[str, ...]
    files: tuple[ReleaseFile, ...]
    stages: tuple[RolloutStage, ...]
    made: dt.datetime
    expires: dt.datetime
    downgrade: bool = False


def parse(data: bytes) -> ReleaseManifest:
    """The manifest of `manifest.json`. Raises UpdateError that names the field."""
    try:
        found = json.loads(data)
        version, python = found["version"], tuple(str(word) for word in found["python"])
        version_key(version)
        files = tuple(_parse_file(one) for one in found["files"])
        stages = tuple(_parse_stage(one) for one in found["for"])
        made = parse_instant(found["made"])
        expires = parse_instant(found["expires"]) if "expires" in found else made + UNDATED_VALIDITY
        downgrade = found.get("downgrade", False) is True
    except KeyError as error:
        raise UpdateError(f"manifest: {error.args[0]} is missing; make the release again") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UpdateError(f"manifest: {error}; make the release again") from error
    if not 0 < len(files) <= MAX_FILES or len({file.name for file in files}) < len(files):
        raise UpdateError(f"manifest: {len(files)} files; allowed: 1 to {MAX_FILES}, each once")
    return ReleaseManifest(version, python, files, stages, made, expires, downgrade)


def _parse_file(one: Any) -> ReleaseFile:
    name, sha256, size = one["name"], one["sha256"], one["bytes"]
    if not _WHEEL.fullmatch(name):
        raise ValueError(f"files: found {name!r}, not the name of a wheel")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not isinstance(size, int) or not 0 < size <= MAX_BYTES:
        raise ValueError(f"files: {name} has no valid sha256 and bytes")
    return ReleaseFile(name, sha256, size)


def _parse_stage(one: Any) -> RolloutStage:
    unknown = set(one) - {"areas", "agents", "share", "from"}
    if unknown or len(one) < 2:
        raise ValueError("for: a stage has `from` and one or more of `areas`, `agents`, `share`")
    areas = tuple(map(str, one["areas"])) if "areas" in one else None
    agents = tuple(map(str, one["agents"])) if "agents" in one else None
    return RolloutStage(parse_instant(one["from"]), areas, agents, float(one["share"]) if "share" in one else None)


def parse_instant(text: str) -> dt.datetime:
    """An instant in RFC 3339. Raises ValueError, also if it has no offset."""
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"found {text!r}; write an instant such as 2026-11-22T08:00:00Z")
    return found


def version_key(version: str) -> tuple[tuple[int, ...], int, int]:
    """A key that sorts versions: 1.2rc1 comes before 1.2. Raises ValueError."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"version: found {version!r}; write numbers such as 1.2.0, or 1.2.0rc1")
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _PHASES.get(match[2] or "", 9), int(match[3] or 0)


def wheel_fits(name: str, python: tuple[int, int], machine: str) -> bool:
    """Whether a wheel can be installed by this Python (3, 11) on this machine (`aarch64`, `armv7l`, `x86_64`)."""
    match = _WHEEL.fullmatch(name)
    if match is None:
        return False
    pythons, abis, platforms = (part.split(".") for part in match.groups())
    own = f"cp{python[0]}{python[1]}"
    good_abi = any(abi in ("none", "abi3", own) for abi in abis)
    good_python = any(word in (own, "py3") for word in pythons) or ("abi3" in abis and _is_supported(pythons, python))
    alike = {"armv7l": ("armv7l", "armv6l")}.get(machine, (machine,))
    good_platform = any(
        word == "any" or (word.startswith(("linux_", "manylinux")) and word.endswith(tuple(f"_{one}" for one in alike)))
        for word in platforms
    )
    return good_python and good_abi and good_platform


def _is_supported(pythons: list[str], python: tuple[int, int]) -> bool:
    found = [re.fullmatch(r"cp3(\d+)", word) for word in pythons]
    return any(one is not None and int(one[1]) <= python[1] for one in found)
