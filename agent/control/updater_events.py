"""Notes of the updater (upgrades, certificates), committed as events of the unit.

`updater/notes.py` writes the file as root; this side only reads it. A kill in between commits a note twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.delivery.spool import Spool, SpoolError
from xomnet.contract.messages import Event
from xomnet.contract.values import Word, to_text
from xomnet.runtime.log import Log

log = Log("agent.control.updater_events")

NOTES = Path("/var/lib/xomnet-updater/notes.json")
OLD_NOTES = Path("/var/lib/xomnet-upkeep/notes.json")
"""Where the updater of version 0.1 writes: a unit may have a new release and an old updater."""
LAST_NOTE_KEY = "tool_notes"


class _UpdaterNote(msgspec.Struct, frozen=True):
    number: int
    name: Word
    detail: str


class _NotesFile(msgspec.Struct, frozen=True):
    notes: list[_UpdaterNote] = []


class UpdaterEvents:
    """Commits each note once, with `commit`. Reads the file only if it has changed."""

    def __init__(
        self, spool: Spool, commit: Callable[[Event], None], paths: Sequence[Path] = (NOTES, OLD_NOTES)
    ) -> None:
        self._spool, self._commit, self._paths = spool, commit, paths
        self._mtime_ns: int | None = None

    def commit_new(self) -> None:
        """Commits the notes that are new."""
        path = self._paths[0]
        try:
            path = next((one for one in self._paths if one.exists()), path)
            changed = path.stat().st_mtime_ns
            if changed == self._mtime_ns:
                return
            notes = msgspec.json.decode(path.read_bytes(), type=_NotesFile).notes
            last = int(self._spool.get_value(LAST_NOTE_KEY) or 0)
            for note in notes:
                if note.number > last:
                    self._commit(Event(name=note.name, detail=to_text(note.detail)))
                    self._spool.set_value(LAST_NOTE_KEY, str(note.number))
            self._mtime_ns = changed
        except FileNotFoundError:
            return  # no updater here
        except (OSError, ValueError, SpoolError, msgspec.DecodeError) as error:
            log.warning("notes of the upgrades not read", file=str(path), reason=str(error))
