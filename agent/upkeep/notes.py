"""What the tool did, for the agent to report: the last few notes, numbered, in a file that the agent reads."""

import datetime as dt
from pathlib import Path

from . import files
from .problem import Problem

KEPT = 20


def note(state: Path, name: str, detail: str) -> None:
    """Adds a note; the same words twice in a row are one. Raises OSError or Problem."""
    path = state / "notes.json"
    try:
        notes = list(files.read_json(path).get("notes", []))
    except Problem:
        notes = []  # a damaged file of notes stops nothing
    if notes and (notes[-1].get("name"), notes[-1].get("detail")) == (name, detail):
        return
    at = dt.datetime.now(dt.UTC)
    number = max(int(at.timestamp()), notes[-1]["number"] + 1 if notes else 0)
    notes.append({"number": number, "at": at.isoformat(timespec="seconds"), "name": name, "detail": detail[:500]})
    files.write_json(path, {"notes": notes[-KEPT:]})
