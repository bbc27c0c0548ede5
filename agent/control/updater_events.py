"""What the updater, which upgrades this unit and renews its certificate, has noted, as events of the unit.

`updater/notes.py` writes the file, root's own; this side only reads it. A kill in between tells a note twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.delivery.spool import Spool, SpoolError
from xomnet.contract.messages import Event
from xomnet.contract.values import Text, Word
from xomnet.runtime.log import Log

log = Log("agent.control.updater_events")

NOTES = Path("/var/lib/xomnet-updater/notes.json")
OLD_NOTES = Path("/var/lib/xomnet-upkeep/notes.json")
"""Where the updater of version 0.1 writes: releases arrive by themselves, the updater comes with the deployment."""
TOLD = "tool_notes"


class _UpdaterNote(msgspec.Struct, frozen=True):
    number: int
    name: Word
    detail: Text


class _NotesFile(msgspec.Struct, frozen=True):
    notes: list[_UpdaterNote] = []


class UpdaterEvents:
    """Looks as often as it is asked to; reads only a file that has changed."""

    def __init__(self, spool: Spool, note: Callable[[Event], None], paths: Sequence[Path] = (NOTES, OLD_NOTES)) -> None:
        self._spool, self._note, self._paths = spool, note, paths
        self._seen: int | None = None

    def look(self) -> None:
        """Tells what is new."""
        path = self._paths[0]
        try:
            path = next((one for one in self._paths if one.exists()), path)
            changed = path.stat().st_mtime_ns
            if changed == self._seen:
                return
            notes = msgspec.json.decode(path.read_bytes(), type=_NotesFile).notes
            last = int(self._spool.get_value(TOLD) or 0)
            for note in notes:
                if note.number > last:
                    self._note(Event(name=note.name, detail=note.detail))
                    self._spool.set_value(TOLD, str(note.number))
            self._seen = changed
        except FileNotFoundError:
            return  # no updater here
        except (OSError, ValueError, SpoolError, msgspec.DecodeError) as error:
            log.warning("notes of the upgrades not read", file=str(path), reason=str(error))
