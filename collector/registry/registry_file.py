"""The registry while the collector runs: read anew when the file changes, the last good one kept where it is refused.

It is refused where it is broken, and where it would give stored results other names. What was last in force, and since
when each row has been there, is remembered in the collector's own folder, so that a restart neither forgets nor
stumbles over a file that was refused.
"""

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.registry.changes import Retag, begins, retags, vanished
from collector.store import Store
from collector.store.errors import StoreUnavailable
from xomnet.contract.values import Instant
from xomnet.registry.registry import BadCell, LineRow, Registry, RegistryError, load_registry
from xomnet.runtime.atomic_file import write_atomically
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log
from xomnet.targets import Targets

log = Log("collector.registry")

REMEMBERED = "registry.json"
"""In the state folder."""


class _Remembered(msgspec.Struct):
    rows: list[LineRow] = []
    gone: list[LineRow] = []
    """Of lines that were there once."""
    gone_at: dict[str, Instant] = {}
    """When it was seen that they had gone, by `agent/line`."""
    seen_at: dict[str, Instant] = {}
    """When each of the rows was first seen, by `agent/line/from`. Absent in files of earlier versions."""

    def after(self, rows: list[LineRow], now: dt.datetime) -> "_Remembered":
        """What is to be remembered once a registry of these rows is read."""
        gone = vanished([*self.rows, *self.gone], rows)
        return _Remembered(
            rows,
            gone,
            gone_at={_key(row): self.gone_at.get(_key(row), now) for row in gone},
            seen_at={_row_key(row): self.seen_at.get(_row_key(row), now) for row in rows},
        )

    def ever(self, targets: Targets) -> Registry:
        """A registry that also has the lines that went, each until then."""
        gone = [row for row in self.gone if _key(row) in self.gone_at]
        ended = {(row.agent, row.line): self.gone_at[_key(row)] for row in gone}
        return Registry([*self.rows, *gone], targets, ended=ended)


def load_ever(path: Path, targets: Targets, memory: Path, now: dt.datetime) -> Registry:
    """What a file says `now`, with the lines that a collector has seen go, for whoever runs beside it. Raises
    RegistryError.
    """
    registry = load_registry(path, targets)
    try:
        remembered = _read(memory)
    except (OSError, msgspec.DecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        instead = "run this as the collector's user; if the file is damaged, move it away"
        raise RegistryError([BadCell(str(memory), 0, "file", reason, instead)]) from error
    return remembered.after(registry.rows(), now).ever(targets)


def _key(row: LineRow) -> str:
    return f"{row.agent}/{row.line}"


def _row_key(row: LineRow) -> str:
    return f"{_key(row)}/{row.from_}"


def _read(memory: Path) -> _Remembered:
    """Nothing where there is no file. Raises OSError, msgspec.DecodeError."""
    try:
        return msgspec.json.decode(memory.read_bytes(), type=_Remembered)
    except FileNotFoundError:
        return _Remembered()


class RegistryFile:
    """`problems` are those of the file as it is now; empty where it is in force.

    Raises RegistryError where the first read fails and none is remembered: a collector without a registry would reject
    everything.
    """

    def __init__(self, path: Path, targets: Targets, memory: Path, store: Store, now: UtcClock) -> None:
        self._now = now
        self._path, self._targets, self._memory_file, self._store = path, targets, memory, store
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._followers: list[Callable[[Registry], None]] = []
        self.problems: list[BadCell] = []
        self._memory = self._remembered()
        self._registry = Registry(self._memory.rows, targets)
        self._ever = self._memory.ever(targets)
        self.reload()
        if self.problems and not self._memory.rows:
            raise RegistryError(self.problems)

    def current(self) -> Registry:
        return self._registry

    def ever(self) -> Registry:
        """With the lines that were taken out of the file, each until then: what is stored of them stays theirs."""
        return self._ever

    def registered_since(self, row: LineRow) -> dt.datetime | None:
        """From when on a result of a row's line was to be expected: its `from`, or when this collector first saw the
        row, if that was later. None where that is not known: no registry with the row has been read yet.
        """
        seen_at = self._memory.seen_at.get(_row_key(row))
        return None if seen_at is None else max(seen_at, begins(self._registry, row.from_))

    def follow(self, call: Callable[[Registry], None]) -> None:
        """Calls with the registry in force, and with each one that comes into force later."""
        self._followers.append(call)
        call(self._registry)

    def _stamp_of_file(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def reload(self, only_if_changed: bool = False) -> bool:
        """Reads the file again. Returns False, and says every problem, where it is refused and the old one stays."""
        with self._lock:
            stamp = self._stamp_of_file()
            if only_if_changed and stamp == self._stamp:
                return True
            self._stamp = stamp
            try:
                registry = load_registry(self._path, self._targets)
                self._refuse_renaming(registry)
                self._remember(registry)
            except RegistryError as error:
                self.problems = error.problems
                for problem in error.problems:
                    log.error("registry refused, the last good one stays", problem=str(problem))
                return False
            except (StoreUnavailable, OSError) as error:
                self._stamp = None  # looked at again soon
                log.warning("registry not read yet, the last good one stays", reason=str(error))
                return False
            self.problems, self._registry, self._ever = [], registry, self._memory.ever(self._targets)
            log.info("registry read", file=str(self._path))
            for call in self._followers:
                call(registry)
            return True

    def _refuse_renaming(self, registry: Registry) -> None:
        """Raises RegistryError, or StoreUnavailable where it can't be known what is stored."""
        known = Registry([*self._memory.rows, *self._memory.gone], self._targets)
        tomorrow = self._now().astimezone(registry.zone).date() + dt.timedelta(days=1)
        problems = [
            self._problem(one, tomorrow)
            for one in retags(known, registry)
            if self._store.has_results(one.line, begins(registry, one.since), begins(registry, one.until))
        ]
        if problems:
            raise RegistryError(problems)

    def _problem(self, one: Retag, tomorrow: dt.date) -> BadCell:
        now = ", ".join(repr(now) for _, _, now in one.changes)
        before = ", ".join(repr(before) for _, before, _ in one.changes)
        what = "results" if one.line.line else "the unit's own results"
        found = f"{now}, but {what} of {one.line.agent} from {one.since} on are stored with {before}"
        instead = f"{before} again, and the change in a new row of this line with from {tomorrow} or later"
        return BadCell(str(self._path), one.row.number, ", ".join(tag for tag, _, _ in one.changes), found, instead)

    def _remembered(self) -> _Remembered:
        try:
            return _read(self._memory_file)
        except (OSError, msgspec.DecodeError) as error:
            log.error("earlier registry not remembered", file=str(self._memory_file), reason=str(error))
            return _Remembered()

    def _remember(self, registry: Registry) -> None:
        """Replaces the file whole. Raises OSError."""
        memory = self._memory.after(registry.rows(), self._now())
        if memory == self._memory:
            return
        write_atomically(self._memory_file, msgspec.json.encode(memory), 0o640)  # the report reads it
        self._memory = memory
