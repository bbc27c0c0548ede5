"""Kills what writes and seals an archive, at random moments; then looks for what it had said was written.

    python -m tests.support.archive_killer [--kills 200] [--seed 1]

The victim appends batches, in a world whose days take a second, and seals the days that are over; it says a batch's
number once `append` has returned. Another process appends at the same time, as `resend` does.
"""

import argparse
import datetime as dt
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collector.archive import Archive, Damage, read_records
from collector.archive.files import day_of
from collector.archive.sealing import SealError, days_to_seal, seal
from collector.ingest.archive_record import ArchiveRecord

BATCH = 5
BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Found(NamedTuple):
    kills: int
    confirmed: int
    """Records that were said to be written."""
    lost: int
    altered: int
    """Records that nobody wrote."""
    sealed_days: int
    damage: list[Damage]


def record(writer: int, number: int) -> ArchiveRecord:
    """The same for the same numbers, of 300 bytes or so."""
    rng = random.Random(f"{writer}/{number}")
    payload = b'{"agent":"nd-%d","seq":%d,"line":"ftth","data":{"down_mbps":%r,"detail":"%b"}}'
    text = rng.randbytes(100).hex().encode()
    return ArchiveRecord(10**12 + number, f"nd-{writer}", payload % (writer, number, str(rng.gauss(80, 9)), text))


def victim(folder: Path, writer: int, first: int) -> None:
    """Until it is killed. Every fourth batch is one that was written before: a resend."""
    archive = Archive(folder, now)
    threading.Thread(target=_seal_for_ever, args=(folder,), daemon=True).start()
    for number in itertools.count(first):
        again = number - 3 if number % 4 == 0 and number > first + 3 else number
        archive.append([record(writer, again * BATCH + i) for i in range(BATCH)])
        print(again, flush=True)
        time.sleep(0.005)


def now() -> dt.datetime:
    """A second is a day."""
    return BEGIN + dt.timedelta(days=int(time.time()) % 10**6)


def _seal_for_ever(folder: Path) -> None:
    while True:
        for day in days_to_seal(folder, day_of(now())):
            with suppress(SealError):  # a log that grew: an append that began before midnight
                seal(folder, day)
        time.sleep(0.01)


def main(folder: Path, kills: int, seed: int) -> Found:
    """Raises what a victim raised, and TimeoutError where nothing is written any more."""
    rng, confirmed, first = random.Random(seed), set[tuple[int, int]](), [0, 0]
    for number in range(kills):
        writers = [_start(folder, writer, first[writer]) for writer in (0, 1)]
        begun = [_line(process) for process in writers]
        time.sleep(rng.uniform(0, 0.8))
        for process in rng.sample(writers, 2):
            process.kill()
            time.sleep(rng.uniform(0, 0.1))
        for writer, process in enumerate(writers):
            out, err = process.communicate(timeout=20)
            if b"Traceback" in err:
                raise AssertionError(f"after {number} kills: {err.decode()}")
            said = [int(line) for line in (begun[writer] + out).splitlines(keepends=True) if line.endswith(b"\n")]
            confirmed |= {(writer, batch * BATCH + i) for batch in said for i in range(BATCH)}
            first[writer] = max([first[writer], *said]) + 2
    Archive(folder, now).append([record(2, 0)])  # cuts what is torn
    damage: list[Damage] = []
    found = {one for some in read_records(folder, on_damage=damage.append) for one in some}
    wanted = {record(*one) for one in confirmed}
    written = {record(writer, n) for writer in (0, 1) for n in range((first[writer] + 1) * BATCH)} | {record(2, 0)}
    sealed = len(list(folder.glob("*.day")))
    return Found(kills, len(wanted), len(wanted - found), len(found - written), sealed, damage)


def _line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def _start(folder: Path, writer: int, first: int) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "tests.support.archive_killer", "--victim", str(folder), str(writer), str(first)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.archive_killer")
    parser.add_argument("--victim", nargs=3)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    if asked.victim:
        victim(Path(asked.victim[0]), int(asked.victim[1]), int(asked.victim[2]))
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as place:
        result = main(Path(place) / "archive", asked.kills, asked.seed)
    print(result)
    sys.exit(bool(result.lost or result.altered or result.damage))
