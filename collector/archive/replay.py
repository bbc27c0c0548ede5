"""The archive's records into a store again: validated as at their receipt, and added where they are not stored yet.

Pure of processes and settings: `collector.archive.replay_command` shares the units out among processes.
"""

import datetime as dt
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from collector.ingest.archive_record import ArchiveRecord
from collector.ingest.validate import Accepted, RefusedMessage, validate
from collector.rollups.aggregate import HOUR
from collector.store import Store
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.points import COUNTED, EPOCH, Point, when
from xomnet.contract.topics import topic
from xomnet.registry.registry import Registry
from xomnet.runtime.backoff import back_off_s

T = TypeVar("T")

BATCH = 2500
"""Results that are added together."""
MAX_TRIES = 12
"""Of a database that does not answer: some four minutes."""
_HOUR_NS = 3_600_000_000_000


class Share(NamedTuple):
    """The units that a process takes, by name: each has its own, whatever the others do."""

    number: int = 0
    of: int = 1

    def has(self, agent: str) -> bool:
        return zlib.crc32(agent.encode()) % self.of == self.number


@dataclass
class ReplayOutcome:
    """What became of the records of a share, or of all."""

    results: int = 0
    added: int = 0
    """Were not stored before."""
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """Code -> whose result, and why."""
    hours: set[int] = field(default_factory=set)
    """Since 1970; those that have results which count for roll-ups."""
    own: list[ArchiveRecord] = field(default_factory=list)
    """The server's own records."""

    def refuse(self, record: ArchiveRecord, code: str, reason: str) -> None:
        self.refused[code] += 1
        received = EPOCH + dt.timedelta(milliseconds=record.received_ms)
        self.examples.setdefault(code, f"{record.agent}, received {received:%Y-%m-%d %H:%M}: {reason}")

    def merge(self, other: "ReplayOutcome") -> None:
        self.results += other.results
        self.added += other.added
        self.refused += other.refused
        self.examples = {**other.examples, **self.examples}
        self.hours |= other.hours
        self.own += other.own

    @property
    def hour_instants(self) -> list[dt.datetime]:
        return [EPOCH + hour * HOUR for hour in sorted(self.hours)]


def replay_records(
    blocks: Iterable[list[ArchiveRecord]],
    registry: Registry,
    store: Store,
    share: Share,
    kept_since: dt.datetime | None,
    on_progress: Callable[[ReplayOutcome, int], object],
    dry_run: bool = False,
) -> ReplayOutcome:
    """Adds the results of a share; `on_progress` is called with each batch and the last time of receipt.

    Results of before `kept_since` are refused: the database would not keep them. With `dry_run` it is only asked which
    are stored. Raises StoreUnavailable, and what `blocks` raises.
    """
    outcome, waiting = ReplayOutcome(), list[tuple[ArchiveRecord, Point]]()
    for block in blocks:
        for record in block:
            if not record.agent:
                outcome.own.append(record)
            elif share.has(record.agent):
                outcome.results += 1
                verdict = point_of_record(record, registry, kept_since)
                if isinstance(verdict, RefusedMessage):
                    outcome.refuse(record, verdict.code, verdict.reason)
                else:
                    waiting.append((record, verdict))
        if len(waiting) >= BATCH:
            _add(waiting, store, outcome, dry_run)
            on_progress(outcome, block[-1].received_ms)
            waiting = []
    _add(waiting, store, outcome, dry_run)
    return outcome


def point_of_record(
    record: ArchiveRecord, registry: Registry, kept_since: dt.datetime | None = None
) -> Point | RefusedMessage:
    """The point of a result as it was stored at its receipt, or why there is none any more."""
    received = EPOCH + dt.timedelta(milliseconds=record.received_ms)
    verdict = validate(topic(record.agent, "up"), record.payload, registry, received)
    if not isinstance(verdict, Accepted):
        return verdict
    point = verdict.point
    if kept_since is not None and (at := when(point.time_ns)) < kept_since:
        return RefusedMessage(
            "store", f"measured {at:%Y-%m-%d}, before what is kept (store.keep_days)", record.agent, verdict.id
        )
    return replace(point, fields={**point.fields, "late": True}) if record.late else point


def _add(waiting: Sequence[tuple[ArchiveRecord, Point]], store: Store, outcome: ReplayOutcome, dry_run: bool) -> None:
    if not waiting:
        return
    points = sorted((point for _, point in waiting), key=lambda point: point.time_ns)
    found = patiently(lambda: store.find(points) if dry_run else store.add(points))
    outcome.added += len(points) - len(found.rejections) - len(found.known)
    records = {id(point): record for record, point in waiting}
    for point, reason in found.rejections:
        outcome.refuse(records.pop(id(point)), "store", reason)
    stored = (point for point in points if id(point) in records)
    outcome.hours.update(point.time_ns // _HOUR_NS for point in stored if point.measurement in COUNTED)


def patiently(attempt: Callable[[], T], sleep: Callable[[float], object] = time.sleep) -> T:
    """What an attempt gives that may be made again. Raises StoreUnavailable, of the last one."""
    tries = 0
    while True:
        try:
            return attempt()
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            tries += 1
            if tries == MAX_TRIES:
                raise
            sleep(min(60.0, error.retry_after_s or back_off_s(tries, 0.25, 30.0, 0.1)))
