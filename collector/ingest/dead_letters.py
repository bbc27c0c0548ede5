"""Rejected messages, kept in a file of bounded size, so that a person can see and fix what was wrong."""

import base64
import contextlib
import datetime as dt
import fcntl
import hashlib
import os
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from xomnet.runtime.atomic_file import put_in_place


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
    """A JSON-lines file of mode 600, flushed to disk before `append` returns; two generations of at most `max_bytes`.

    Where they are full, the oldest letters of those units go that have more than their share of a generation: no unit
    pushes out what another one needs. The same holds for the `shown` ones that `recent` gives.

    Two processes may use it at once, the collector and `resend`: whoever changes it holds a lock, and who finds it
    replaced reads it again.
    """

    def __init__(self, path: Path, max_bytes: int = 50_000_000, shown: int = 200) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._recent = _Recent(shown)
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._files: list[tuple[int, int] | None] = []
        self._editions = 0
        self._refresh()

    def _generations(self) -> tuple[Path, Path]:
        return self._path.with_suffix(self._path.suffix + ".1"), self._path

    def _file_ids(self) -> list[tuple[int, int] | None]:
        """By which a replaced file is known. Inodes alone are given again; what is taken out makes a file smaller."""
        stats = [path.stat() if path.exists() else None for path in self._generations()]
        return [None if stat is None else (stat.st_ino, stat.st_size) for stat in stats]

    def _refresh(self) -> None:
        """Reads everything again if another process has replaced the files."""
        if self._files != (now := self._file_ids()):
            self._files, self._editions = now, self._editions + 1
            self._recent.clear()
            self._counts.clear()
            for dead_letter in self.read_all():
                self._recent.append(dead_letter)
                self._counts[dead_letter.code] += 1

    @property
    def edition(self) -> int:
        """A number that changes when letters are removed."""
        with self._lock:
            self._refresh()
            return self._editions

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keeps other threads and processes from changing the files. Raises OSError."""
        with self._lock:
            descriptor = os.open(self._path.with_suffix(self._path.suffix + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def append(self, letters: list[DeadLetter]) -> bool:
        """Appends and fsyncs. Returns False where the disk refused; the caller must not acknowledge then."""
        try:
            with self._exclusive():
                self._refresh()
                self._write(b"".join(msgspec.json.encode(dead_letter) + b"\n" for dead_letter in letters))
                self._files = self._file_ids()
                for dead_letter in letters:
                    self._recent.append(dead_letter)
                    self._counts[dead_letter.code] += 1
        except OSError:
            return False
        return True

    def remove(self, digests: Collection[bytes]) -> None:
        """Removes the letters with these digests; each file is replaced atomically. Raises OSError."""
        with self._exclusive():
            for path in self._generations():
                if not path.exists():
                    continue
                new = path.with_suffix(".new")
                with (
                    path.open("rb") as old,
                    os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
                ):
                    file.writelines(line for line in old if digest_of(line.rstrip(b"\n")) not in digests)
                    file.flush()
                    os.fsync(file.fileno())
                put_in_place(new, path)

    def _write(self, block: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(block) > self._max_bytes:
            self._merge_generations()
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

    def _merge_generations(self) -> None:
        """Makes one generation of both. A crash before the end leaves letters twice, which changes nothing."""
        older, newer = self._generations()
        sizes: Counter[str] = Counter()
        for agent, line in self._lines():
            sizes[agent] += len(line)
        share = _fair_share(sizes.values(), self._max_bytes)
        merged = older.with_suffix(".new")
        self._counts.clear()
        with os.fdopen(os.open(merged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for agent, line in self._lines():
                if sizes[agent] > share:
                    sizes[agent] -= len(line)
                    continue
                file.write(line)
                self._counts[msgspec.json.decode(line, type=_Head).code] += 1
            file.flush()
            os.fsync(file.fileno())
        put_in_place(merged, older)
        newer.unlink()

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        """Each letter's unit and JSON, oldest first; one that a crash tore is left out."""
        for path in self._generations():
            if path.exists():
                with path.open("rb") as file:
                    for line in file:
                        with contextlib.suppress(msgspec.DecodeError):
                            yield msgspec.json.decode(line, type=_Head).agent or "", line

    def numbers(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], dict[int, str]]:
        """Which results of the wanted (agent, spool) the file holds: number -> line, '' for the unit itself."""
        found: dict[tuple[str, str], dict[int, str]] = {}
        for dead_letter in self.read_all():
            if dead_letter.agent is not None and dead_letter.spool is not None and dead_letter.seq is not None:
                key = dead_letter.agent, dead_letter.spool
                if key in wanted:
                    found.setdefault(key, {})[dead_letter.seq] = _line_of(dead_letter)
        return found

    def read_all(self) -> Iterator[DeadLetter]:
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
            self._refresh()
            return self._recent.newest_first()

    def counts(self) -> dict[str, int]:
        """How many letters the file holds, by code."""
        with self._lock:
            self._refresh()
            return dict(self._counts)


def digest_of(line: bytes) -> bytes:
    """The digest of a letter's JSON, by which `remove` identifies it."""
    return hashlib.blake2b(line, digest_size=16).digest()


def payload_of(letter: DeadLetter) -> bytes:
    """The message as it was sent."""
    if letter.payload is not None:
        return letter.payload.encode()
    return base64.b64decode(letter.payload_base64 or "")


class _Recent:
    """The last letters, at most `shown`: beyond, the unit that has most of them gives its oldest."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self.clear()

    def clear(self) -> None:
        self._count = 0
        self._of_units: dict[str, deque[tuple[int, DeadLetter]]] = {}

    def append(self, letter: DeadLetter) -> None:
        self._count += 1
        self._of_units.setdefault(letter.agent or "", deque()).append((self._count, letter))
        if sum(map(len, self._of_units.values())) > self._shown:
            agent, most = max(self._of_units.items(), key=lambda one: len(one[1]))
            most.popleft()
            if not most:
                del self._of_units[agent]

    def newest_first(self) -> list[DeadLetter]:
        found = sorted(chain.from_iterable(self._of_units.values()), key=lambda one: one[0], reverse=True)
        return [letter for _, letter in found]


def _fair_share(sizes: Iterable[int], room: int) -> float:
    """The most that each may keep, so that all together fit into `room` and nobody loses who has less."""
    ordered = sorted(sizes)
    for number, size in enumerate(ordered):
        share = room / (len(ordered) - number)
        if size > share:
            return share
        room -= size
    return float("inf")


class _Head(msgspec.Struct):
    code: str
    agent: str | None = None


class _Line(msgspec.Struct):
    line: Any = None


def _line_of(letter: DeadLetter) -> str:
    try:
        line = msgspec.json.decode(letter.payload or "", type=_Line).line
    except (msgspec.DecodeError, RecursionError):
        return ""
    return line if isinstance(line, str) else ""


def dead_letter(
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
