"""`python -m collector.archive`: `check` reads everything and names damage; `seal` is started by the collector."""

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from collector.archive.checking import FileReport, check_archive
from collector.archive.files import day_of
from collector.archive.sealing import SealError, days_to_seal, seal
from collector.settings import CollectorSettings, Unusable
from xomnet.check.outcome import print_error
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import Log, setup
from xomnet.settings import SettingsError, load

log = Log("collector.archive")


def main() -> int:
    """Exit status: 0 well, 1 damage or a day that can't be sealed, 2 it could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m collector.archive", description="Read or seal the archive of accepted messages."
    )
    commands = parser.add_subparsers(required=True)
    checking = commands.add_parser("check", help="read everything, and name what is damaged")
    where = checking.add_mutually_exclusive_group(required=True)
    where.add_argument("folder", type=Path, nargs="?", metavar="FOLDER")
    where.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML) that names the folder")
    checking.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    checking.set_defaults(run=_check)
    sealing = commands.add_parser("seal", help="rewrite the logs of days that are over as day files")
    sealing.add_argument("folder", type=Path, metavar="FOLDER")
    sealing.set_defaults(run=_seal, json=False)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments))
    except OSError as error:
        return print_error(Unusable(f"{error.filename}: {error.strerror}"), arguments.json)
    except SettingsError as error:
        return print_error(error, arguments.json)


def _check(arguments: argparse.Namespace) -> int:
    folder = arguments.folder or load(arguments.config, CollectorSettings).archive_folder
    reports = []
    for one in check_archive(folder):
        reports.append(one)
        if not arguments.json:
            print(_line(one), flush=True)
            for damage in one.damage:
                print(damage, file=sys.stderr)
    damaged = sum(bool(one.damage) for one in reports)
    records = sum(one.records for one in reports)
    if arguments.json:
        answer = {"folder": str(folder), "records": records, "damaged_files": damaged, "files": reports}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        remedy = ": put these back from a backup" if damaged else ""
        print(f"{folder}: {records:,} messages in {len(reports)} files, {damaged} of them damaged{remedy}")
    return 1 if damaged else 0


def _line(one: FileReport) -> str:
    each = f", {one.bytes / one.records:.0f} bytes each" if one.records else ""
    late = f", {one.late:,} late" if one.late else ""
    torn = f"; a torn tail of {one.torn_bytes} bytes, never acknowledged" if one.torn_bytes else ""
    return f"{Path(one.file).name}: {one.records:,} messages of {one.units:,} units{late}{each}{torn}"


def _seal(arguments: argparse.Namespace) -> int:
    setup()
    with suppress(OSError):  # the service may not; then it only rests as long as it works
        os.nice(19)
    failed = False
    for day in days_to_seal(arguments.folder, day_of(utc_now())):
        began = time.monotonic()
        try:
            sealed = seal(arguments.folder, day, Rest())
        except SealError as error:
            failed = True
            log.error("day of the archive not sealed", day=day, reason=str(error))
            continue
        if sealed is None:
            return 0
        took_s = round(time.monotonic() - began, 1)
        log.info("day of the archive sealed", day=day, records=sealed.records, bytes=sealed.bytes, took_s=took_s)
        for one in sealed.damage:
            log.error("archive damaged", file=str(one.path), offset=one.offset, bytes=one.length)
    return 1 if failed else 0


class Rest:
    """Sleeps as long as was worked since the last time: half a processor, whatever the service is allowed to do."""

    def __init__(self) -> None:
        self._worked_s = time.process_time()

    def __call__(self) -> None:
        if (work_s := time.process_time() - self._worked_s) > 0.05:
            time.sleep(min(work_s, 1.0))
            self._worked_s = time.process_time()


if __name__ == "__main__":
    sys.exit(main())
