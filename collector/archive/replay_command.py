"""`python -m collector.archive.replay_command`: builds the database that the settings name again from the archive.

Processes share the units out, then the days; each reads the archive by itself. Whatever dies, the same command goes on:
what is stored stays as it is, and days, months, exclusions and closed months come out the same.
"""

import argparse
import datetime as dt
import multiprocessing as mp
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from collector.archive.files import days_of, kept_aside
from collector.archive.frames import Damage
from collector.archive.reader import own_records, read_records
from collector.archive.record import Record
from collector.archive.replay import ReplayOutcome, Share, patiently, replay_records
from collector.ingest.archive_record import ArchiveRecord
from collector.judge.verdict import Month
from collector.registry.registry_file import HISTORY_FILE, load_with_removed
from collector.rollups.aggregate import RollupBucket, day_of
from collector.rollups.months import write_some_months
from collector.rollups.rollups import Rollups
from collector.settings import CollectorSettings, SqliteSettings, Unusable, require_owner
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.excluding_store import ExcludingStore
from collector.store.factory import open_store
from collector.store.points import EPOCH
from xomnet.check.outcome import print_error
from xomnet.defaults import config_file
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import Registry, RegistryError
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import setup
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError, load
from xomnet.targets import load_targets

PROGRESS_S = 10.0
PROCESSES = 2
"""Beside a database on the same machine, more find no processor free."""

Say = Callable[[str], object]
ShareOutcome = tuple[ReplayOutcome, list[Damage]]


class ReplayJob(NamedTuple):
    """What every process is given."""

    config: Path
    archive: Path
    since: dt.datetime | None
    until: dt.datetime | None
    now: dt.datetime
    dry_run: bool


class ReplaySummary(msgspec.Struct):
    """What a replay did, or would do: the document of `--json`."""

    results: int
    added: int
    stored_before: int
    refused: dict[str, int]
    examples: dict[str, str]
    damaged: list[str]
    exclusions: int
    closed_months: int
    unknown_records: int
    days: int
    months: int
    dry_run: bool
    seconds: float
    results_s: float
    """Of them, until the last result was added."""

    @property
    def complete(self) -> bool:
        return not (self.refused or self.damaged or self.unknown_records)


class _ReplayParts(NamedTuple):
    """What a process works with; opened once in each."""

    settings: CollectorSettings
    registry: Registry
    store: Store
    record: Record

    @property
    def counted(self) -> Store:
        """The store without what does not count, which figures are made from."""
        return ExcludingStore(self.store, self.record.exclusions.current)


@cache
def _open(job: ReplayJob) -> _ReplayParts:
    """Raises Unusable, RegistryError, SecretError, SettingsError or StoreUnavailable."""
    settings = load(job.config, CollectorSettings)
    targets = load_targets(settings.targets or config_file("targets.yaml"))
    registry = load_with_removed(settings.registry, targets, settings.state_dir / HISTORY_FILE, job.now)
    return _ReplayParts(settings, registry, open_store(settings), Record(settings.state_dir))


def _kept_since(settings: CollectorSettings, now: dt.datetime) -> dt.datetime | None:
    keep = settings.store.keep_days
    return None if keep is None else now - dt.timedelta(days=keep)


# --- in each process

_progress: "mp.Queue[tuple[int, int, int]] | None" = None
"""Which share, how many of its results, received until when."""


def _begin(progress: "mp.Queue[tuple[int, int, int]]") -> None:
    global _progress  # noqa: PLW0603  # what a pool gives its processes
    _progress = progress
    setup("error")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _replay_share(job: ReplayJob, share: Share) -> ShareOutcome:
    opened, damage = _open(job), list[Damage]()

    def note(found: Damage) -> None:
        if not found.torn:  # else nobody was ever told that it is there
            damage.append(found)

    def on_progress(outcome: ReplayOutcome, received_ms: int) -> None:
        if _progress is not None:
            _progress.put((share.number, outcome.results, received_ms))

    outcome = replay_records(
        read_records(job.archive, job.since, job.until, note),
        opened.registry,
        opened.store,
        share,
        _kept_since(opened.settings, job.now),
        on_progress,
        job.dry_run,
    )
    return outcome, damage


