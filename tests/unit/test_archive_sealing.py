"""Sealing a day: everything comes out as it went in, once, and damage costs a block alone."""

import datetime as dt
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.archive import Archive, Damage, read_records, sealing
from collector.archive.blocks import decode_block, encode_block
from collector.archive.checking import check_archive
from collector.archive.files import SEALING, day_of, locked, path_of
from collector.archive.frames import HEADER_BYTES, MAGIC, frame
from collector.archive.reader import END, END_MS, FIRST_MS, End
from collector.archive.retention import delete_old_days
from collector.archive.rotation import oldest_kept
from collector.archive.sealing import SealError, Summary, days_to_seal, seal
from collector.ingest.archive_record import ArchiveRecord
from collector.store.errors import StoreUnavailable
from tests.support.province_messages import province_day
from tests.support.sender import result

DAY, NEXT = "2026-11-30", "2026-12-01"
MIDNIGHT = dt.datetime(2026, 11, 29, 17, tzinfo=dt.UTC)

texts = st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))
numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.floats(0, 100).map(lambda one: str(round(one, 2))),
    st.sampled_from(["-0", "-0.0", "0", "1e5", "1E5", "1.0e-05", "00", "1.", "-", "1.10", "1.7976931348623157e308"]),
).map(str.encode)
times = st.sampled_from(
    [
        *(b"2026-11-30T05:00:00.123456Z", b"2026-11-30T05:00:00.000000Z", b"2026-11-30T05:00:00Z"),
        *(
            b"2026-11-30t05:00:00.123456z",
            b"2026-11-30T05:00:00.123456+",
            b"0001-01-01T00:00:00.000000Z",
            b"2026-13-30T05:00:00.123456Z",
        ),
    ]
)
values = st.one_of(
    numbers,
    st.one_of(texts, times).map(lambda text: b'"%b"' % text),
    st.lists(numbers, max_size=4).map(lambda some: b"[%b]" % b",".join(some)),
    st.lists(numbers, max_size=3).map(lambda some: b"[%b]" % b", ".join(some)),
)
shapes = st.lists(texts, min_size=1, max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> list[bytes]:
    """Of some shapes with any values, and any bytes between them."""
    found = []
    for keys in draw(st.lists(shapes, min_size=1, max_size=3)):
        for _ in range(draw(st.integers(1, 12))):
            parts = [b'"%b":%b' % (key, draw(values)) for key in keys]
            found.append(b"{%b}" % b",".join(parts))
    return found + draw(st.lists(st.binary(max_size=40), max_size=5))


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=2), st.randoms(use_true_random=False))
def test_whatever_goes_into_a_block_comes_out(found: list[list[bytes]], rng: random.Random) -> None:
    records = [
        ArchiveRecord(
            rng.choice((0, -5, 2**45, 1_764_500_000_123)), rng.choice(("", "nd-1", "ă")), one, rng.random() < 0.1
        )
        for some in found
        for one in some
    ]
    assert sorted(decode_block(encode_block(records), FIRST_MS, END_MS)) == sorted(records)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.floats(), st.floats(0, 9), st.integers(0, 10**6).map(lambda n: n / 1000)), min_size=4))
def test_numbers_come_out_digit_by_digit(found: list[float]) -> None:
    for texts_ in ([msgspec.json.encode(one) for one in found], [str(one).encode() for one in found]):
        records = [ArchiveRecord(1, "nd-1", b'{"mbps":%b}' % one) for one in texts_]
        assert sorted(decode_block(encode_block(records), FIRST_MS, END_MS)) == sorted(records)


@pytest.mark.parametrize(
    "found", [[-0.0, 0.5, 0.25, 1.5], [99999999.999999999, 0.1, 0.2, 0.3], [12345678.123456789, 4503599627.1234565] * 2]
)
def test_numbers_at_the_edge_of_what_is_decimal_come_out_too(found: list[float]) -> None:
    records = [ArchiveRecord(1, "nd-1", b'{"mbps":%b}' % msgspec.json.encode(one)) for one in found]
    assert sorted(decode_block(encode_block(records), FIRST_MS, END_MS)) == sorted(records)


@pytest.mark.parametrize("huge", [b"1e308", b"-1.5e300", b"1e16", b"9" * 400, b"1e400"])
def test_a_number_of_a_thief_keeps_no_day_from_being_sealed(huge: bytes) -> None:
    """In a field that no reader knows, or wants."""
    for other in (b"1e308", b"-0.0", b"2.5", b"1"):
        records = [ArchiveRecord(n, "nd-1", b'{"x":%b}' % one) for n, one in enumerate([huge, other] * 4)]
        assert sorted(decode_block(encode_block(records), FIRST_MS, END_MS)) == sorted(records)


