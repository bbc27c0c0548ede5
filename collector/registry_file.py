"""The registry while the collector runs: read anew when the file changes, the last good one kept where it is broken."""

import threading
from pathlib import Path

from xomnet.log import Log
from xomnet.registry import Registry, RegistryError, load_registry
from xomnet.targets import Targets

log = Log("collector.registry")


class RegistryFile:
    """Raises RegistryError where the first read fails: a collector without a registry would reject everything."""

    def __init__(self, path: Path, targets: Targets) -> None:
        self._path, self._targets = path, targets
        self._lock = threading.Lock()
        self._stamp = self._now()
        self._registry = load_registry(path, targets)

    def current(self) -> Registry:
        return self._registry

    def _now(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def reload(self, only_if_changed: bool = False) -> bool:
        """Reads the file again. Returns False, and says every problem, where it is broken and the old one stays."""
        with self._lock:
            stamp = self._now()
            if only_if_changed and stamp == self._stamp:
                return True
            self._stamp = stamp
            try:
                self._registry = load_registry(self._path, self._targets)
            except RegistryError as error:
                for problem in error.problems:
                    log.error("registry refused, the last good one stays", problem=str(problem))
                return False
            log.info("registry read", file=str(self._path))
            return True
