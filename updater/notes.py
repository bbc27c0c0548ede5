"""What the tool did, for the agent to report: the last few notes, numbered, in a file that the agent reads."""

import datetime as dt
from pathlib import Path

from . import files
from .errors import UpdateError

KEPT = 20


def note(state: Path, name: str, detail: str) -> None:
    """Adds a note; the same words twice in a row are one. Raises OSError or Problem."""
    path = state / "notes.json"
    at = dt.datetime.now(dt.UTC)
    try:
        notes = list(files.read_json(path).get("notes", []))
        if notes and (notes[-1]["name"], notes[-1]["detail"]) == (name, detail):
            return
        number = max(int(at.timestamp()), notes[-1]["number"] + 1 if notes else 0)
    except (UpdateError, TypeError, KeyError):
        notes, number = [], int(at.timestamp())  # a damaged file of notes stops nothing
    notes.append({"number": number, "at": at.isoformat(timespec="seconds"), "name": name, "detail": detail[:500]})
    files.write_json(path, {"notes": notes[-KEPT:]})
