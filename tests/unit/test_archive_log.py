"""The archive's log of a day: what `append` returned of is there, whatever happens to the file's end or middle."""

import datetime as dt
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collector.archive import Archive, Damage, read_records
from collector.archive.files import APPENDING, path_of
from collector.archive.frames import HEADER_BYTES, MAGIC
from collector.ingest.archive_record import ArchiveRecord
from collector.store.errors import StoreUnavailable

NOON = dt.datetime(2026, 11, 30, 5, tzinfo=dt.UTC)
LOG = "2026-11-30.log"


def records(count: int, first: int = 0) -> list[ArchiveRecord]:
    return [
        ArchiveRecord(1_764_500_000_000 + n, f"nd-{n % 3}", b'{"seq":%d}' % n, n % 7 == 0)
        for n in range(first, first + count)
    ]


def archive(folder: Path) -> Archive:
    return Archive(folder, lambda: NOON)


def read(folder: Path, **asked: dt.datetime) -> tuple[list[ArchiveRecord], list[Damage]]:
    damage: list[Damage] = []
    return [one for some in read_records(folder, on_damage=damage.append, **asked) for one in some], damage


def frames_of(folder: Path) -> list[int]:
    """Where the frames of the log begin, and its size."""
    data = (folder / LOG).read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(MAGIC, at)]
    return [*starts, len(data)]


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    one, expected = archive(tmp_path / "archive"), records(1000)
    for first in range(0, 1000, 250):
        one.append(expected[first : first + 250])
    assert read(tmp_path / "archive") == (expected, [])


def test_bytes_that_are_no_json_come_out_as_they_are(tmp_path: Path) -> None:
    odd = [ArchiveRecord(1, "", bytes(range(256)) * 5), ArchiveRecord(2, "ă", b""), ArchiveRecord(3, "a", MAGIC * 9)]
    archive(tmp_path).append(odd)
    assert read(tmp_path) == (odd, [])


def test_others_can_read_nothing(tmp_path: Path) -> None:
    archive(tmp_path / "archive").append(records(1))
    assert (tmp_path / "archive").stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in (tmp_path / "archive").iterdir()} == {0o600}


def test_a_time_of_receipt_can_be_asked_for(tmp_path: Path) -> None:
    archive(tmp_path).append(records(100))
    since = dt.datetime.fromtimestamp(1_764_500_000, dt.UTC)
    ten, thirty = (since + dt.timedelta(milliseconds=n) for n in (10, 30))
    assert read(tmp_path, since=ten, until=thirty)[0] == records(20, 10)
    assert read(tmp_path, since=ten)[0] == records(90, 10)
    assert read(tmp_path, until=thirty)[0] == records(30)


def test_a_tail_torn_at_any_byte_is_cut_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive(tmp_path).append(records(5))
    whole = (tmp_path / LOG).stat().st_size
    archive(tmp_path).append(records(5, 5))
    data = (tmp_path / LOG).read_bytes()
    for size in range(whole + 1, len(data)):
        (tmp_path / LOG).write_bytes(data[:size])
        found, damage = read(tmp_path)
        assert (found, [one.torn for one in damage]) == (records(5), [True])
        caplog.clear()
        archive(tmp_path).append(records(3, 20))
        assert "torn tail" in caplog.text
        assert read(tmp_path) == (records(5) + records(3, 20), [])


def test_zeros_of_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    archive(tmp_path).append(records(5))
    with (tmp_path / LOG).open("ab") as file:
        file.write(bytes(5000))
    archive(tmp_path).append(records(5, 5))
    assert read(tmp_path) == (records(10), [])


def test_a_writer_that_lives_sees_what_another_one_left(tmp_path: Path) -> None:
    one, other = archive(tmp_path), archive(tmp_path)
    one.append(records(1))
    other.append(records(1, 1))
    with (tmp_path / LOG).open("ab") as file:
        file.write(MAGIC + b"\0\0")
    one.append(records(1, 2))
    other.append(records(1, 3))
    assert read(tmp_path) == (records(4), [])


