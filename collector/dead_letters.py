"""Rejected messages, kept in a file of bounded size, so that a person can see and mend what was wrong."""

import base64
import datetime as dt
import os
import threading
from collections import Counter, deque
from pathlib import Path

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
        for old in (path.with_suffix(path.suffix + ".1"), path):
            self._read(old)

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        with path.open("rb") as lines:
            for line in lines:
                try:
                    letter = msgspec.json.decode(line, type=DeadLetter)
                except msgspec.DecodeError:
                    continue  # the torn last line of a crash
                self._recent.append(letter)
                self._counts[letter.code] += 1

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
            os.replace(self._path, self._path.with_suffix(self._path.suffix + ".1"))
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

    def recent(self) -> list[DeadLetter]:
        """The last letters, newest first."""
        with self._lock:
            return list(reversed(self._recent))

    def counts(self) -> dict[str, int]:
        """How many letters the file holds, by code."""
        with self._lock:
            return dict(self._counts)


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
