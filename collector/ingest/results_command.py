"""`python -m collector.ingest.results_command`: leaves a unit's results out of all figures, or lets them count again.

A running collector may stay: it sees a new entry within seconds, judges the lines again within a minute, and computes
hours, days and months again in its next rounds. No result is changed or deleted.
"""

import argparse
import datetime as dt
import difflib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs

from collector.ingest.archive_record import ArchiveRecord, ArchiveWriter
from collector.ingest.resend import ArchiveOpener
from collector.registry.registry_file import HISTORY_FILE, load_with_removed
from collector.settings import CollectorSettings, Unusable, require_owner
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.exclusion_table import ExclusionTable
from collector.store.exclusions import Exclusion, Exclusions
from collector.store.factory import open_store
from collector.store.line_id import LineId
from collector.store.pages import pages_back
from collector.store.points import EPOCH, RESULTS, milliseconds
from collector.store.record_db import FILE
from xomnet.check.outcome import print_error
from xomnet.defaults import config_file
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import Registry, RegistryError
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import setup
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError, load
from xomnet.targets import load_targets

END = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


class EntryError(Exception):
    """The entry can't be made; the text says why and what to write instead."""


class Touched(Struct, frozen=True):
    """The stored results that an entry covers: how many of each kind, measured on which days."""

    results: int
    changed: int
    """Those of them that count where they did not, or the reverse."""
    kinds: dict[str, int]
    days: dict[str, int]


def parse_time(text: str, registry: Registry, end: bool = False) -> dt.datetime:
    """A date (its beginning, or its `end`), a date and time of the province, or RFC 3339. Raises EntryError."""
    written = re.fullmatch(r"(\d\d?)/(\d\d?)/(\d{4})(.*)", text.strip())
    iso = "{2}-{1:0>2}-{0:0>2}{3}".format(*written.groups()) if written else text.strip()
    try:
        found = dt.datetime.fromisoformat(iso)
    except ValueError as error:
        raise EntryError(
            f"found {text!r}; write a date (2026-11-22 or 22/11/2026), with a time of {registry.zone.key}"
            " (2026-11-22 09:30), or RFC 3339 (2026-11-22T02:30:00Z)"
        ) from error
    if found.tzinfo is not None:
        return found
    if end and re.fullmatch(r"\d{4}-\d\d-\d\d", iso):
        found += dt.timedelta(days=1)
    return found.replace(tzinfo=registry.zone)


def check_unit(registry: Registry, agent: str, line: str | None) -> None:
    """Raises EntryError where the registry never had it, with the closest."""
    rows = registry.rows()
    if not registry.has_agent(agent):
        raise EntryError(f"the registry has no unit {agent!r}{_closest(agent, {row.agent for row in rows})}")
    own = {row.line for row in rows if row.agent == agent}
    if line is not None and line not in own:
        raise EntryError(f"the unit {agent!r} has no line {line!r}{_closest(line, own)}")


