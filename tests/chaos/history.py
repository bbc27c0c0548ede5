"""Writing down what was seen, so that no later kill of the writer can take it back."""

import json
import os
import threading
from pathlib import Path
from typing import Any


class History:
    """Appends JSON lines to a file, on disk before `say` returns; from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        if os.fstat(self._file).st_size:
            os.write(self._file, b"\n")  # the one before may have died in its line

    def say(self, op: str, **what: Any) -> None:
        self.say_all([{"op": op, **what}])

    def say_all(self, ops: list[dict[str, Any]]) -> None:
        block = "".join(json.dumps(op, ensure_ascii=False) + "\n" for op in ops).encode()
        with self._lock:
            while block:
                block = block[os.write(self._file, block) :]
            os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)
