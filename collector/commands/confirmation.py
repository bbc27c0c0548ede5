"""Confirmation tests: a line that is likely below target gets more tests before anybody is woken.

At most ROUND after each test of the schedule, some time apart, from the other measurement server every second time, and
no more than MAX_A_DAY: whatever the judging says, a line moves no more bytes than that. The unit itself keeps its
budget; where it refuses for that, the line is left alone for a day.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from collector.alerts.silences.maintenance import MaintenanceWindow, in_maintenance
from collector.commands.commands import GRACE, Commands, SentCommand, TooManyCommands
from collector.judge.line_states import LineStatus, Snapshot
from collector.periodic import PeriodicWorker
from collector.store.line_id import LineId
from xomnet.contract.commands import CONFIRMATION
from xomnet.contract.values import Instant
from xomnet.registry.registry import LineRow
from xomnet.runtime.atomic_file import write_atomically
from xomnet.runtime.log import Log

log = Log("collector.commands.confirmation")

Server = Literal["first", "other"]

ROUND, MAX_A_DAY, MAX_TRIES_A_DAY = 8, 16, 32
DAY = dt.timedelta(days=1)
VALID = dt.timedelta(minutes=3)
MAX_AT_ONCE = 4
"""Over the whole province, so over each measurement server too: as many as one takes beside its scheduled tests."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far apart two confirmations are, and how soon it is tried again where one was refused."""

    gap: dt.timedelta = dt.timedelta(minutes=20)
    again: dt.timedelta = dt.timedelta(minutes=5)


PACE = Pace()


class Confirmation(msgspec.Struct, frozen=True):
    """One test that was asked for. `outcome`: `waiting`, `tested`, `no_answer`, `undelivered`, or the word with which
    the unit refused it.
    """

    id: UUID
    at: Instant
    server: Server
    outcome: str = "waiting"

    @property
    def may_have_run(self) -> bool:
        return self.outcome in ("waiting", "tested", "no_answer")


class WantedTest(NamedTuple):
    line: LineId
    server: Server


def due_server(
    asked: Sequence[Confirmation], scheduled_at: dt.datetime | None, now: dt.datetime, pace: Pace = PACE
) -> Server | None:
    """The server from which a line that is likely below target is tested next; None if it is not to be tested.

    `asked` has what was asked of it, in the order of time; `scheduled_at` is its last test by the schedule.
    """
    today = [one for one in asked if now - one.at < DAY]
    made = [one for one in today if one.may_have_run]
    if len(made) >= MAX_A_DAY or len(today) >= MAX_TRIES_A_DAY or any(one.outcome == "budget" for one in today):
        return None
    if asked and now - asked[-1].at < (pace.gap if asked[-1].may_have_run else pace.again):
        return None
    if scheduled_at is not None and now - scheduled_at < pace.gap:
        return None
    this_round = [one for one in made if scheduled_at is None or one.at > scheduled_at]
    if len(this_round) >= ROUND:
        return None
    return "other" if len(this_round) % 2 else "first"


def choose(
    lines: Iterable[LineStatus],
    asked: Mapping[LineId, Sequence[Confirmation]],
    now: dt.datetime,
    may_ask: Callable[[LineRow], bool],
    pace: Pace = PACE,
) -> list[WantedTest]:
    """The tests to ask for now, in the order of `lines`: one at a time for a unit, MAX_AT_ONCE in all."""
    waiting = {line.agent for line, tests in asked.items() if any(one.outcome == "waiting" for one in tests)}
    room = MAX_AT_ONCE - len(waiting)
    chosen: list[WantedTest] = []
    for status in lines:
        if len(chosen) >= room:
            break
        line = status.id
        if not status.judgement.leaning or line.agent in waiting:
            continue
        made = (sample.at for sample in status.samples if sample.asked is None and sample.excluded is None)
        scheduled = max(made, default=None)
        server = due_server(asked.get(line, ()), scheduled, now, pace)
        if server is not None and may_ask(status.row):
            waiting.add(line.agent)
            chosen.append(WantedTest(line, server))
    return chosen


def maintenance_at(
    windows: Callable[[dt.datetime], Sequence[MaintenanceWindow]],
) -> Callable[[dt.datetime], Callable[[LineRow], bool]]:
    """Which lines are in maintenance at a time, from the windows that are stored."""

    return lambda now: in_maintenance(windows(now), now)


def outcome_of(one: Confirmation, found: SentCommand | None, now: dt.datetime) -> str:
    """The outcome so far. After a restart the collector has no answer: the test may have run."""
    if found is None:
        return "no_answer" if now > one.at + VALID + GRACE else "waiting"
    if found.outcome != "answered" or found.reply is None:
        return found.outcome
    return "tested" if found.reply.ok else found.reply.error or "refused"


class ConfirmationWorker(PeriodicWorker):
    """Reads the last snapshot every few seconds and asks for tests. A request is on disk before it is sent.

    `online` gives the units that the broker reports as online; lines in `maintenance` are left alone.
    """

    def __init__(
        self,
        latest: Callable[[], Snapshot | None],
        commands: Commands,
        online: Callable[[], Collection[str]],
        maintenance: Callable[[dt.datetime], Callable[[LineRow], bool]],
        file: Path,
        pace: Pace = PACE,
        every_s: float = 5.0,
    ) -> None:
        super().__init__("confirming", every_s, self.step, log, "no confirmation asked for")
        self._latest, self._commands, self._online, self._maintenance, self._file = (
            latest,
            commands,
            online,
            maintenance,
            file,
        )
        self._pace = pace
        self._asked = _read(file)
        self._written = b""

    def step(self, now: dt.datetime) -> None:
        """Updates the outcomes, and asks for the tests that are due."""
        self._asked = {
            line: kept
            for line, tests in self._asked.items()
            if (kept := [self._update_outcome(one, now) for one in tests if now - one.at < DAY])
        }
        new = self._choose(now)
        for line, one in new:
            self._asked.setdefault(line, []).append(one)
        self._save()
        for line, one in new:
            self._ask(line, one)

    def _choose(self, now: dt.datetime) -> list[tuple[LineId, Confirmation]]:
        if (snapshot := self._latest()) is None:
            return []
        online, maintenance = frozenset(self._online()), self._maintenance(now)
        wanted = choose(
            snapshot.lines,
            self._asked,
            now,
            lambda row: row.agent in online and not maintenance(row),
            self._pace,
        )
        return [(line, Confirmation(uuid.uuid4(), now, server)) for line, server in wanted]

    def _update_outcome(self, one: Confirmation, now: dt.datetime) -> Confirmation:
        if one.outcome != "waiting":
            return one
        return replace(one, outcome=outcome_of(one, self._commands.get(one.id), now))

    def _ask(self, line: LineId, one: Confirmation) -> None:
        server = "other" if one.server == "other" else None
        try:
            self._commands.ask(line.agent, "measure", line.line, server, CONFIRMATION, VALID, one.id)
        except TooManyCommands as error:
            log.warning("no confirmation asked for", agent=line.agent, line=line.line, reason=str(error))

    def _save(self) -> None:
        """Raises OSError: then nothing more is asked for."""
        text = msgspec.json.encode({f"{line.agent}/{line.line}": tests for line, tests in self._asked.items()})
        if text == self._written:
            return
        write_atomically(self._file, text)
        self._written = text


def _read(file: Path) -> dict[LineId, list[Confirmation]]:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, list[Confirmation]])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, OSError, UnicodeError) as error:
        log.error("confirmations not remembered", file=str(file), reason=str(error))
        return {}
    return {LineId(*key.split("/", 1)): tests for key, tests in found.items() if "/" in key}