@settings(max_examples=200, deadline=None)
@given(st.lists(times, min_size=4, max_size=8))
def test_times_come_out_as_they_were_written(found: list[bytes]) -> None:
    records = [ArchiveRecord(1, "nd-1", b'{"at":"%b"}' % one) for one in found]
    assert sorted(decode_block(encode_block(records), FIRST_MS, END_MS)) == sorted(records)


def province(units: int = 3) -> list[ArchiveRecord]:
    return list(province_day(units, MIDNIGHT))


def append(folder: Path, records: Sequence[ArchiveRecord], hour: int = 12) -> None:
    one = Archive(folder, lambda: MIDNIGHT + dt.timedelta(hours=hour))
    for begin in range(0, len(records), 500):
        one.append(records[begin : begin + 500])


def read(folder: Path) -> tuple[list[ArchiveRecord], list[Damage]]:
    damage: list[Damage] = []
    return sorted(one for some in read_records(folder, on_damage=damage.append) for one in some), damage


def files(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if not one.name.endswith(".lock")}


def test_a_day_that_is_over_becomes_a_file_of_less_than_a_tenth(tmp_path: Path) -> None:
    records = province()
    append(tmp_path, records)
    assert days_to_seal(tmp_path, DAY) == []
    assert days_to_seal(tmp_path, NEXT) == [DAY]
    sealed = seal(tmp_path, DAY)
    assert sealed is not None
    assert files(tmp_path) == {f"{DAY}.day"}
    assert (tmp_path / f"{DAY}.day").stat().st_mode & 0o777 == 0o600
    assert read(tmp_path) == (sorted(records), [])
    assert sealed.records == len(records)
    assert sealed.bytes == (tmp_path / f"{DAY}.day").stat().st_size
    assert sealed.bytes < sum(len(one.payload) for one in records) / 10


def test_a_result_of_a_province_takes_50_bytes_at_most(tmp_path: Path) -> None:
    records = province(10)
    append(tmp_path, records)
    sealed = seal(tmp_path, DAY)
    assert sealed is not None
    assert sealed.bytes / sealed.records <= 50


def test_a_resend_is_kept_once_with_its_first_receipt(tmp_path: Path) -> None:
    first = [ArchiveRecord(5_000, "nd-1", b'{"seq":1}'), ArchiveRecord(6_000, "nd-2", b'{"seq":1}', late=True)]
    again = [first[0]._replace(received_ms=9_000, late=True), first[1]._replace(received_ms=7_000)]
    append(tmp_path, [again[0], *first, *first, again[1]])
    seal(tmp_path, DAY)
    assert read(tmp_path) == (first, [])


@pytest.mark.date
def test_a_result_that_comes_again_in_other_words_replaces_nothing(tmp_path: Path) -> None:
    """A thief sends a stored result in the shape of many others: a block gives those before what is rare."""
    at = MIDNIGHT.isoformat()
    many = [ArchiveRecord(1000, "nd-a", msgspec.json.encode(result(n, at=at, x=1))) for n in range(2, 9)]
    first = ArchiveRecord(1000, "nd-a", msgspec.json.encode(result(1, at=at)))
    health = ArchiveRecord(1000, "nd-a", msgspec.json.encode({**result(1, at=at), "kind": "health"}))
    forged = [
        ArchiveRecord(1000, "nd-a", msgspec.json.encode(result(1, at=at, x=1))),
        ArchiveRecord(1000, "nd-a", msgspec.json.encode(result(1, at=at.replace("+00:00", "Z"), x=1))),
        health._replace(payload=health.payload.replace(b'"ftth"', b'"4g"')),
    ]
    append(tmp_path, [*many, first, health])
    append(tmp_path, forged)
    for _ in range(2):
        seal(tmp_path, DAY)
        assert read(tmp_path) == (sorted([*many, first, health]), [])
        append(tmp_path, forged)


def test_what_comes_again_after_sealing_joins_what_is_sealed(tmp_path: Path) -> None:
    records = province(1)
    append(tmp_path, records[:500])
    seal(tmp_path, DAY)
    append(tmp_path, records[400:])
    assert read(tmp_path)[0] == sorted(records[:500] + records[400:])
    seal(tmp_path, DAY)
    assert files(tmp_path) == {f"{DAY}.day"}
    assert read(tmp_path) == (sorted(records), [])


