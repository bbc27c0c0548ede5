"""What the tool remembers of upgrades, over restarts and power cuts."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import files
from .errors import UpdateError
from .manifest import instant

MAX_TRIES = 3


@dataclass
class ReleaseTrial:
    """A release that is being tried out, and what to go back to."""

    version: str
    before: str | None
    cost_bytes: int = 0
    starts: int = 0
    back: str | None = None
    """Why it is being rolled back, once it is."""


@dataclass
class ReleaseFailure:
    """A release that did not work here. `final`: it is not tried again."""

    why: str
    tries: int = 0
    final: bool = False


@dataclass
class UpdaterState:
    """One file, replaced whole. `made`: the youngest manifest that was ever believed."""

    path: Path
    made: dt.datetime | None = None
    trial: ReleaseTrial | None = None
    failed: dict[str, ReleaseFailure] = field(default_factory=dict)

    def fail(self, version: str, why: str, final: bool) -> bool:
        """Writes down that a release did not work; returns whether it will never be tried again."""
        tries = self.failed[version].tries + 1 if version in self.failed else 1
        self.failed[version] = ReleaseFailure(why[:500], tries, final or tries >= MAX_TRIES)
        self.trial = None
        self.save()
        return self.failed[version].final

    def save(self) -> None:
        """Raises OSError."""
        document: dict[str, Any] = {"failed": {version: vars(one) for version, one in self.failed.items()}}
        if self.made is not None:
            document["made"] = self.made.isoformat()
        if self.trial is not None:
            document["trial"] = vars(self.trial)
        files.write_json(self.path, document)


def load(state: Path) -> UpdaterState:
    """Raises UpdateError where the file is damaged."""
    path = state / "upgrade.json"
    found = files.read_json(path)
    try:
        made, trial = found.get("made"), found.get("trial")
        failed = {version: ReleaseFailure(**one) for version, one in found.get("failed", {}).items()}
        return UpdaterState(path, instant(made) if made else None, ReleaseTrial(**trial) if trial else None, failed)
    except (TypeError, ValueError, AttributeError) as error:
        raise UpdateError(f"{path}: {error}; remove the file, and the next run creates it") from error
