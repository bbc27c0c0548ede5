"""Which commands a unit accepts, what it remembers of them, and what it leaves for the schedule."""

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.clock.clock import ClockReading
from agent.control.command_queue import KEY, MAX_ACCEPTED, MAX_WAITING, CommandQueue, drop_expired, find_refusal
from agent.control.handlers import run_pending
from agent.control.identify import active_trigger, identify
from agent.delivery.spool import Spool
from agent.errors import RequestRefused, ServersBusy
from agent.loop import AgentLoop
from agent.measure import runner as tester_module
from agent.measure.precheck import Precheck
from agent.schedule.quota.budget import DataBudget
from agent.settings import AgentSettings, ClockSettings, LineSettings
from collector.commands.commands import Commands, TooManyCommands
from tests.support.clocks import clock_from
from xomnet.contract.commands import CONFIRMATION, OPERATOR, Command, Reply
from xomnet.contract.messages import Access, Speed, SpeedResult, decode_result, encode
from xomnet.defaults import config_file
from xomnet.mqtt.broker import Broker
from xomnet.targets import load_targets

NOW = dt.datetime(2026, 11, 22, 5, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def command(valid: dt.timedelta = MINUTE, **more: Any) -> Command:
    return Command(**{"id": uuid.uuid4(), "name": "measure", "expires": NOW + valid, **more})


def queue_of(spool: Spool) -> CommandQueue:
    return CommandQueue("nd-a", spool, assume_synced=True, read_clock=clock_from(NOW))


@pytest.mark.parametrize(
    ("valid", "synced", "error"),
    [
        (MINUTE, True, None),
        (60 * MINUTE, True, None),
        (0 * MINUTE, True, "expired"),
        (-1 * MINUTE, True, "expired"),
        (61 * MINUTE, True, "too_long"),
        (MINUTE, False, "clock_unknown"),
    ],
)
def test_a_command_is_accepted_in_its_time_by_a_unit_that_knows_the_time(
    valid: dt.timedelta, synced: bool, error: str | None
) -> None:
    refusal = find_refusal(command(valid), ClockReading(NOW, 0, synced), {})
    assert (refusal and refusal.error) == error


def test_ids_are_kept_while_they_could_come_again_up_to_a_bound() -> None:
    taken = {uuid.uuid4(): NOW + n * MINUTE for n in range(MAX_ACCEPTED)}
    reading = ClockReading(NOW, 0, True)
    assert (refusal := find_refusal(command(), reading, taken)) is not None
    assert refusal.error == "too_many"
    left = drop_expired(taken, reading)
    assert len(left) == MAX_ACCEPTED - 1
    assert find_refusal(command(), reading, left) is None
    assert drop_expired(taken, ClockReading(NOW + 100 * MINUTE, 0, False)) == taken, "who knows what time it is"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", "nd-a", UUID(int=1))
    yield opened
    opened.close()


def test_what_was_accepted_is_not_accepted_by_the_next_process(spool: Spool) -> None:
    one, two = command(), command()
    inbox = queue_of(spool)
    inbox.receive(encode(one))
    assert inbox.take() == one
    again = queue_of(spool)
    again.receive(encode(one))
    again.receive(encode(two))
    assert (again.take(), again.take()) == (two, None)
    assert not list(again.replies()), "the first answer stands"


def test_a_damaged_memory_is_no_reason_not_to_start(spool: Spool) -> None:
    spool.set_value(KEY, '{"x":')
    inbox = queue_of(spool)
    inbox.receive(encode(command()))
    assert inbox.take() is not None


def test_no_more_wait_than_can_be_done_soon(spool: Spool) -> None:
    inbox = queue_of(spool)
    for _ in range(MAX_WAITING + 1):
        inbox.receive(encode(command()))
    assert [reply.error for reply in inbox.replies()] == ["too_many"]


def test_what_waited_for_too_long_is_not_begun(spool: Spool) -> None:
    walls = iter((NOW, NOW + 2 * MINUTE))
    clock = lambda _: ClockReading(next(walls), 0, True)  # noqa: E731
    inbox = CommandQueue("nd-a", spool, assume_synced=True, read_clock=clock)
    inbox.receive(encode(command()))
    assert inbox.take() is None
    assert [reply.error for reply in inbox.replies()] == ["expired"]


def test_a_reply_that_could_not_be_sent_is_not_gone(spool: Spool) -> None:
    inbox = queue_of(spool)
    inbox.reply(Reply(id=uuid.uuid4(), agent="nd-a", ok=True))
    next(inbox.replies())  # the connection broke
    assert len(list(inbox.replies())) == 1
    assert not list(inbox.replies())


class Bench:
    """A unit with one line whose downloads are a word from us: what is tested is what is around them."""

    check = Precheck()
    fails: Exception | None = None

    def __init__(
        self, folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, access: Access, **line: Any
    ) -> None:
        monkeypatch.setattr(tester_module, "precheck", lambda *_: self.check)
        monkeypatch.setattr(tester_module, "download", self._download)
        monkeypatch.setattr(tester_module, "DRAIN_S", 0)
        self.tried: list[tuple[str, ...]] = []
        settings = AgentSettings(
            agent="nd-a",
            state_dir=folder,
            broker=Broker(),
            lines=(LineSettings(line="one", access=access, interface="lo", **line),),
            servers=("http://one/", "http://two/"),
            clock=ClockSettings(assume_synced=True),
        )
        self.spool, self.ledger = spool, DataBudget(folder / "ledger.json")
        self.inbox = queue_of(spool)
        targets = load_targets(config_file("targets.yaml"))
        self.unit = AgentLoop(settings, spool, self.ledger, targets, threading.Event(), clock_from(NOW), self.inbox)

    def _download(self, line: LineSettings, servers: tuple[str, ...], *_: Any, **__: Any) -> Speed:
        self.tried.append(servers)
        if self.fails is not None:
            raise self.fails
        return Speed(engine="http", server=servers[0], down_mbps=50.0, bytes=1000)

    def ask(self, **more: Any) -> Reply:
        self.inbox.receive(encode(command(**more)))
        run_pending(self.unit, self.inbox)
        (reply,) = self.inbox.replies()
        return reply

    def stored(self) -> list[SpeedResult]:
        found = [decode_result(one.payload) for one in self.spool.pending(50, self.unit._clock(), 1)]
        return [one for one in found if isinstance(one, SpeedResult)]


@pytest.fixture
def bench(tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, spool, monkeypatch, "fixed")


def test_a_test_that_was_asked_for_is_a_result_with_the_asker_and_no_slot(bench: Bench) -> None:
    reply = bench.ask(asked=CONFIRMATION, server="other")
    (found,) = bench.stored()
    assert (found.data.asked, found.data.server) == (CONFIRMATION, "http://two/")
    assert [(test.seq, test.spool, test.down_mbps) for test in reply.tested] == [(found.seq, found.spool, 50.0)]
    assert bench.tried == [("http://two/", "http://one/")]
    assert bench.ledger.last_done_slot("one") is None


def test_where_there_is_one_server_it_measures_and_the_answer_says_so(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, spool, monkeypatch, "fixed", servers=("http://one/",))
    reply = bench.ask(server="other")
    assert (reply.ok, reply.tested[0].server) == (True, "http://one/")
    assert reply.detail is not None
    assert "no other" in reply.detail


def test_a_confirmation_waits_for_a_quiet_moment_an_operator_does_not(bench: Bench) -> None:
    bench.check = Precheck(("cross_traffic",), "others use the line", None)
    refusal = bench.ask(asked=CONFIRMATION)
    assert (refusal.ok, refusal.error, bench.tried) == (False, "busy", [])
    assert bench.ask().tested[0].flags == ("cross_traffic",)


def test_busy_servers_are_a_refusal_and_no_result(bench: Bench) -> None:
    bench.fails = ServersBusy(30)
    assert bench.ask().error == "server_busy"
    assert not bench.stored()


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(OPERATOR, 60), (CONFIRMATION, 96)],  # of 120 of the schedule: those of the peak hours; what a verdict needs
)
def test_the_schedule_keeps_its_bytes(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, asked: str, kept: int
) -> None:
    monkeypatch.setattr("agent.schedule.quota.metering.slots.peak_tests_left", lambda *_: 60)
    monkeypatch.setattr("agent.schedule.quota.metering.slots.days_left", lambda *_: 0.0)
    enough, too_little = (kept + 1) * 44_000_000, kept * 44_000_000
    refusal = Bench(tmp_path, spool, monkeypatch, "mobile", budget_gb=too_little / 1e9).ask(asked=asked)
    assert (refusal.ok, refusal.error) == (False, "budget")
    assert f"kept for {kept} of the schedule" in (refusal.detail or "")
    (tmp_path / "b").mkdir()
    assert Bench(tmp_path / "b", spool, monkeypatch, "mobile", budget_gb=(enough + 1e6) / 1e9).ask(asked=asked).ok


