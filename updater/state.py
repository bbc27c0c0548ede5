"""The state of upgrades, kept over restarts and power cuts."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import atomic_file
from .errors import UpdateError
from .manifest import parse_instant

MAX_TRIES = 3


@dataclass
class ReleaseTrial:
    """A release that is on trial, and the version `before`, to which a rollback goes."""

    version: str
    before: str | None
    cost_bytes: int = 0
    starts: int = 0
    back: str | None = None
    """Why it is being rolled back; None while it is not."""


@dataclass
class ReleaseFailure:
    """A release that did not work here. `final`: it is not tried again."""

    why: str
    tries: int = 0
    final: bool = False


@dataclass
class UpdaterState:
    """One file, replaced as a whole. `made` is the date of the newest manifest that was ever accepted."""

    path: Path
    made: dt.datetime | None = None
    trial: ReleaseTrial | None = None
    failed: dict[str, ReleaseFailure] = field(default_factory=dict)

    def record_failure(self, version: str, why: str, final: bool) -> bool:
        """Ends the trial and records that a release did not work; returns whether it is never tried again."""
        tries = self.failed[version].tries + 1 if version in self.failed else 1
        self.failed[version] = ReleaseFailure(why[:500], tries, final or tries >= MAX_TRIES)
        self.trial = None
        self.save()
        return self.failed[version].final

    def save(self) -> None:
        """Writes the file. Raises OSError."""
        document: dict[str, Any] = {"failed": {version: vars(one) for version, one in self.failed.items()}}
        if self.made is not None:
            document["made"] = self.made.isoformat()
        if self.trial is not None:
            document["trial"] = vars(self.trial)
        atomic_file.write_json(self.path, document)


def load_state(state: Path) -> UpdaterState:
    """The state in the folder `state`. Raises UpdateError if the file is damaged."""
    path = state / "upgrade.json"
    found = atomic_file.read_json(path)
    try:
        made, trial = found.get("made"), found.get("trial")
        failed = {version: ReleaseFailure(**one) for version, one in found.get("failed", {}).items()}
        return UpdaterState(
            path, parse_instant(made) if made else None, ReleaseTrial(**trial) if trial else None, failed
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise UpdateError(f"{path}: {error}; remove the file, and the next run creates it") from error