def _closest(text: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(text, sorted(names), 3, cutoff=0.4)
    return f"; the closest: {', '.join(found)}" if found else ""


def touched(store: Store, registry: Registry, entry: Exclusion, known: Exclusions) -> Touched:
    """What an entry covers of what is stored, a page at a time. Raises StoreUnavailable."""
    with_it = Exclusions((*known.entries, entry))
    lines = {LineId.of(row) for row in registry.rows()} | {LineId(entry.agent, "")}
    kinds: Counter[str] = Counter()
    days: Counter[str] = Counter()
    changed = 0
    for line in sorted(line for line in lines if entry.is_of(line)):
        for kind in RESULTS:
            for page in pages_back(partial(store.stamps, kind, line), EPOCH, END):
                covered = [stamp for stamp in page if entry.covers(stamp.at, stamp.received_ms)]
                kinds[kind] += len(covered)
                days.update(stamp.at.astimezone(registry.zone).date().isoformat() for stamp in covered)
                changed += sum((known.reason(line, *s) is None) != (with_it.reason(line, *s) is None) for s in covered)
    return Touched(kinds.total(), changed, {kind: n for kind, n in kinds.items() if n}, dict(sorted(days.items())))


def archived(archive: ArchiveWriter) -> Callable[[Exclusion], object]:
    """Gives an entry to the archive too, as the server's own record."""
    return lambda entry: archive.append([ArchiveRecord(milliseconds(entry.at), "", msgspec.json.encode(entry))])


def change(settings: CollectorSettings, arguments: argparse.Namespace, open_archive: ArchiveOpener) -> dict[str, Any]:
    """Adds an entry; gives it, and what it touches. Raises EntryError, Unusable, RegistryError, SecretError, OSError or
    StoreUnavailable.
    """
    require_owner(settings.state_dir)
    registry = _registry(settings)
    check_unit(registry, arguments.unit, arguments.line)
    entry = _entry(arguments, registry)
    table, store = ExclusionTable(settings.state_dir / FILE), open_store(settings, read_only=True)
    try:
        entry = structs.replace(entry, at=table.current().next_at(entry.at))
        found = touched(store, registry, entry, table.current())
        if not arguments.json:
            print(format_touched(entry, found, arguments.dry_run))
        if not arguments.dry_run:
            table.add(entry, archived(open_archive(settings)))
    finally:
        store.close()
        table.close()
    return {"dry_run": arguments.dry_run, "entry": entry, "touched": found}


def _entry(arguments: argparse.Namespace, registry: Registry) -> Exclusion:
    """Raises EntryError."""
    since = parse_time(arguments.since, registry) if arguments.since else EPOCH
    until = parse_time(arguments.until, registry, end=True) if arguments.until else None
    now = utc_now()
    if since > now:
        raise EntryError(f"--since {arguments.since} has not come yet")
    if until is not None and until <= since:
        raise EntryError(f"--until {arguments.until} is not after --since {arguments.since}")
    for option in ("reason", "by"):
        if not getattr(arguments, option).strip():
            raise EntryError(f"--{option} is empty")
    return Exclusion(
        action="exclude" if arguments.do == "quarantine" else "count",
        scope="unit" if arguments.line is None else "line",
        agent=arguments.unit,
        line=arguments.line or "",
        basis="measured" if arguments.measured else "received",
        since=since.astimezone(dt.UTC),
        until=None if until is None else until.astimezone(dt.UTC),
        reason="quarantine",
        note=arguments.reason.strip(),
        by=arguments.by.strip(),
        at=now,
    )


def list_entries(settings: CollectorSettings, unit: str | None) -> list[Exclusion]:
    """In the order in which they were made. Raises as `change`."""
    require_owner(settings.state_dir)
    if not (settings.state_dir / FILE).exists():
        return []
    if unit is not None:
        check_unit(_registry(settings), unit, None)
    table = ExclusionTable(settings.state_dir / FILE)
    try:
        return [one for one in table.current().entries if unit is None or one.agent == unit]
    finally:
        table.close()


def _registry(settings: CollectorSettings) -> Registry:
    targets = load_targets(settings.targets or config_file("targets.yaml"))
    return load_with_removed(settings.registry, targets, settings.state_dir / HISTORY_FILE, utc_now())


def format_touched(entry: Exclusion, found: Touched, dry_run: bool) -> str:
    """What an entry touches, as text for people."""
    does = {"exclude": "left out", "count": "counted"}[entry.action]
    kinds = ", ".join(f"{n} {kind}" for kind, n in found.kinds.items()) or "none"
    lines = [f"{format_entry(entry)}", f"stored results that it covers: {found.results} ({kinds})"]
    if found.days:
        first, last = min(found.days), max(found.days)
        lines.append(f"measured from {first} to {last}, on {len(found.days)} days")
    would = "would be" if dry_run else "now"
    return "\n".join([*lines, f"{would} {does}, and were not before: {found.changed}"])


def format_entry(entry: Exclusion) -> str:
    """An entry in one line."""
    what = entry.server or " / ".join(filter(None, (entry.agent, entry.line)))
    begins = "the beginning" if entry.since == EPOCH else _local(entry.since)
    ends = "" if entry.until is None else f" until {_local(entry.until)}"
    action = {"exclude": "left out", "count": "counted"}[entry.action]
    return (
        f"{_local(entry.at)}  {what}: {action}, {entry.basis} since {begins}{ends}"
        f" ({entry.reason}: {entry.note}; by {entry.by})"
    )


def _local(when: dt.datetime) -> str:
    return f"{when.astimezone(ZoneInfo(PROVINCE_TIME)):%Y-%m-%d %H:%M}"


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="xomnet results", description="What does not count, and why.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    commands = parser.add_subparsers(dest="do", required=True)
    for name in ("quarantine", "release"):
        one = commands.add_parser(name)
        one.add_argument("unit")
        one.add_argument("--line")
        one.add_argument("--since", required=name == "quarantine")
        one.add_argument("--until")
        one.add_argument("--reason", required=True)
        one.add_argument("--by", required=True)
        one.add_argument("--measured", action="store_true")
        one.add_argument("--dry-run", action="store_true")
    commands.add_parser("list").add_argument("unit", nargs="?")
    return parser.parse_args(given)


def main(open_archive: ArchiveOpener, given: Sequence[str] | None = None) -> int:
    arguments = _arguments(given)
    try:
        settings = load(arguments.config, CollectorSettings)
        setup("error")
        if arguments.do == "list":
            entries = list_entries(settings, arguments.unit)
            answer: object = {"entries": entries}
            if not arguments.json:
                print("\n".join(map(format_entry, entries)) or "nothing was ever left out")
        else:
            answer = change(settings, arguments, open_archive)
    except (EntryError, SettingsError, RegistryError, SecretError, Unusable, StoreUnavailable, OSError) as error:
        return print_error(error, arguments.json)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0
