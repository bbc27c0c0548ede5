"""The manifest of a release: what it holds, who it is for, and whether this unit should take it. Pure."""

import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from .errors import UpdateError

_VERSION = re.compile(r"(\d+(?:\.\d+)*)(?:\.?(dev|a|b|rc)(\d+))?")
_PHASES = {"dev": 0, "a": 1, "b": 2, "rc": 3}
_WHEEL = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.!+]+(?:-\d\w*)?-([a-z0-9_.]+)-([a-z0-9_.]+)-([a-zA-Z0-9_.]+)\.whl")
MAX_FILES = 500
MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class ReleaseFile:
    """A wheel."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class RolloutStage:
    """Who may take the release from when on: all that is named must fit."""

    start: dt.datetime
    areas: tuple[str, ...] | None = None
    agents: tuple[str, ...] | None = None
    share: float | None = None


@dataclass(frozen=True)
class ReleaseManifest:
    version: str
    python: tuple[str, ...]
    files: tuple[ReleaseFile, ...]
    stages: tuple[RolloutStage, ...]
    made: dt.datetime
    downgrade: bool = False


def parse(data: bytes) -> ReleaseManifest:
    """Raises UpdateError that names the field."""
    try:
        found = json.loads(data)
        version, python = found["version"], tuple(str(word) for word in found["python"])
        order(version)
        files = tuple(_file(one) for one in found["files"])
        stages = tuple(_stage(one) for one in found["for"])
        made = instant(found["made"])
        downgrade = found.get("downgrade", False) is True
    except KeyError as error:
        raise UpdateError(f"manifest: {error.args[0]} is missing; make the release again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UpdateError(f"manifest: {error}; make the release again") from error
    if not 0 < len(files) <= MAX_FILES or len({file.name for file in files}) < len(files):
        raise UpdateError(f"manifest: {len(files)} files; allowed: 1 to {MAX_FILES}, each once")
    return ReleaseManifest(version, python, files, stages, made, downgrade)


def _file(one: Any) -> ReleaseFile:
    name, sha256, size = one["name"], one["sha256"], one["bytes"]
    if not _WHEEL.fullmatch(name):
        raise ValueError(f"files: found {name!r}, not the name of a wheel")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not isinstance(size, int) or not 0 < size <= MAX_BYTES:
        raise ValueError(f"files: {name} has no valid sha256 and bytes")
    return ReleaseFile(name, sha256, size)


def _stage(one: Any) -> RolloutStage:
    unknown = set(one) - {"areas", "agents", "share", "from"}
    if unknown or len(one) < 2:
        raise ValueError("for: a stage has `from` and one or more of `areas`, `agents`, `share`")
    areas = tuple(map(str, one["areas"])) if "areas" in one else None
    agents = tuple(map(str, one["agents"])) if "agents" in one else None
    return RolloutStage(instant(one["from"]), areas, agents, float(one["share"]) if "share" in one else None)


def instant(text: str) -> dt.datetime:
    """RFC 3339. Raises ValueError, also where it does not name its offset."""
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"found {text!r}; write an instant such as 2026-11-22T08:00:00Z")
    return found


def order(version: str) -> tuple[tuple[int, ...], int, int]:
    """A version as something that compares; 1.2rc1 comes before 1.2. Raises ValueError."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"version: found {version!r}; write numbers such as 1.2.0, or 1.2.0rc1")
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _PHASES.get(match[2] or "", 9), int(match[3] or 0)


def fits(name: str, python: tuple[int, int], machine: str) -> bool:
    """Whether a wheel can be installed by this Python (3, 11) on this machine (`aarch64`, `armv7l`, `x86_64`)."""
    match = _WHEEL.fullmatch(name)
    if match is None:
        return False
    pythons, abis, platforms = (part.split(".") for part in match.groups())
    own = f"cp{python[0]}{python[1]}"
    good_abi = any(abi in ("none", "abi3", own) for abi in abis)
    good_python = any(word in (own, "py3") for word in pythons) or ("abi3" in abis and _not_above(pythons, python))
    alike = {"armv7l": ("armv7l", "armv6l")}.get(machine, (machine,))
    good_platform = any(
        word == "any" or (word.startswith(("linux_", "manylinux")) and word.endswith(tuple(f"_{one}" for one in alike)))
        for word in platforms
    )
    return good_python and good_abi and good_platform


def _not_above(pythons: list[str], python: tuple[int, int]) -> bool:
    found = [re.fullmatch(r"cp3(\d+)", word) for word in pythons]
    return any(one is not None and int(one[1]) <= python[1] for one in found)


def turn(manifest: ReleaseManifest, agent: str, area: str, now: dt.datetime) -> bool:
    """Whether a stage has begun that this unit belongs to."""
    return any(stage.start <= now and _belongs(stage, manifest.version, agent, area) for stage in manifest.stages)


def _belongs(stage: RolloutStage, version: str, agent: str, area: str) -> bool:
    named = stage.agents is None or agent in stage.agents
    inside = stage.areas is None or any(area == one or area.startswith(f"{one}/") for one in stage.areas)
    return named and inside and (stage.share is None or draw(version, agent) < stage.share)


def draw(version: str, agent: str) -> float:
    """A number in [0, 1) that is the unit's own in each release: a growing share keeps those it has."""
    return int.from_bytes(hashlib.sha256(f"{version}/{agent}".encode()).digest()[:6], "big") / 2**48
