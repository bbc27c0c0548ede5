"""When a line that is likely below target is tested again, how often, by which server, and what stops that."""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from collector.alerts.silences.maintenance import MaintenanceRequest
from collector.alerts.store import AlertStore
from collector.commands.commands import Commands, SentCommand
from collector.commands.confirmation import (
    DAY,
    MAX_A_DAY,
    MAX_AT_ONCE,
    MAX_TRIES_A_DAY,
    PACE,
    ROUND,
    Confirmation,
    ConfirmationWorker,
    choose,
    due_server,
    maintenance_at,
    outcome_of,
)
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus, Snapshot
from collector.store.line_id import LineId
from collector.store.row_types import Sample
from tests.support.stored import row
from xomnet.contract.commands import CONFIRMATION, Command, Reply, decode_command
from xomnet.contract.messages import encode
from xomnet.registry.registry import LineRow

NOW = dt.datetime(2026, 11, 22, 5, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def confirmation(minutes_ago: float, outcome: str = "tested") -> Confirmation:
    return Confirmation(uuid.uuid4(), NOW - minutes_ago * MINUTE, "first", outcome)


@pytest.mark.parametrize(
    ("asked", "scheduled_min", "server"),
    [
        ([], None, "first"),
        ([], 60, "first"),
        ([], 10, None),  # the test that made it lean is only just over
        ([(25, "tested")], 60, "other"),
        ([(45, "tested"), (25, "tested")], 60, "first"),
        ([(25, "tested")] * ROUND, 90, None),
        ([(25, "tested")] * ROUND, 22, "first"),  # the schedule has had a word since
        ([(15, "tested")], 60, None),
        ([(25, "no_answer")], 60, "other"),  # who knows: it may have run
        ([(3, "busy")], 60, None),
        ([(6, "busy")], 60, "first"),
        ([(600, "budget")], 60, None),
        ([(1441, "budget")], 60, "first"),
        ([(1450, "tested")] * MAX_A_DAY, 60, "first"),
        ([(100, "tested")] * MAX_A_DAY, 60, None),
        ([(100, "busy")] * MAX_TRIES_A_DAY, 60, None),
    ],
)
def test_a_few_after_each_test_of_the_schedule_apart_and_by_turns(
    asked: Sequence[tuple[float, str]], scheduled_min: float | None, server: str | None
) -> None:
    scheduled = None if scheduled_min is None else NOW - scheduled_min * MINUTE
    assert due_server([confirmation(*one) for one in asked], scheduled, NOW) == server


def status(agent: str = "nd-a", line: str = "ftth", leaning: bool = True, **more: object) -> LineStatus:
    judged = Judgement("uncertain", 5, 150.0, 100.0, leaning=leaning)
    samples = (Sample(NOW - 60 * MINUTE, 100.0), Sample(NOW - MINUTE, 100.0, asked="operator"))
    return LineStatus(row(LineId(agent, line)), dataclasses.replace(judged, **more), samples)  # type: ignore[arg-type]


def everybody(_: LineRow) -> bool:
    return True


def test_only_what_leans_is_tested_and_only_where_it_can_be() -> None:
    def chosen(status: LineStatus, may: bool = True) -> bool:
        return bool(choose([status], {}, NOW, lambda _: may))

    assert chosen(status())
    assert not chosen(status(leaning=False))
    assert not chosen(status(), may=False)


def test_one_at_a_time_of_a_unit_and_few_in_all_those_that_run_included() -> None:
    lines = [status("nd-a", "ftth"), status("nd-a", "4g"), *(status(f"nd-b-{n}") for n in range(20))]
    agents = [line.agent for line, _ in choose(lines, {}, NOW, everybody)]
    assert agents == ["nd-a", "nd-b-0", "nd-b-1", "nd-b-2"]
    running = {LineId(f"nd-b-{n}", "ftth"): [confirmation(1, "waiting")] for n in range(MAX_AT_ONCE - 1)}
    assert [one.line for one in choose(lines, running, NOW, everybody)] == [LineId("nd-a", "ftth")]


def test_what_became_of_it() -> None:
    one = confirmation(0, "waiting")
    command = Command(id=one.id, name="measure", expires=NOW)

    def after(found: SentCommand | None, minutes: float = 1) -> str:
        return outcome_of(one, found, NOW + minutes * MINUTE)

    def replied(ok: bool, error: str | None = None) -> SentCommand:
        return SentCommand("nd-a", command, NOW, "answered", Reply(id=one.id, agent="nd-a", ok=ok, error=error))

    assert after(replied(True)) == "tested"
    assert after(replied(False, "budget")) == "budget"
    assert after(SentCommand("nd-a", command, NOW, "undelivered")) == "undelivered"
    assert (after(None), after(None, 10)) == ("waiting", "no_answer")


class Day:
    """A line that leans all day, its unit, and a collector that is restarted on request."""

    def __init__(self, folder: Path) -> None:
        self.file, self.now, self.asked = folder / "confirm.json", NOW, list[Command]()
        self.scheduled = [NOW - 60 * MINUTE]
        self.error: str | None = None
        self.online, self.held = {"nd-a"}, set[str]()
        self.start()

    def start(self) -> None:
        self.commands = Commands(lambda: self.now)
        self.confirming = ConfirmationWorker(
            self.snapshot, self.commands, lambda: self.online, lambda _: lambda row: row.agent in self.held, self.file
        )

    def snapshot(self) -> Snapshot:
        leaning = dataclasses.replace(status(), samples=tuple(Sample(at, 100.0) for at in self.scheduled))
        return Snapshot(self.now, (leaning,))

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """The broker's side: the unit answers at once."""
        command = decode_command(payload)
        assert topic == "xomnet/v1/nd-a/cmd"
        self.asked.append(command)
        reply = Reply(id=command.id, agent="nd-a", ok=self.error is None, error=self.error)
        self.commands.on_reply("nd-a", encode(reply))
        return len(self.asked)

    def go_on(self, minutes: int, restart_every: int = 10_000) -> None:
        for minute in range(1, minutes + 1):
            self.confirming.step(self.now)
            if minute % restart_every == 0:
                self.start()
            self.commands.send(self)  # type: ignore[arg-type]
            self.now += MINUTE


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path)