def _write_day(job: ReplayJob, day: RollupBucket) -> None:
    opened = _open(job)
    rollups = Rollups(opened.counted, lambda: opened.registry)
    patiently(lambda: rollups.write_day(day, job.now))


# --- the whole


def replay(job: ReplayJob, processes: int | None, say: Say) -> ReplaySummary:
    """Results, record, days, months. Raises one of ERRORS; then it may be run again."""
    began = time.monotonic()
    _check(job)
    opened = _open(job)
    opened.store.ping()
    shares = processes or (1 if isinstance(opened.settings.store, SqliteSettings) else PROCESSES)
    progress: mp.Queue[tuple[int, int, int]] = mp.get_context("spawn").Queue()
    with _pool(shares, progress) as pool:
        parts = [pool.submit(_replay_share, job, Share(number, shares)) for number in range(shares)]
        _watch(parts, progress, say)
        outcome, damage = _joined(parts)
        results_s = time.monotonic() - began
        own = outcome.own if job.since is job.until is None else _all_own(job.archive)
        restored = opened.record.restore(own, job.dry_run)
        aside = [f"{path}: was damaged when its day was sealed" for path in kept_aside(job.archive)]
        kept = _kept_since(opened.settings, job.now)
        days = sorted({day_of(hour, opened.registry.zone) for hour in outcome.hour_instants})
        days = [day for day in days if kept is None or kept <= day.since]
        months = _months_of(days, opened)
        if not job.dry_run:
            writing = [pool.submit(_write_day, job, day) for day in days]
            said = time.monotonic()
            for count, part in enumerate(as_completed(writing), 1):
                part.result()
                if time.monotonic() - said >= PROGRESS_S:
                    said = time.monotonic()
                    say(f"{count} of {len(days)} days computed")
            _write_months(opened, months, job.now)
    return ReplaySummary(
        results=outcome.results,
        added=outcome.added,
        stored_before=outcome.results - outcome.added - outcome.refused.total(),
        refused=dict(outcome.refused.most_common()),
        examples=outcome.examples,
        damaged=[*map(str, damage), *aside],
        exclusions=restored.exclusions,
        closed_months=restored.months,
        unknown_records=restored.unknown,
        days=len(days),
        months=len(months),
        dry_run=job.dry_run,
        seconds=round(time.monotonic() - began, 1),
        results_s=round(results_s, 1),
    )


@contextmanager
def _pool(processes: int, progress: "mp.Queue[tuple[int, int, int]]") -> Iterator[ProcessPoolExecutor]:
    """Where something fails, nobody waits for the rest."""
    with ProcessPoolExecutor(processes, mp.get_context("spawn"), _begin, (progress,)) as pool:
        try:
            yield pool
        except BaseException:
            for process in mp.active_children():
                process.terminate()
            raise


def _check(job: ReplayJob) -> None:
    """Before anything is made. Raises Unusable or SettingsError."""
    if not job.archive.is_dir():
        raise Unusable(f"{job.archive}: there is no archive; name its folder with --archive")
    require_owner(load(job.config, CollectorSettings).state_dir)


def _watch(parts: Sequence["Future[ShareOutcome]"], progress: "mp.Queue[tuple[int, int, int]]", say: Say) -> None:
    """Says every few seconds how far the shares are, until they end or one fails."""
    done: dict[int, tuple[int, int]] = {}
    began = time.monotonic()
    while True:
        _, waiting = wait(parts, PROGRESS_S, return_when="FIRST_EXCEPTION")
        done.update({share: (results, received_ms) for share, results, received_ms in _drain(progress)})
        if not waiting or any(part.done() and part.exception() for part in parts):
            return
        if done:
            results = sum(count for count, _ in done.values())
            until = EPOCH + dt.timedelta(milliseconds=min(received for _, received in done.values()))
            rate = results / (time.monotonic() - began)
            say(f"{results:,} results, received until {until:%Y-%m-%d %H:%M}, {rate:,.0f} a second")


def _drain(progress: "mp.Queue[tuple[int, int, int]]") -> Iterator[tuple[int, int, int]]:
    try:
        while True:
            yield progress.get_nowait()
    except queue.Empty:
        return