@pytest.mark.parametrize("region", range(HEADER_BYTES + 3))
def test_a_flipped_byte_costs_its_frame_alone_and_is_said(tmp_path: Path, region: int) -> None:
    for first in (0, 5, 10):
        archive(tmp_path).append(records(5, first))
    _, second, third, _ = frames_of(tmp_path)
    data = bytearray((tmp_path / LOG).read_bytes())
    data[second + region] ^= 0x40
    (tmp_path / LOG).write_bytes(data)
    expected = records(5) + records(5, 10)
    assert read(tmp_path) == (expected, [Damage(tmp_path / LOG, second, third - second)])
    archive(tmp_path).append(records(5, 15))  # and is not cut with what follows it
    assert read(tmp_path)[0] == expected + records(5, 15)


@pytest.mark.parametrize("region", [0, 4, 8, 12, HEADER_BYTES + 1])
def test_a_flipped_byte_in_the_last_frame_is_damage_and_no_torn_tail(tmp_path: Path, region: int) -> None:
    for first in (0, 5):
        archive(tmp_path).append(records(5, first))
    _, last, end = frames_of(tmp_path)
    data = bytearray((tmp_path / LOG).read_bytes())
    data[last + region] ^= 0x40
    (tmp_path / LOG).write_bytes(data)
    archive(tmp_path).append(records(5, 10))
    assert read(tmp_path) == (records(5) + records(5, 10), [Damage(tmp_path / LOG, last, end - last)])


def test_random_damage_loses_no_more_than_the_frames_that_it_hit(tmp_path: Path) -> None:
    rng = random.Random(7)
    for first in range(0, 200, 5):
        archive(tmp_path).append(records(5, first))
    data, starts = (tmp_path / LOG).read_bytes(), frames_of(tmp_path)
    for _ in range(100):
        hit, broken = set(), bytearray(data)
        for at in rng.sample(range(len(data)), 4):
            broken[at] ^= rng.randrange(1, 256)
            hit.add(max(number for number, start in enumerate(starts) if start <= at))
        (tmp_path / LOG).write_bytes(broken)
        found, damage = read(tmp_path)
        assert found == [one for n in range(40) if n not in hit for one in records(5, n * 5)]
        assert sum(one.length for one in damage) == sum(starts[n + 1] - starts[n] for n in hit)


def test_a_disk_that_refuses_is_said_and_nothing_half_stays(tmp_path: Path) -> None:
    one = archive(tmp_path)
    one.append(records(5))
    size = (tmp_path / LOG).stat().st_size
    code = f"""
import resource, signal, sys, datetime as dt, os
from pathlib import Path
from collector.archive import Archive
from collector.ingest.archive_record import ArchiveRecord
from collector.store.errors import StoreUnavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
one = Archive(Path({str(tmp_path)!r}), lambda: dt.datetime(2026, 11, 30, 5, tzinfo=dt.UTC))
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 50}, resource.RLIM_INFINITY))
try:
    one.append([ArchiveRecord(1, "nd-1", os.urandom(500))])
except StoreUnavailable as error:
    print(error)
    assert os.path.getsize({str(tmp_path / LOG)!r}) == {size}
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    one.append([ArchiveRecord(1, "nd-1", b"later")])
"""
    said = run(code)
    assert "free some space" in said
    assert read(tmp_path) == ([*records(5), ArchiveRecord(1, "nd-1", b"later")], [])


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_failed_to_reach_the_disk_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, real, fails = archive(tmp_path), os.fsync, [True]

    def fsync(descriptor: int) -> None:
        if fails:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        one.append(records(5))
    assert (tmp_path / LOG).stat().st_size == 0
    fails.clear()
    one.append(records(5))
    assert read(tmp_path) == (records(5), [])


def test_a_new_file_is_in_its_folder_for_good_before_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, real, synced = archive(tmp_path), os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    one.append(records(5))
    file, folder = ((tmp_path / name).stat().st_ino for name in (LOG, "."))
    assert synced == [file, folder]
    one.append(records(5, 5))
    assert synced == [file, folder, file]
    archive(tmp_path).append(records(5, 10))  # the one before may have died before it came to the folder
    assert synced == [file, folder, file, file, folder] or synced[3:] == [tmp_path.parent.stat().st_ino, file, folder]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        archive(tmp_path / "file/archive")


def test_the_log_of_a_day_is_that_of_the_province(tmp_path: Path) -> None:
    for hour, day in ((16, "2026-11-30"), (17, "2026-12-01")):
        Archive(tmp_path, lambda h=hour: NOON.replace(hour=h)).append(records(1))  # type: ignore[misc]
        assert path_of(tmp_path, day, ".log").exists()
    assert (tmp_path / APPENDING).exists()
