"""Notes on what the updater did: the last few, numbered, in a file from which the agent makes events."""

import datetime as dt
from pathlib import Path

from . import atomic_file
from .errors import UpdateError

MAX_NOTES = 20


def note(state: Path, name: str, detail: str) -> None:
    """Adds a note; the same note twice in a row is kept once. Raises OSError."""
    path = state / "notes.json"
    at = dt.datetime.now(dt.UTC)
    try:
        notes = list(atomic_file.read_json(path).get("notes", []))
        if notes and (notes[-1]["name"], notes[-1]["detail"]) == (name, detail):
            return
        number = max(int(at.timestamp()), notes[-1]["number"] + 1 if notes else 0)
    except (UpdateError, TypeError, KeyError):
        notes, number = [], int(at.timestamp())  # a damaged file of notes stops nothing
    notes.append({"number": number, "at": at.isoformat(timespec="seconds"), "name": name, "detail": detail[:500]})
    atomic_file.write_json(path, {"notes": notes[-MAX_NOTES:]})