def test_units_that_do_not_fit_into_memory_together_are_taken_by_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "GROUP_BYTES", 300_000)
    monkeypatch.setattr(sealing, "BLOCK_RECORDS", 100)
    monkeypatch.setattr(sealing, "BLOCK_BYTES", 20_000)
    records = province(4)
    append(tmp_path, records)
    seal(tmp_path, DAY)
    assert read(tmp_path) == (sorted(records), [])


def test_a_time_of_receipt_can_be_asked_of_a_sealed_day(tmp_path: Path) -> None:
    records = province()
    append(tmp_path, records)
    seal(tmp_path, DAY)
    since, until = (MIDNIGHT + dt.timedelta(hours=hour) for hour in (3, 4))
    asked = [one for some in read_records(tmp_path, since, until) for one in some]
    first_ms, end_ms = (int(one.timestamp() * 1000) for one in (since, until))
    assert sorted(asked) == sorted(one for one in records if first_ms <= one.received_ms < end_ms)
    assert not list(read_records(tmp_path, since=until + dt.timedelta(days=2)))


def test_a_log_that_grows_while_it_is_sealed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = province(1)
    append(tmp_path, records[:-1])
    real = sealing._verify

    def verify(*asked: object) -> None:
        real(*asked)  # type: ignore[arg-type]
        append(tmp_path, records[-1:])

    monkeypatch.setattr(sealing, "_verify", verify)
    with pytest.raises(SealError, match="grown"):
        seal(tmp_path, DAY)
    assert files(tmp_path) == {f"{DAY}.log"}
    assert read(tmp_path) == (sorted(records), [])


def test_a_file_that_does_not_read_back_as_written_never_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, province(1))
    monkeypatch.setattr(sealing, "encode_block", lambda records: encode_block([*records[:-1], records[0]]))
    with pytest.raises(SealError, match="read back"):
        seal(tmp_path, DAY)
    assert path_of(tmp_path, DAY, ".log").exists()
    assert not path_of(tmp_path, DAY, ".day").exists()


def test_only_one_process_seals(tmp_path: Path) -> None:
    append(tmp_path, province(1))
    with locked(tmp_path / SEALING):
        assert seal(tmp_path, DAY) is None
    assert seal(tmp_path, DAY) is not None


def test_a_damaged_log_is_sealed_without_what_is_lost_and_kept_aside(tmp_path: Path) -> None:
    records = province(1)
    append(tmp_path, records)
    path = path_of(tmp_path, DAY, ".log")
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 100] ^= 1
    path.write_bytes(data)
    sealed = seal(tmp_path, DAY)
    assert sealed is not None
    assert [one.offset for one in sealed.damage] == [0]
    assert files(tmp_path) == {f"{DAY}.day", f"{DAY}.log.damaged"}
    assert read(tmp_path) == (sorted(records[500:]), [])


def test_a_damaged_day_file_is_kept_aside_when_its_day_is_sealed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, records = sealed_in_small_blocks(tmp_path, monkeypatch)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 100] ^= 1
    path.write_bytes(data)
    late = [ArchiveRecord(1, "nd-z", b"{}")]
    append(tmp_path, late)
    seal(tmp_path, DAY)
    assert files(tmp_path) == {f"{DAY}.day", f"{DAY}.day.damaged"}
    assert path_of(tmp_path, DAY, ".day.damaged").read_bytes() == data
    found, damage = read(tmp_path)
    assert (len(found), damage) == (len(records) - 200 + 1, [])


def test_what_a_full_disk_left_of_a_new_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(tmp_path, province(1))

    def full(_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealing, "encode_block", full)
    with pytest.raises(OSError, match="space"):
        seal(tmp_path, DAY)
    assert files(tmp_path) == {f"{DAY}.log"}


def sealed_in_small_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[ArchiveRecord]]:
    monkeypatch.setattr(sealing, "BLOCK_RECORDS", 200)
    records = province(1)
    append(folder, records)
    seal(folder, DAY)
    return path_of(folder, DAY, ".day"), records