def test_the_led_blinks_for_a_while_and_shows_again_what_it_showed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Callable[[], None]] = []

    class Timer(threading.Thread):
        def __init__(self, _: float, end: Callable[[], None]) -> None:
            super().__init__(target=lambda: later.append(end), daemon=True)

    monkeypatch.setattr("agent.control.identify.threading.Timer", Timer)
    led = tmp_path / "ACT"
    led.mkdir()
    trigger = led / "trigger"
    trigger.write_text("none usb-gadget [mmc0] timer")
    assert "ACT" in identify(tmp_path)
    assert trigger.read_text() == "timer"
    assert "already" in identify(tmp_path)
    while not later:
        time.sleep(0.01)
    later.pop()()
    assert (trigger.read_text(), active_trigger("none")) == ("mmc0", "none")
    with pytest.raises(RequestRefused, match="no LED"):
        identify(tmp_path / "nowhere")


class Wire:
    """The broker's side of a connection: what was published, by packet id."""

    generation = 1

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        self.sent.append((topic, payload))
        return len(self.sent)


class Clock:
    later = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return NOW + self.later


@pytest.fixture
def wire() -> Any:
    return Wire()


def test_an_answer_is_matched_by_id_and_by_the_unit_that_gave_it(wire: Any) -> None:
    commands = Commands(lambda: NOW)
    asked = commands.ask("nd-a", "report")
    commands.send(wire)
    assert wire.sent[0][0] == "xomnet/v1/nd-a/cmd"
    reply = Reply(id=asked.command.id, agent="nd-a", ok=True)
    commands.on_reply("nd-b", encode(reply))
    commands.on_reply("nd-b", encode(Reply(id=asked.command.id, agent="nd-b", ok=True)))
    commands.on_reply("nd-a", b"{")
    assert (found := commands.get(asked.command.id)) is not None
    assert found.outcome == "waiting"
    commands.on_reply("nd-a", encode(reply))
    assert (found := commands.get(asked.command.id)) is not None
    assert (found.outcome, found.reply) == ("answered", reply)


