"""Rejected messages, kept in a file of bounded size, so that a person can see and mend what was wrong."""

import base64
import contextlib
import datetime as dt
import os
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rejected message: when, from where, why (`code` for counting, `reason` for people), and what it said."""

    at: dt.datetime
    topic: str
    code: str
    reason: str
    agent: str | None = None
    spool: str | None = None
    seq: int | None = None
    payload: str | None = None
    payload_base64: str | None = None


class DeadLetters:
    """A JSON-lines file of mode 600, flushed to disk before `keep` returns; two generations of at most `max_bytes`.

    A letter that does not fit the disk is still counted and shown: `keep` returns False.
    """

    def __init__(self, path: Path, max_bytes: int = 50_000_000, shown: int = 200) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._recent: deque[DeadLetter] = deque(maxlen=shown)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        for letter in self.every():
            self._recent.append(letter)
            self._counts[letter.code] += 1

    def _generations(self) -> tuple[Path, Path]:
        return self._path.with_suffix(self._path.suffix + ".1"), self._path

    def keep(self, letters: list[DeadLetter]) -> bool:
        """Appends and fsyncs. Returns False where the disk refused; the caller must not acknowledge then."""
        with self._lock:
            try:
                self._write(b"".join(msgspec.json.encode(letter) + b"\n" for letter in letters))
            except OSError:
                return False
            for letter in letters:
                self._recent.append(letter)
                self._counts[letter.code] += 1
        return True

    def _write(self, block: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(block) > self._max_bytes:
            os.replace(self._path, self._generations()[0])
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, block) != len(block):
                    raise OSError("short write")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def numbers(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], dict[int, str]]:
        """Which results of the wanted (agent, spool) the file holds: number -> line, '' for the unit itself."""
        found: dict[tuple[str, str], dict[int, str]] = {}
        for letter in self.every():
            if letter.agent is not None and letter.spool is not None and letter.seq is not None:
                key = letter.agent, letter.spool
                if key in wanted:
                    found.setdefault(key, {})[letter.seq] = _line_of(letter)
        return found

    def every(self) -> Iterator[DeadLetter]:
        """All letters that the files hold now, oldest first; one that a crash tore is left out."""
        with contextlib.ExitStack() as stack:
            with self._lock:  # both are open before one can become the other
                files = [stack.enter_context(path.open("rb")) for path in self._generations() if path.exists()]
            for line in chain.from_iterable(files):
                with contextlib.suppress(msgspec.DecodeError):
                    yield msgspec.json.decode(line, type=DeadLetter)

    def recent(self) -> list[DeadLetter]:
        """The last letters, newest first."""
        with self._lock:
            return list(reversed(self._recent))

    def counts(self) -> dict[str, int]:
        """How many letters the file holds, by code."""
        with self._lock:
            return dict(self._counts)


class _Line(msgspec.Struct):
    line: Any = None


def _line_of(letter: DeadLetter) -> str:
    try:
        line = msgspec.json.decode(letter.payload or "", type=_Line).line
    except (msgspec.DecodeError, RecursionError):
        return ""
    return line if isinstance(line, str) else ""


def letter(
    topic: str,
    payload: bytes,
    code: str,
    reason: str,
    at: dt.datetime,
    agent: str | None = None,
    spool: str | None = None,
    seq: int | None = None,
) -> DeadLetter:
    """A letter with its payload as text where it is text, else in base64."""
    try:
        text, binary = payload.decode("utf-8"), None
    except UnicodeDecodeError:
        text, binary = None, base64.b64encode(payload).decode("ascii")
    return DeadLetter(
        at=at,
        topic=topic,
        code=code,
        reason=reason,
        agent=agent,
        spool=spool,
        seq=seq,
        payload=text,
        payload_base64=binary,
    )