def test_a_line_that_leans_is_tested_some_times_and_then_waits_for_the_schedule(day: Day) -> None:
    day.go_on(300)
    by_turns = [(CONFIRMATION, "ftth", "other" if n % 2 else None) for n in range(ROUND)]
    assert [(one.asked, one.line, one.server) for one in day.asked] == by_turns
    apart = [later.expires - earlier.expires for earlier, later in zip(day.asked, day.asked[1:], strict=False)]
    assert all(PACE.gap <= one <= PACE.gap + 2 * MINUTE for one in apart)
    day.scheduled.append(day.now)
    day.go_on(300)
    assert len(day.asked) == min(2 * ROUND, MAX_A_DAY)


def test_however_often_the_schedule_tests_a_day_has_an_end(day: Day) -> None:
    for _ in range(int(DAY / (180 * MINUTE))):
        day.scheduled.append(day.now)
        day.go_on(180)
    assert len(day.asked) == MAX_A_DAY


def test_a_restart_does_not_ask_again(day: Day) -> None:
    day.go_on(1)
    day.start()
    day.go_on(15)
    assert len(day.asked) == 1
    day.start()
    day.go_on(300, restart_every=7)
    assert len(day.asked) <= ROUND, "what was asked for just before a restart counts, whether it went out or not"


def test_a_unit_that_has_no_bytes_left_is_left_alone_for_a_day(day: Day) -> None:
    day.error = "budget"
    day.go_on(24 * 60 - 1)
    assert len(day.asked) == 1
    day.error = None
    day.go_on(30)
    assert len(day.asked) > 1


def test_a_unit_that_is_busy_is_asked_a_little_later(day: Day) -> None:
    day.error = "busy"
    day.go_on(6)
    day.error = None
    day.go_on(200)
    assert len(day.asked) == 2 + ROUND


def test_a_unit_that_is_away_is_not_asked_nor_a_line_that_is_worked_on(day: Day) -> None:
    day.online = set()
    day.go_on(60)
    day.online, day.held = {"nd-a"}, {"nd-a"}
    day.go_on(60)
    assert not day.asked


def test_a_line_that_people_said_is_worked_on_is_held_while_it_is(tmp_path: Path) -> None:
    book = AlertStore(tmp_path / "alerts.db")
    said = MaintenanceRequest(agent="nd-a", line="4g", until=NOW + 60 * MINUTE, by="Lan", why="a new mast")
    book.add_window(said, NOW)
    held = maintenance_at(book.windows)
    lines = [row(LineId("nd-a", "ftth")), row(LineId("nd-a", "4g")), row(LineId("nd-b", "4g"))]
    assert [held(NOW + MINUTE)(line) for line in lines] == [False, True, False]
    assert not held(NOW + 61 * MINUTE)(lines[1])
    book.close()


def test_a_damaged_memory_is_none(day: Day) -> None:
    day.file.write_text('{"nd-a/ftth": [{"id"')
    day.start()
    day.go_on(1)
    assert len(day.asked) == 1


def test_what_can_not_be_remembered_is_not_asked_for(day: Day) -> None:
    day.file.with_name("confirm.json.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        day.go_on(1)
    assert not day.asked