def test_who_gives_no_answer_is_given_up_and_a_late_one_still_counts(wire: Any) -> None:
    clock = Clock()
    commands = Commands(clock)
    asked = commands.ask("nd-a", "measure")
    commands.send(wire)
    clock.later = dt.timedelta(minutes=3)
    assert (found := commands.get(asked.command.id)) is not None
    assert found.outcome == "no_answer"
    commands.on_reply("nd-a", encode(Reply(id=asked.command.id, agent="nd-a", ok=True)))
    assert (found := commands.get(asked.command.id)) is not None
    assert found.outcome == "answered"


def test_a_command_to_nobody_is_not_waited_for_and_one_that_is_too_late_not_sent(wire: Any) -> None:
    clock = Clock()
    commands = Commands(clock)
    heard, unheard = commands.ask("nd-a", "report"), commands.ask("nd-b", "report")
    commands.send(wire)
    commands.on_published(1, None)
    commands.on_published(2, "No matching subscribers")
    late = commands.ask("nd-a", "report")
    clock.later = dt.timedelta(minutes=1)
    commands.send(wire)
    outcomes = [found.outcome for one in (heard, unheard, late) if (found := commands.get(one.command.id))]
    assert (outcomes, len(wire.sent)) == (["waiting", "undelivered", "undelivered"], 2)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.commands.commands.MAX_WAITING", 3)
    commands = Commands(lambda: NOW)
    for _ in range(3):
        commands.ask("nd-a", "report")
    with pytest.raises(TooManyCommands):
        commands.ask("nd-a", "report")


def test_a_connection_that_breaks_keeps_what_it_had_to_send() -> None:
    commands = Commands(lambda: NOW)
    commands.ask("nd-a", "report")

    class Broken(Wire):
        def publish(self, *_: Any, **__: Any) -> int:
            raise ConnectionError

    broken: Any = Broken()
    whole: Any = Wire()
    with pytest.raises(ConnectionError):
        commands.send(broken)
    commands.send(whole)
    assert len(whole.sent) == 1
