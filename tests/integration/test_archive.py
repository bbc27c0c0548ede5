"""What a unit is answered of is in the archive: beside a collector that runs, on a full disk, under SIGKILL."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.archive import Archive, read_records
from collector.archive.files import day_of
from collector.ingest.archive_record import ArchiveRecord
from tests.support.archive_killer import main as killer
from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto


def payloads(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for some in read_records(folder) for one in some]


def seqs(folder: Path) -> list[int]:
    return sorted(one["seq"] for one in payloads(folder))


def archive_of(collector: Collector) -> Path:
    return collector.folder / "state/archive"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", "from xomnet_cli import main; main()", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_each_answered_result_is_in_the_archive_as_it_came(sender: Sender, collector: Collector) -> None:
    odd, plain_ = (json.dumps(result(seq), indent=indent).encode() for seq, indent in ((1, 1), (2, None)))
    for one in (odd, plain_, json.dumps(result(3, line="4g")).encode()):
        sender.send(one)
    until(lambda: sender.stored() == {1, 2} and sender.rejected(), "all are answered")
    found = [one for some in read_records(archive_of(collector)) for one in some]
    assert sorted(one.payload for one in found) == sorted([odd, plain_])
    assert {(one.agent, one.late) for one in found} == {("nd-a", False)}
    assert all(0 <= time.time() - one.received_ms / 1000 < 60 for one in found)
    assert collector.metric("xomnet_results_archived_total") == 2


def test_nothing_is_answered_while_the_archive_cannot_be_written(sender: Sender, collector: Collector) -> None:
    for day in (0, 1):
        (archive_of(collector) / f"{day_of(dt.datetime.now(dt.UTC) + dt.timedelta(days=day))}.log").mkdir()
    sender.send(result(1))
    until(lambda: collector.metric("xomnet_write_errors_total") >= 2, "it tries")
    assert "the archive can't be written" in collector.output()
    assert not sender.acks
    for one in archive_of(collector).glob("*.log"):
        one.rmdir()
    until(lambda: sender.stored() == {1}, "it is answered in the end", 60)
    assert seqs(archive_of(collector)) == [1]


@pytest.fixture
def cramped(tmp_path: Path, mosquitto: Mosquitto, small_disk: Path) -> Iterator[Collector]:
    """A collector whose archive has a disk of its own, which is small."""
    settings = {"folder": str(small_disk / "archive")}
    with Collector(made(tmp_path, "cramped"), plain(mosquitto), ROWS, archive=settings) as collector:
        until(lambda: collector.metric("xomnet_broker_answers") == 1, "it is connected")
        yield collector


def test_a_full_disk_answers_nothing_and_says_so(mosquitto: Mosquitto, cramped: Collector, small_disk: Path) -> None:
    sender, filler = Sender(mosquitto.port), small_disk / "filler"
    try:
        sender.send(result(1))
        until(lambda: sender.stored() == {1}, "it is answered")
        with pytest.raises(OSError, match="space"):
            fill(filler)
        noise = [result(seq, data={"method": "icmp", **_noise()}) for seq in range(2, 40)]
        for one in noise:
            sender.send(one)
        until(lambda: "No space left on device" in cramped.output(), "it is said")
        assert sender.stored() < set(range(1, 40))
        assert set(seqs(small_disk / "archive")) == sender.stored()
        filler.unlink()
        until(lambda: sender.stored() == set(range(1, 40)), "all are answered", 90)
        assert set(seqs(small_disk / "archive")) == set(range(1, 40))
    finally:
        sender.close()


def fill(file: Path) -> None:
    """Writes until the disk is full. Raises OSError."""
    with file.open("wb", buffering=0) as descriptor:
        while True:
            descriptor.write(bytes(512))


def _noise() -> dict[str, Any]:
    return {"anchors": [os.urandom(200).hex()], "sent": 1, "received": 1, "loss_percent": 0}


def test_a_rejected_result_that_is_stored_later_is_in_the_archive(sender: Sender, collector: Collector) -> None:
    sender.send(result(1, line="4g"))
    until(sender.rejected, "it is rejected")
    with (collector.folder / "lines.csv").open("a") as registry:
        registry.write("nd-a,4g,mobile,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01\n")
    assert seqs(archive_of(collector)) == []
    done = command("collector", "resend", "--config", str(collector.folder / "collector.yaml"), "--dry-run")
    assert (done.returncode, seqs(archive_of(collector))) == (0, [])
    done = command("collector", "resend", "--config", str(collector.folder / "collector.yaml"))
    assert done.returncode == 0, done.stderr
    assert seqs(archive_of(collector)) == [1]


def yesterdays(folder: Path, records: int) -> list[ArchiveRecord]:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    payload, first_ms = json.dumps(result(123456789)).encode(), int(before.timestamp() * 1000)
    found = [
        ArchiveRecord(first_ms + seq, "nd-a", payload.replace(b"123456789", b"%d" % seq))
        for seq in range(1, records + 1)
    ]
    Archive(folder, lambda: before).append(found)
    return found


def test_a_day_that_is_over_is_sealed_beside_the_running_collector(tmp_path: Path, mosquitto: Mosquitto) -> None:
    folder = made(tmp_path, "c")
    expected = yesterdays(folder / "state/archive", 3000)
    with Collector(folder, plain(mosquitto), ROWS) as collector:
        until(lambda: list((folder / "state/archive").glob("*.day")), "it is sealed", 60)
        until(lambda: not list((folder / "state/archive").glob("*.log")), "its log is gone")
        assert sorted(one for some in read_records(folder / "state/archive") for one in some) == expected
        until(lambda: collector.metric("xomnet_archive_bytes") > 0, "its size is known", 30)
        assert collector.metric("xomnet_archive_seal_failures_total") == 0


def test_a_collector_that_is_stopped_does_not_wait_for_the_sealing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    folder = made(tmp_path, "c")
    expected = yesterdays(folder / "state/archive", 100_000)
    with Collector(folder, plain(mosquitto), ROWS) as collector:
        until(lambda: list((folder / "state/archive").glob("*.new")), "it is being sealed", 60)
        began = time.monotonic()
        collector.stop()
        assert time.monotonic() - began < 20
    assert list((folder / "state/archive").glob("*.log"))
    assert sum(map(len, read_records(folder / "state/archive"))) == len(expected)


def test_old_days_go_where_the_settings_say_so_and_that_is_said(tmp_path: Path, mosquitto: Mosquitto) -> None:
    folder = made(tmp_path, "c")
    (folder / "state/archive").mkdir(parents=True)
    for day in ("2025-01-01", "2025-01-02"):
        (folder / f"state/archive/{day}.day").write_bytes(os.urandom(60_000))
    with Collector(folder, plain(mosquitto), ROWS, archive={"max_gb": 0.0001}) as collector:
        until(lambda: collector.metric("xomnet_archive_days_deleted_total") == 1, "the oldest is gone", 30)
        assert "day of the archive deleted" in collector.output()
        assert "archive.max_gb" in collector.output()
    assert [one.name for one in sorted((folder / "state/archive").glob("*.day"))] == ["2025-01-02.day"]


def test_the_check_reads_everything_and_names_what_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    one = Archive(folder, lambda: dt.datetime(2026, 10, 1, tzinfo=dt.UTC))
    for number in range(3):
        one.append([ArchiveRecord(number, "nd-a", b'{"seq":%d}' % number, late=number == 1)])
    sealing = subprocess.run([sys.executable, "-m", "collector.archive", "seal", str(folder)], check=False, timeout=60)
    assert sealing.returncode == 0
    one.append([ArchiveRecord(9, "nd-b", b"{}"), ArchiveRecord(10, "", b'{"record":"exclusion"}')])
    with (folder / "2026-10-01.log").open("ab") as file:
        file.write(b"\xabXA")
    done = command("collector", "check-archive", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    day, log, total = done.stdout.splitlines()
    assert day.startswith("2026-10-01.day: 3 messages of 1 units, 1 late, ")
    assert log.startswith("2026-10-01.log: 2 messages of 1 units, ")
    assert log.endswith("; a torn tail of 3 bytes, never acknowledged")
    assert total == f"{folder}: 5 messages in 2 files, 0 of them damaged"

    path = folder / "2026-10-01.day"
    path.write_bytes(path.read_bytes().replace(b"\xabXA\xba", b"\xabXA\xbb", 1))
    done = command("collector", "check-archive", str(folder), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["records"], answer["damaged_files"]) == (1, 2, 1)
    assert answer["files"][0]["damage"][0].startswith(f"{path}: damaged, ")
    done = command("collector", "check-archive", str(folder))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path}: damaged, ")
    assert done.stdout.endswith(", 1 of them damaged: put these back from a backup\n")

    away = command("collector", "check-archive", str(tmp_path / "away"), "--json")
    assert (away.returncode, away.stderr) == (2, "")
    assert json.loads(away.stdout) == {"error": f"{tmp_path / 'away'}: No such file or directory"}


def test_what_was_written_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    """Twelve of the two hundred kills of `python -m tests.support.archive_killer`."""
    found = killer(tmp_path / "archive", kills=12, seed=7)
    assert found.lost == found.altered == 0
    assert found.kills == 12
    assert found.confirmed > 0
    assert found.sealed_days > 0
    assert not found.damage