def test_a_flipped_byte_of_a_day_file_costs_its_block_alone_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, records = sealed_in_small_blocks(tmp_path, monkeypatch)
    data = path.read_bytes()
    starts = [*(at for at in range(len(data)) if data.startswith(MAGIC, at)), len(data)]
    regions = [0, 4, 8, 12, HEADER_BYTES, HEADER_BYTES + 1, HEADER_BYTES + 200]
    for number, (begin, end) in enumerate(pairwise(starts)):
        for region in (one for one in [*regions, end - begin - 1] if begin + one < end):
            broken = bytearray(data)
            broken[begin + region] ^= 0x10
            path.write_bytes(broken)
            found, damage = read(tmp_path)
            last = number == len(starts) - 2
            expected = [Damage(path, begin, end - begin), *([Damage(path, len(data), 0)] if last else [])]
            assert damage == expected
            assert len(found) == len(records) - (0 if last else min(200, len(records) - number * 200))
            assert set(found) <= set(records)


def test_a_day_file_that_was_cut_off_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = sealed_in_small_blocks(tmp_path, monkeypatch)
    data = path.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(MAGIC, at)]
    for size in (0, starts[1], starts[1] + 5, starts[-1], len(data) - 1):
        path.write_bytes(data[:size])
        assert any(not one.torn for one in read(tmp_path)[1])


def test_a_day_file_whose_records_are_not_those_that_were_written_is_damaged(tmp_path: Path) -> None:
    """Every frame is sound; what wrote it, or reads it, is wrong."""
    path, records = path_of(tmp_path, DAY, ".day"), [ArchiveRecord(n, "nd-1", b"{}") for n in range(3)]
    summary = Summary()
    summary.add(records)
    for end, damaged in ((summary.end, 0), (End(3, bytes(16)), 1)):
        path.write_bytes(frame(encode_block(records)) + frame(END + msgspec.msgpack.encode(end)))
        (report,) = check_archive(tmp_path)
        assert (report.records, len(report.damage)) == (3, damaged)


def test_a_clock_that_jumps_ahead_makes_no_day_old() -> None:
    days = ["2026-06-01", "2026-11-28", "2026-11-29"]
    now = MIDNIGHT + dt.timedelta(hours=1)
    assert oldest_kept([*days, DAY], now, 70) == "2026-09-21"
    for years in (1, 10):
        ahead = now + dt.timedelta(days=365 * years)
        assert oldest_kept([*days, day_of(ahead)], ahead, 70) == "2026-09-21"
    assert oldest_kept(days, now - dt.timedelta(days=300), 70) < "2026-06-01"
    assert oldest_kept([], now, 70) == "2026-09-21"


def test_the_oldest_days_go_first_and_today_never(tmp_path: Path) -> None:
    for day in range(1, 6):
        path_of(tmp_path, f"2026-11-0{day}", ".day").write_bytes(bytes(1000))
    path_of(tmp_path, "2026-11-03", ".log").write_bytes(bytes(500))
    path_of(tmp_path, "2026-11-03", ".log.damaged").write_bytes(bytes(500))
    path_of(tmp_path, "2026-11-06", ".log").write_bytes(bytes(9000))
    gone = delete_old_days(tmp_path, "2026-11-06", "2026-11-02", 1e9, list)
    assert [(one.day, one.reason) for one in gone] == [("2026-11-01", "archive.keep_days")]
    gone = delete_old_days(tmp_path, "2026-11-06", None, 12_000, list)
    assert [(one.day, one.bytes, one.reason) for one in gone] == [
        ("2026-11-02", 1000, "archive.max_gb"),
        ("2026-11-03", 2000, "archive.max_gb"),
    ]
    delete_old_days(tmp_path, "2026-11-06", None, 0, list)
    assert files(tmp_path) == {"2026-11-06.log"}


def test_what_the_server_decided_outlives_its_day(tmp_path: Path) -> None:
    """A quarantine without an end holds for results of days that are kept."""
    first, second = Archive(tmp_path, lambda: MIDNIGHT), Archive(tmp_path, lambda: MIDNIGHT + dt.timedelta(days=1))
    own = [ArchiveRecord(n, "", b'{"record":"exclusion","n":%d}' % n) for n in range(2)]
    first.append([ArchiveRecord(n, "nd-1", b'{"seq":%d}' % n) for n in range(20_000)])
    first.append(own[:1])
    seal(tmp_path, DAY)
    first.append(own[1:])

    def full(_: object) -> None:
        raise StoreUnavailable("no space left")

    assert delete_old_days(tmp_path, NEXT, NEXT, 1e9, full) == []
    assert delete_old_days(tmp_path, NEXT, NEXT, 1e9, second.append) != []
    assert files(tmp_path) == {f"{NEXT}.log"}
    assert [one for some in read_records(tmp_path) for one in some] == own
