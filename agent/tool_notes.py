"""What the tool that upgrades this unit and renews its certificate has noted, as events of the unit.

`agent/upkeep/notes.py` writes the file, root's own; this side only reads it. A kill in between tells a note twice.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.spool import Spool, SpoolError
from xomnet.log import Log
from xomnet.messages import Event
from xomnet.values import Text, Word

log = Log("agent.tool_notes")

NOTES = Path("/var/lib/xomnet-upkeep/notes.json")
TOLD = "tool_notes"


class _Note(msgspec.Struct, frozen=True):
    number: int
    name: Word
    detail: Text


class _File(msgspec.Struct, frozen=True):
    notes: list[_Note] = []


class ToolNotes:
    """Looks as often as it is asked to; reads only a file that has changed."""

    def __init__(self, spool: Spool, note: Callable[[Event], None], path: Path = NOTES) -> None:
        self._spool, self._note, self._path = spool, note, path
        self._seen: int | None = None

    def look(self) -> None:
        """Tells what is new."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return
            notes = msgspec.json.decode(self._path.read_bytes(), type=_File).notes
            last = int(self._spool.kept(TOLD) or 0)
            for note in notes:
                if note.number > last:
                    self._note(Event(name=note.name, detail=note.detail))
                    self._spool.keep(TOLD, str(note.number))
            self._seen = changed
        except FileNotFoundError:
            return  # no such tool here
        except (OSError, ValueError, SpoolError, msgspec.DecodeError) as error:
            log.warning("notes of the upgrades not read", file=str(self._path), reason=str(error))