def _joined(parts: Sequence["Future[ShareOutcome]"]) -> ShareOutcome:
    """Every share reads the whole archive: the server's own records and the damage are those of the first."""
    for part in parts:
        if part.done():
            part.result()  # raises what it failed with
    whole, damage = parts[0].result()
    for part in parts[1:]:
        whole.merge(part.result()[0])
    return whole, damage


def _all_own(archive: Path) -> list[ArchiveRecord]:
    """What was decided on any day: it may hold for results of the days asked for."""
    return [one for day in days_of(archive) for one in own_records(archive, day)]


def _months_of(days: Sequence[RollupBucket], opened: _ReplayParts) -> list[Month]:
    """Those that have a day, as far as their results are all kept; and the closed ones."""
    zone = opened.registry.zone.key
    return sorted({Month.of(day.since, zone) for day in days} | set(opened.record.closed.months()))


def _write_months(opened: _ReplayParts, months: Sequence[Month], now: dt.datetime) -> None:
    kept = _kept_since(opened.settings, now)

    def write() -> None:
        for _ in write_some_months(opened.counted, opened.registry, months, now, kept, opened.record.closed):
            pass

    patiently(write)


def format_summary(summary: ReplaySummary) -> str:
    """For people."""
    would = "would be added" if summary.dry_run else "added"
    lines = [
        f"results in the archive: {summary.results}; {would}: {summary.added}; stored before: {summary.stored_before};"
        f" refused: {sum(summary.refused.values())}"
    ]
    lines += [f"  {count} {code}, for example: {summary.examples[code]}" for code, count in summary.refused.items()]
    lines += [f"  {one}: its records are lost unless a backup has the file whole" for one in summary.damaged]
    if summary.unknown_records:
        lines.append(f"  {summary.unknown_records} records of a later version: upgrade xomnet and run this again")
    back = "to be put back" if summary.dry_run else "put back"
    lines.append(f"{back}: {summary.exclusions} exclusions, {summary.closed_months} closed months")
    if not summary.dry_run:
        lines.append(f"computed: {summary.days} days, {summary.months} months, in {summary.seconds:.0f} s")
    return "\n".join(lines)


ERRORS = (
    SettingsError,
    RegistryError,
    SecretError,
    Unusable,
    StoreUnavailable,
    OSError,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="xomnet replay", description="Build the database again from the archive.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="another archive than that of the settings")
    parser.add_argument("--since", metavar="DAY", help="first day of receipt, such as 2026-10-01")
    parser.add_argument("--until", metavar="DAY", help="last day of receipt")
    parser.add_argument("--processes", type=int, metavar="N", help="processes that share the work")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be added")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse_args()
    try:
        setup("error")
        job = _job(arguments)
        summary = replay(job, arguments.processes, lambda text: print(text, file=sys.stderr, flush=True))
    except BrokenProcessPool:
        killed = Unusable("a process of the replay was killed, for example for want of memory; run this again")
        return print_error(killed, arguments.json)
    except ERRORS as error:
        return print_error(error, arguments.json)
    except KeyboardInterrupt:
        print("stopped; run this again to go on", file=sys.stderr)
        return 130
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    else:
        print(format_summary(summary))
    return 0 if summary.complete else 1


def _job(arguments: argparse.Namespace) -> ReplayJob:
    """Raises SettingsError or Unusable."""
    settings = load(arguments.config, CollectorSettings)
    since, until = _day("--since", arguments.since), _day("--until", arguments.until)
    if since is not None and until is not None and until.since < since.since:
        raise Unusable(f"--until {arguments.until} is before --since {arguments.since}")
    return ReplayJob(
        config=arguments.config,
        archive=arguments.archive or settings.archive_folder,
        since=None if since is None else since.since,
        until=None if until is None else until.until,
        now=utc_now(),
        dry_run=arguments.dry_run,
    )


def _day(option: str, text: str | None) -> RollupBucket | None:
    """A day of the province's time. Raises Unusable."""
    if text is None:
        return None
    try:
        noon = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(12), ZoneInfo(PROVINCE_TIME))
    except ValueError as error:
        raise Unusable(f"{option}: found {text!r}; write a day such as 2026-10-01") from error
    return day_of(noon, ZoneInfo(PROVINCE_TIME))


if __name__ == "__main__":
    sys.exit(main())
