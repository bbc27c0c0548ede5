"""Staged rollout of a release: first a few canary units or areas, then a growing share, then all. Pure."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RolloutStage:
    """Which units may install the release from `start` on: a unit must match everything that is named.

    `areas` are paths such as `Ninh Bình/xã Hải Anh`, `agents` are units, `share` is a share of all units.
    """

    start: dt.datetime
    areas: tuple[str, ...] | None = None
    agents: tuple[str, ...] | None = None
    share: float | None = None


def is_included(stages: Sequence[RolloutStage], version: str, agent: str, area: str, now: dt.datetime) -> bool:
    """Whether a stage that has begun at `now` includes this unit."""
    return any(stage.start <= now and _matches(stage, version, agent, area) for stage in stages)


def _matches(stage: RolloutStage, version: str, agent: str, area: str) -> bool:
    named = stage.agents is None or agent in stage.agents
    inside = stage.areas is None or any(area == one or area.startswith(f"{one}/") for one in stage.areas)
    return named and inside and (stage.share is None or draw(version, agent) < stage.share)


def draw(version: str, agent: str) -> float:
    """The unit's number in [0, 1) for a release: if a stage's share grows, the units that it had stay in it."""
    return int.from_bytes(hashlib.sha256(f"{version}/{agent}".encode()).digest()[:6], "big") / 2**48
