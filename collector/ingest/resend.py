"""`xomnet collector resend`: stores dead letters that pass now, and takes them out of their file.

A running collector may stay: the file has a lock, writing a result again changes nothing, and a letter leaves the file
only after its result is stored and archived. So this may be killed anywhere and run again. A result counts as received
when its letter was.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from collector.ingest.archive_record import ArchiveWriter, archive_record
from collector.ingest.dead_letters import DeadLetter, DeadLetters, digest_of, payload_of
from collector.ingest.lateness import Lateness
from collector.ingest.validate import Accepted, validate
from collector.registry.registry_file import RegistryFile
from collector.settings import CollectorSettings, Unusable, require_owner
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.factory import open_store
from xomnet.check.outcome import print_error
from xomnet.defaults import config_file
from xomnet.registry.registry import Registry, RegistryError
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import setup
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError, load
from xomnet.targets import load_targets

BATCH = 500
SHOWN = 50

ArchiveOpener = Callable[[CollectorSettings], ArchiveWriter]


@dataclass
class ResendOutcome:
    """How many letters there were, how many of them are stored now (or would be), and why the others are not."""

    letters: int = 0
    stored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    still: list[dict[str, Any]] = field(default_factory=list)
    """The first `SHOWN` of those that are still refused."""

    def refuse(self, letter: DeadLetter, code: str, reason: str) -> None:
        self.refused[code] += 1
        if len(self.still) < SHOWN:
            who = {"agent": letter.agent, "spool": letter.spool, "seq": letter.seq}
            self.still.append({**who, "code": code, "reason": reason})


def resend(
    letters: DeadLetters,
    registry: Registry,
    store: Store,
    archive: ArchiveWriter,
    dry_run: bool,
    over_quota: bool = False,
) -> ResendOutcome:
    """Every letter once; those beyond a unit's quota only with `over_quota`, as a thief's are among them.

    Raises StoreUnavailable and OSError; what was stored until then is out of the file.
    """
    outcome, gone = ResendOutcome(), set[bytes]()
    lateness = Lateness(store)
    try:
        for batch in _batches(letters.read_all()):
            accepted = _valid(batch, registry, over_quota, outcome)
            if dry_run:
                outcome.stored += len(accepted)
            else:
                gone |= _store(accepted, store, lateness, archive, outcome)
    finally:
        if gone:
            letters.remove(gone)
    return outcome


def _batches(letters: Iterator[DeadLetter]) -> Iterator[list[DeadLetter]]:
    while batch := list(islice(letters, BATCH)):
        yield batch


def _valid(
    batch: list[DeadLetter], registry: Registry, over_quota: bool, outcome: ResendOutcome
) -> list[tuple[DeadLetter, Accepted]]:
    """The letters that are valid now, by the time of their arrival: a clock that was ahead is not right because time
    has passed.
    """
    outcome.letters += len(batch)
    accepted: list[tuple[DeadLetter, Accepted]] = []
    for letter in batch:
        verdict = validate(letter.topic, payload_of(letter), registry, letter.at)
        if not isinstance(verdict, Accepted):
            outcome.refuse(letter, verdict.code, verdict.reason)
        elif letter.code == "quota" and not over_quota:
            outcome.refuse(letter, letter.code, letter.reason)
        else:
            accepted.append((letter, verdict))
    return accepted


def _store(
    accepted: list[tuple[DeadLetter, Accepted]],
    store: Store,
    lateness: Lateness,
    archive: ArchiveWriter,
    outcome: ResendOutcome,
) -> set[bytes]:
    """Stores and archives them; the digests of the letters whose results are stored."""
    marked = [(letter, one) for letter, valid in accepted for one in lateness.mark([valid], letter.at)]
    added = store.add([one.point for _, one in marked])
    reasons = {id(point): reason for point, reason in added.rejections}
    stored = [(letter, one) for letter, one in marked if id(one.point) not in reasons]
    if stored:
        archive.append([archive_record(one, payload_of(letter), added) for letter, one in stored])
    for letter, one in marked:
        if id(one.point) in reasons:
            outcome.refuse(letter, "store", reasons[id(one.point)])
    outcome.stored += len(stored)
    return {digest_of(msgspec.json.encode(letter)) for letter, _ in stored}


def run(
    settings: CollectorSettings, open_archive: ArchiveOpener, dry_run: bool, over_quota: bool = False
) -> ResendOutcome:
    """Raises Unusable, RegistryError, SecretError, StoreUnavailable or OSError."""
    require_owner(settings.state_dir)
    store = open_store(settings)
    try:
        targets = load_targets(settings.targets or config_file("targets.yaml"))
        registry = RegistryFile(settings.registry, targets, settings.state_dir / "registry.json", store, utc_now)
        if registry.problems:
            raise RegistryError(registry.problems)
        letters = DeadLetters(settings.state_dir / "dead-letters.jsonl")
        return resend(letters, registry.current(), store, open_archive(settings), dry_run, over_quota)
    finally:
        store.close()


def format_outcome(outcome: ResendOutcome, dry_run: bool) -> str:
    """The outcome as text for people."""
    would = "would be stored" if dry_run else "stored now"
    lines = [
        f"rejected results: {outcome.letters}; {would}: {outcome.stored}; still rejected: {outcome.refused.total()}"
    ]
    first: dict[str, str] = {}
    for one in outcome.still:
        first.setdefault(one["code"], one["reason"])
    lines += [f"  {count} {code}, for example: {first.get(code, '')}" for code, count in outcome.refused.most_common()]
    return "\n".join(lines)


def main(open_archive: ArchiveOpener) -> int:
    parser = argparse.ArgumentParser(
        prog="xomnet collector resend", description="Store the rejected results that are valid now."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be stored")
    parser.add_argument("--over-quota", action="store_true", help="also what was beyond a unit's quota")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse_args()
    try:
        settings = load(arguments.config, CollectorSettings)
        setup("error")
        outcome = run(settings, open_archive, arguments.dry_run, arguments.over_quota)
    except (SettingsError, RegistryError, SecretError, Unusable, StoreUnavailable, OSError) as error:
        return print_error(error, arguments.json)
    if arguments.json:
        counts = {"letters": outcome.letters, "stored": outcome.stored, "refused": dict(outcome.refused)}
        answer = {**counts, "dry_run": arguments.dry_run, "still": outcome.still}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        print(format_outcome(outcome, arguments.dry_run))
    return 1 if outcome.refused else 0
