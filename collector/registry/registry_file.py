"""The registry while the collector runs: read again when the file changes; a refused file leaves the last good one.

A file is refused if it is invalid, and if it would give stored results other tags. The registry last in force, and the
time each row was first seen, are saved in the collector's own folder: a restart loses neither, and starts with the last
good registry if the file is refused.
"""

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.registry.changes import Retag, removed_rows, retags, start_of
from collector.store import Store
from collector.store.errors import StoreUnavailable
from xomnet.contract.values import Instant
from xomnet.registry.registry import BadCell, LineRow, Registry, RegistryError, load_registry
from xomnet.runtime.atomic_file import write_atomically
from xomnet.runtime.clock import UtcClock
from xomnet.runtime.log import Log
from xomnet.targets import Targets

log = Log("collector.registry")

HISTORY_FILE = "registry.json"
"""In the state folder."""


class _RegistryHistory(msgspec.Struct):
    rows: list[LineRow] = []
    gone: list[LineRow] = []
    """Rows of lines that are no longer in the file."""
    gone_at: dict[str, Instant] = {}
    """When the collector saw that they were removed, by `agent/line`."""
    seen_at: dict[str, Instant] = {}
    """When each of the rows was first seen, by `agent/line/from`. Absent in files of earlier versions."""

    def update(self, rows: list[LineRow], now: dt.datetime) -> "_RegistryHistory":
        """The history after a registry with these rows is read."""
        gone = removed_rows([*self.rows, *self.gone], rows)
        return _RegistryHistory(
            rows,
            gone,
            gone_at={_key(row): self.gone_at.get(_key(row), now) for row in gone},
            seen_at={_row_key(row): self.seen_at.get(_row_key(row), now) for row in rows},
        )

    def with_removed(self, targets: Targets) -> Registry:
        """A registry that also has the removed lines, each until it was removed."""
        gone = [row for row in self.gone if _key(row) in self.gone_at]
        ended = {(row.agent, row.line): self.gone_at[_key(row)] for row in gone}
        return Registry([*self.rows, *gone], targets, ended=ended)


def load_with_removed(path: Path, targets: Targets, file: Path, now: dt.datetime) -> Registry:
    """The registry in a file `now`, with the lines that the collector saw removed, for a process beside the collector.
    Raises RegistryError.
    """
    registry = load_registry(path, targets)
    try:
        history = _read(file)
    except (OSError, msgspec.DecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        instead = "run this as the collector's user; if the file is damaged, move it away"
        raise RegistryError([BadCell(str(file), 0, "file", reason, instead)]) from error
    return history.update(registry.rows(), now).with_removed(targets)


def _key(row: LineRow) -> str:
    return f"{row.agent}/{row.line}"


def _row_key(row: LineRow) -> str:
    return f"{_key(row)}/{row.from_}"


def _read(file: Path) -> _RegistryHistory:
    """Empty if there is no file. Raises OSError, msgspec.DecodeError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=_RegistryHistory)
    except FileNotFoundError:
        return _RegistryHistory()


class RegistryFile:
    """`problems` are those of the file as it is now; empty if it is in force.

    Raises RegistryError if the first read fails and no registry is saved: a collector without one would reject
    everything.
    """

    def __init__(self, path: Path, targets: Targets, memory: Path, store: Store, now: UtcClock) -> None:
        self._now = now
        self._path, self._targets, self._history_file, self._store = path, targets, memory, store
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._subscribers: list[Callable[[Registry], None]] = []
        self.problems: list[BadCell] = []
        self._history = self._load_history()
        self._registry = Registry(self._history.rows, targets)
        self._with_removed = self._history.with_removed(targets)
        self.reload()
        if self.problems and not self._history.rows:
            raise RegistryError(self.problems)

    def current(self) -> Registry:
        return self._registry

    def with_removed(self) -> Registry:
        """With the lines that were removed from the file, each until then: their stored results stay theirs."""
        return self._with_removed

    def registered_since(self, row: LineRow) -> dt.datetime | None:
        """From when on a result of a row's line was to be expected: its `from`, or when this collector first saw the
        row, if that was later. None if no registry with the row has been read yet.
        """
        seen_at = self._history.seen_at.get(_row_key(row))
        return None if seen_at is None else max(seen_at, start_of(self._registry, row.from_))

    def subscribe(self, call: Callable[[Registry], None]) -> None:
        """Calls with the registry in force, and with each one that comes into force later."""
        self._subscribers.append(call)
        call(self._registry)

    def _stamp_of_file(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def reload(self, only_if_changed: bool = False) -> bool:
        """Reads the file again. If it is refused, logs every problem, returns False, and the old one stays."""
        with self._lock:
            stamp = self._stamp_of_file()
            if only_if_changed and stamp == self._stamp:
                return True
            self._stamp = stamp
            try:
                registry = load_registry(self._path, self._targets)
                self._refuse_renaming(registry)
                self._save_history(registry)
            except RegistryError as error:
                self.problems = error.problems
                for problem in error.problems:
                    log.error("registry refused, the last good one stays", problem=str(problem))
                return False
            except (StoreUnavailable, OSError) as error:
                self._stamp = None  # looked at again soon
                log.warning("registry not read yet, the last good one stays", reason=str(error))
                return False
            self.problems, self._registry, self._with_removed = [], registry, self._history.with_removed(self._targets)
            log.info("registry read", file=str(self._path))
            for call in self._subscribers:
                call(registry)
            return True

    def _refuse_renaming(self, registry: Registry) -> None:
        """Raises RegistryError, or StoreUnavailable where it can't be known what is stored."""
        known = Registry([*self._history.rows, *self._history.gone], self._targets)
        tomorrow = self._now().astimezone(registry.zone).date() + dt.timedelta(days=1)
        problems = [
            self._problem(one, tomorrow)
            for one in retags(known, registry)
            if self._store.has_results(one.line, start_of(registry, one.since), start_of(registry, one.until))
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

    def _load_history(self) -> _RegistryHistory:
        try:
            return _read(self._history_file)
        except (OSError, msgspec.DecodeError) as error:
            log.error("saved registry not read", file=str(self._history_file), reason=str(error))
            return _RegistryHistory()

    def _save_history(self, registry: Registry) -> None:
        """Replaces the file whole. Raises OSError."""
        history = self._history.update(registry.rows(), self._now())
        if history == self._history:
            return
        write_atomically(self._history_file, msgspec.json.encode(history), 0o640)  # the report reads it
        self._history = history
