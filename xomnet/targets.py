"""The provincial targets by access type, each in force from a date."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from xomnet.access import ACCESSES
from xomnet.contract.messages import Access
from xomnet.settings import SettingsError, load


class Target(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    access: Access
    from_: dt.date
    down_mbps: Annotated[float, Meta(gt=0, le=100_000)]
    source: str = ""


class TargetsFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    targets: list[Target]


class Targets:
    """Download targets in Mb/s: the last one whose date has come."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._by_access: dict[Access, list[Target]] = {access: [] for access in ACCESSES}
        for target in sorted(targets, key=lambda t: t.from_):
            self._by_access[target.access].append(target)

    def down_mbps(self, access: Access, on: dt.date) -> float:
        """The target in force on a day; before the first one, the first."""
        return self.in_force(access, on).down_mbps

    def in_force(self, access: Access, on: dt.date) -> Target:
        """The same with its date and source."""
        rows = self._by_access[access]
        in_force = [t for t in rows if t.from_ <= on] or rows[:1]
        return in_force[-1]


def load_targets(path: Path) -> Targets:
    """Reads `targets.yaml`. Raises SettingsError, also where an access type has no target."""
    targets = load(path, TargetsFile).targets
    for access in ACCESSES:
        if not any(t.access == access for t in targets):
            raise SettingsError(str(path), None, "targets", "no row", f"at least one target with access: {access}")
    return Targets(targets)
