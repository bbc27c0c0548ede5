"""The archive: how small a result becomes, what sealing a day costs, how fast it is read, what the intake loses to it.

A day of 4,000 lines of a province (1.76 million results, `tests.support.province_messages`) is written as a log, in
batches of eight as they come at such a rate, sealed by the collector's own process, and read.
"""

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from bench.intake import drained
from bench.runs import write
from collector.archive.batches import encode_batch
from collector.archive.files import DAY, LOG, make_folder, path_of
from collector.archive.frames import frame
from collector.ingest.archive_record import ArchiveRecord
from tests.support.province_messages import province_day

UNITS, BATCH = 2_000, 8
DAY_NAME, MIDNIGHT = "2026-10-31", dt.datetime(2026, 10, 30, 17, tzinfo=dt.UTC)
PAIRS = 5
KINDS = ("latency", "health", "speed")
READ = """
import sys, time
from pathlib import Path
from collector.archive import read_records
began = time.process_time()
count = sum(map(len, read_records(Path(sys.argv[1]))))
print(count / (time.process_time() - began))
"""


@dataclass(frozen=True)
class Found:
    results: int
    share_percent: dict[str, float]
    message_bytes: float
    """A message as it came, on average."""
    log_bytes: float
    bytes_a_result: float
    seal_cpu_s_per_million: float
    seal_s: float
    seal_rss_mb: float
    log_read_per_s: float
    day_read_per_s: float
    """Results a second of processor."""
    with_archive_per_s: list[float]
    without_per_s: list[float]
    with_archive_cpu_us: float
    without_cpu_us: float
    """Of the collector for a result, median."""


def _write_log(folder: Path, units: int) -> tuple[int, dict[str, int], int]:
    """Results, of each kind, and bytes of their messages."""
    make_folder(folder)
    kinds, size = dict.fromkeys(KINDS, 0), 0
    with path_of(folder, DAY_NAME, LOG).open("wb") as file:
        for batch in _batches(province_day(units, MIDNIGHT)):
            file.write(frame(encode_batch(batch)))
            for one in batch:
                size += len(one.payload)
                kinds[next(kind for kind in KINDS if b'"kind":"%b"' % kind.encode() in one.payload)] += 1
    return sum(kinds.values()), kinds, size


def _batches(records: Iterator[ArchiveRecord]) -> Iterator[list[ArchiveRecord]]:
    while batch := list(islice(records, BATCH)):
        yield batch


def _seal(folder: Path) -> tuple[float, float, float]:
    """Seconds of processor, seconds, MB at most."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "collector.archive", "seal", str(folder)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"sealing ended with {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss / 1024


def _read_per_s(folder: Path) -> float:
    done = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True)
    return round(float(done.stdout), -2)


def measured(units: int = UNITS, pairs: int = PAIRS) -> Found:
    """Takes a quarter of an hour."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "archive"
        results, kinds, size = _write_log(folder, units)
        log_size, log_rate = path_of(folder, DAY_NAME, LOG).stat().st_size, _read_per_s(folder)
        cpu_s, took_s, rss_mb = _seal(folder)
        day_size, day_rate = path_of(folder, DAY_NAME, DAY).stat().st_size, _read_per_s(folder)
    rates = [(drained(), drained(archive=False)) for _ in range(pairs)]
    return Found(
        results,
        {kind: round(100 * count / results, 1) for kind, count in kinds.items()},
        round(size / results, 1),
        round(log_size / results, 1),
        round(day_size / results, 2),
        round(cpu_s / results * 1e6, 1),
        round(took_s, 1),
        round(rss_mb, 1),
        log_rate,
        day_rate,
        [round(with_.per_s, 1) for with_, _ in rates],
        [round(without.per_s, 1) for _, without in rates],
        round(statistics.median(with_.cpu_us for with_, _ in rates), 1),
        round(statistics.median(without.cpu_us for _, without in rates), 1),
    )


def main(*_: str) -> int:
    """Writes `archive.json` and `archive.md`."""
    found = measured()
    text = report(found)
    write("archive", asdict(found), text)
    print(text)
    return 0


def report(found: Found) -> str:
    """The bars, in Markdown."""
    share = ", ".join(f"{percent:g} % {kind}" for kind, percent in found.share_percent.items())
    rates = list(zip(found.with_archive_per_s, found.without_per_s, strict=True))
    ratio, pairs = statistics.median(a / b for a, b in rates), ", ".join(f"{a:,.0f}/{b:,.0f}" for a, b in rates)
    return f"""\
The archive (`python -m bench archive`): a day of {found.results:,} results ({share}) of
{found.message_bytes:.0f} bytes each on average; then the intake as in `intake.md`, with the archive and without by
turns.

| | found | bar |
|---|---|---|
| a result in a sealed day | {found.bytes_a_result:.1f} bytes | 50 bytes |
| … in the log until the night | {found.log_bytes:.0f} bytes | |
| sealing, processor time for a million results | {found.seal_cpu_s_per_million:.0f} s | |
| … of the whole day, working half of the time | {found.seal_s:.0f} s | |
| … memory at most | {found.seal_rss_mb:.0f} MB | 300 MB |
| reading a sealed day, results a second of processor | {found.day_read_per_s:,.0f} | 100,000 |
| … a log | {found.log_read_per_s:,.0f} | 100,000 |
| intake with the archive over without, median of {len(rates)} pairs | {ratio:.3f} | 0.95 |
| … results a second, with/without | {pairs} | |
| … the collector's processor time for a result, with/without, µs | {found.with_archive_cpu_us:.0f}\
/{found.without_cpu_us:.0f} | |
"""
