"""A result is answered when it is in the store and in the archive, and both have its first receipt."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from collector.commands.commands import Commands
from collector.ingest.archive_record import ArchiveRecord
from collector.ingest.dead_letters import DeadLetters, dead_letter
from collector.ingest.intake import Intake
from collector.ingest.quota import Quota
from collector.ingest.resend import resend
from collector.metrics import Metrics
from collector.settings import QuotaSettings
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import milliseconds
from collector.store.row_types import LatencyRow
from collector.store.sqlite import SqliteStore
from tests.support.deployment import HEADER, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto
from xomnet.defaults import config_file
from xomnet.mqtt.broker import Broker
from xomnet.registry.registry import Registry, load_registry
from xomnet.runtime.clock import utc_now
from xomnet.targets import load_targets

LINE = LineId("nd-a", "ftth")


class Archive:
    """Keeps in memory; before that it does what it is told to, once."""

    def __init__(self) -> None:
        self.records: list[ArchiveRecord] = []
        self.trouble: list[Exception] = []
        self.seen_by: Callable[[], int] = lambda: 0
        self.acks_before: list[int] = []

    def append(self, records: Sequence[ArchiveRecord]) -> None:
        if self.trouble:
            raise self.trouble.pop()
        self.acks_before.append(self.seen_by())
        self.records += records

    def of(self, seq: int) -> list[ArchiveRecord]:
        return [one for one in self.records if json.loads(one.payload)["seq"] == seq]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "lines.csv").write_text(HEADER + "".join(f"{row}\n" for row in ROWS), encoding="utf-8")
    return load_registry(tmp_path / "lines.csv", load_targets(config_file("targets.yaml")))


@pytest.fixture
def sender(mosquitto: Mosquitto) -> Iterator[Sender]:
    one = Sender(mosquitto.port)
    yield one
    one.close()


@pytest.fixture
def running(
    tmp_path: Path, mosquitto: Mosquitto, store: SqliteStore, registry: Registry
) -> Callable[[Archive], "ExitStack"]:
    """Starts an intake, to be stopped with what it gives."""

    @contextmanager
    def intake_with(archive: Archive) -> Iterator[None]:
        quota = Quota(QuotaSettings(probes_per_day=1), tmp_path / "quota.db")
        intake = Intake(
            Broker(port=mosquitto.port),
            "collector",
            store,
            lambda: registry,
            DeadLetters(tmp_path / "letters"),
            Metrics(),
            Commands(utc_now),
            utc_now,
            quota=quota,
            archive=archive,
        )
        intake.start()
        try:
            until(lambda: intake.trouble() is None, "it is connected")
            yield
        finally:
            intake.stop()
            quota.close()

    def start(archive: Archive) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(intake_with(archive))
        return stack

    return start


def rows(store: SqliteStore) -> list[LatencyRow]:
    now = utc_now()
    return store.latency(LINE, now - dt.timedelta(days=1), now + dt.timedelta(days=1))


def test_every_message_is_archived_as_it_came_before_it_is_answered(
    running: Callable[[Archive], ExitStack], store: SqliteStore, sender: Sender
) -> None:
    archive = Archive()
    archive.seen_by = lambda: len(sender.acks)
    payload = json.dumps(result(1), indent=1).encode()
    with running(archive):
        sender.send(payload)
        until(lambda: sender.stored() == {1}, "it is answered")
        (row,) = rows(store)
        assert archive.records == [ArchiveRecord(row.received_ms or 0, "nd-a", payload)]
        assert archive.acks_before == [0]
        sender.acks.clear()
        sender.send(payload)
        until(lambda: sender.stored() == {1}, "it is answered again")
    assert archive.records == [ArchiveRecord(row.received_ms or 0, "nd-a", payload)], "it is there already"
    assert rows(store) == [row]


def test_nothing_is_answered_while_the_archive_cannot_be_written(
    running: Callable[[Archive], ExitStack], store: SqliteStore, sender: Sender
) -> None:
    archive = Archive()
    archive.trouble = [StoreUnavailable("the archive's disk is full") for _ in range(3)]
    archive.seen_by = lambda: len(sender.acks)
    with running(archive):
        sender.send(result(1))
        until(lambda: sender.stored() == {1}, "it is answered in the end", 60)
    assert archive.acks_before == [0]
    assert [one.received_ms for one in archive.of(1)] == [row.received_ms for row in rows(store)]


def test_what_was_stored_and_not_archived_comes_again_with_its_first_receipt(
    running: Callable[[Archive], ExitStack], store: SqliteStore, sender: Sender
) -> None:
    """As if the collector had died in between."""
    archive = Archive()
    archive.trouble = [ZeroDivisionError("a defect of ours")]
    with running(archive):
        sender.send(result(1))
        until(lambda: rows(store), "it is stored")
        first = rows(store)
        until(lambda: sender.stored() == {1}, "it is answered at the second time", 60)
    assert [one.received_ms for one in archive.of(1)] == [first[0].received_ms]
    assert rows(store) == first


def test_a_result_beyond_the_quota_whose_answer_was_lost_is_archived_too(
    running: Callable[[Archive], ExitStack], store: SqliteStore, sender: Sender
) -> None:
    first = result(1)
    with running(Archive()):
        for seq in range(1, 21):
            sender.send(first if seq == 1 else result(seq))
        until(lambda: len(sender.stored()) == 20, "the day's quota is spent")
    sender.acks.clear()
    archive = Archive()
    with running(archive):
        sender.send(first)
        sender.send({**first, "seq": 1001})
        until(lambda: sender.stored() == {1} and sender.rejected(), "both are answered")
    assert [one.received_ms for one in archive.records] == [rows(store)[0].received_ms]
    assert sender.rejected().keys() == {1001}
    assert len(rows(store)) == 20


def test_a_letter_is_archived_and_counts_as_received_when_it_came(
    tmp_path: Path, store: SqliteStore, registry: Registry
) -> None:
    letters, archive = DeadLetters(tmp_path / "letters"), Archive()
    came = utc_now() - dt.timedelta(hours=5)
    payload = json.dumps(result(1, at=(came - dt.timedelta(minutes=1)).isoformat())).encode()
    letters.append([dead_letter("xomnet/v1/nd-a/up", payload, "unknown_line", "no row", came, "nd-a")])
    archive.trouble = [StoreUnavailable("no room")]
    with pytest.raises(StoreUnavailable):
        resend(letters, registry, store, dry_run=False, archive=archive)
    assert letters.counts() == {"unknown_line": 1}
    assert resend(letters, registry, store, dry_run=False, archive=archive).stored == 1
    assert archive.records == [ArchiveRecord(milliseconds(came), "nd-a", payload)]
    assert [row.received_ms for row in rows(store)] == [milliseconds(came)]
    assert letters.counts() == {}
