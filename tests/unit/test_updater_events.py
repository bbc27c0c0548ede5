"""What the upgrade tool notes becomes events of the unit, each once."""

from pathlib import Path
from uuid import uuid4

import pytest

from agent.control.updater_events import UpdaterEvents
from agent.delivery.spool import Spool
from updater.notes import MAX_NOTES, note
from xomnet.contract.messages import Event

pytestmark = pytest.mark.date

BOOT = uuid4()


def test_each_note_is_told_once_also_after_a_restart(tmp_path: Path) -> None:
    told: list[tuple[str, str | None]] = []

    def tell(event: Event) -> None:
        told.append((event.name, event.detail))

    spool = Spool(tmp_path / "spool.db", "nd-a", BOOT, 1_000_000)
    tool = UpdaterEvents(spool, tell, (tmp_path / "none.json", tmp_path / "notes.json"))
    tool.commit_new()
    note(tmp_path, "upgraded", "1.0 -> 2.0")
    note(tmp_path, "upgraded", "1.0 -> 2.0")
    note(tmp_path, "renew_failed", "20 days left")
    for one in (tool, tool, UpdaterEvents(spool, tell, (tmp_path / "none.json", tmp_path / "notes.json"))):
        one.commit_new()
    assert told == [("upgraded", "1.0 -> 2.0"), ("renew_failed", "20 days left")]
    for number in range(MAX_NOTES + 5):
        note(tmp_path, "upgrade_refused", str(number))
    tool.commit_new()
    assert len(told) == 2 + MAX_NOTES


def test_a_damaged_file_of_notes_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_bytes(b'{"notes":[{"number":"x"}]}')
    spool = Spool(tmp_path / "spool.db", "nd-a", BOOT, 1_000_000)
    UpdaterEvents(spool, lambda _: None, (tmp_path / "notes.json",)).commit_new()
    note(tmp_path, "upgraded", "1.0 -> 2.0")
    assert '"number"' in (tmp_path / "notes.json").read_text()
    assert '"x"' not in (tmp_path / "notes.json").read_text()
