"""A year of a unit's life in seconds: whatever happens to it, no month of a line moves more than its budget.

The world keeps the true count of bytes; the unit has what a unit has: the real meter, ledger and schedule, the counters
of a port, and a clock that may be wrong.
"""

import datetime as dt
import random
import tempfile
from collections import Counter
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock.clock import ClockReading
from agent.measure.download import wanted_bytes
from agent.net.counters import Counters
from agent.schedule.quota.budget import RESERVE_FACTOR, SAVE_BYTES, DataBudget
from agent.schedule.quota.metering import Meter, background_traffic
from agent.schedule.slots import PlannedTest, next_test
from agent.settings import AgentSettings, LatencySettings, LineSettings
from xomnet.contract.messages import Speed
from xomnet.mqtt.broker import Broker

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
START = dt.datetime(2026, 1, 1, tzinfo=HANOI).astimezone(dt.UTC)
DAYS = 365
STEP = dt.timedelta(hours=8)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Crash(Exception):
    """The agent's process is gone."""


class World:
    """What truly happens: time, bytes, ports, boots, and what the clock on the wall makes of the time."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.now = START
        self.moved: Counter[str] = Counter()
        self.boot, self.up_since = 1, START
        self.offset, self.synced = dt.timedelta(0), True
        self.wrong_until = START
        self._rx = 0
        self.index = 5
        self.plug()

    def plug(self) -> None:
        """The port begins at 0."""
        self._rx = 0
        self.index += 1

    def move(self, bytes_: int) -> None:
        self._rx += bytes_
        self.moved[self.now.astimezone(HANOI).strftime("%Y-%m")] += bytes_

    def counters(self) -> Counters:
        return {"lo#1": (10**9, 10**9), f"wwan0#{self.index}": (self._rx, 0)}

    def power_cut(self) -> None:
        """After it the counters are new, and the clock says something until it is set."""
        self.boot += 1
        self.up_since = self.now
        self.index = 1  # and 2 for the port, at each boot
        self.plug()
        if self.dice.random() < 0.7:
            self.step_clock()

    def step_clock(self) -> None:
        wrong = (EPOCH - self.now, dt.timedelta(days=365), dt.timedelta(hours=-5), dt.timedelta(days=-40))
        self.offset, self.synced = self.dice.choice(wrong), False
        self.wrong_until = self.now + self.dice.choice((STEP, dt.timedelta(days=12))) * self.dice.random()

    def set_clock(self) -> None:
        self.offset, self.synced = dt.timedelta(0), True

    def clock(self, _assume_synced: bool) -> ClockReading:
        return ClockReading(self.now + self.offset, 0, self.synced)


class Life:
    """The unit in that world. `trouble` is how often a day something happens to it."""

    def __init__(self, folder: Path, seed: int, line: LineSettings, trouble: float) -> None:
        self.dice = random.Random(seed)
        self.world = World(self.dice)
        self.folder, self.line, self.trouble = folder, line, trouble
        self.settings = AgentSettings(
            agent="nd-a", state_dir=folder, broker=Broker(), lines=(line,), latency=LatencySettings(every_s=300)
        )
        self.done: Counter[bool] = Counter()
        self.refused: Counter[bool] = Counter()
        self.start()

    def start(self) -> None:
        self.ledger = DataBudget(self.folder / "ledger.json")
        world = self.world
        self.meter = Meter(self.settings, self.ledger, world.clock, UUID(int=world.boot), world.counters)
        self.meter.charge()

    def live(self) -> None:
        while self.world.now < START + dt.timedelta(days=DAYS):
            wall = self.world.now + self.world.offset
            done = self.ledger.last_done_slot("4g")
            planned = next_test(
                wall,
                self.world.up_since + self.world.offset,
                None if done is None else dt.datetime.fromisoformat(done),
                self.line.is_metered,
                "nd-a/4g",
                HANOI,
            )
            wait = max(dt.timedelta(0), planned.at - wall)
            self.pass_time(min(wait, STEP))
            if wait <= STEP:
                try:
                    self.test(planned)
                except Crash:
                    self.start()
            if not self.world.synced and self.world.now >= self.world.wrong_until:
                self.world.set_clock()
            if self.dice.random() < self.trouble / 6:
                self.something_happens()

    def test(self, planned: PlannedTest) -> None:
        allowed = self.meter.allowance(self.line, wanted_bytes(self.line), planned)
        peak = planned.slot.peak
        if allowed.reason is not None:
            self.refused[peak] += 1
        else:
            self.done[peak] += 1
            self.meter.reserve(self.line, allowed.max_bytes)
            self.meter.settle(self.line, self.download(allowed.max_bytes))
        self.ledger.mark_done("4g", planned.slot.start.isoformat())

    def download(self, max_bytes: int) -> Speed | None:
        """As the engines have promised: with all that is under way at its end it fits into its bytes."""
        payload = int(max_bytes * self.dice.choice((self.dice.random(), 1.0, 1.0)))
        wire = int(payload * self.dice.choice((1.03, RESERVE_FACTOR)))
        first = int(wire * self.dice.random())
        self.world.move(first)
        fate = self.dice.random()
        if fate < 0.02 * self.trouble:
            raise Crash
        if fate < 0.04 * self.trouble:
            self.world.power_cut()
            raise Crash
        if fate < 0.06 * self.trouble:
            self.world.plug()
            return Speed(engine="http", server="", bytes=int(first / RESERVE_FACTOR), error="interface_missing")
        self.world.move(wire - first)
        if self.line.engine == "speedtest-cli" and fate > 0.8:
            return Speed(engine="speedtest-cli", server="", bytes=0, error="timeout")
        return None if fate > 0.97 else Speed(engine="http", server="", down_mbps=20.0, bytes=payload)

    def pass_time(self, wait: dt.timedelta) -> None:
        """Echoes as long as the meter lets them, messages always. Never over the end of a true month at once."""
        local = self.world.now.astimezone(HANOI)
        next_month = (local.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(days=32)).replace(
            day=1
        )
        for end in sorted({min(self.world.now + wait, next_month.astimezone(dt.UTC)), self.world.now + wait}):
            day = background_traffic(self.settings)
            bytes_a_day = day.messages + (day.echoes if self.meter.echo_stop_reason(self.line) is None else 0)
            share = (end - self.world.now).total_seconds() / 86_400
            if end == next_month.astimezone(dt.UTC):
                self.world.now = end - dt.timedelta(seconds=1)
                self.move_in_background(bytes_a_day * share)
                self.world.now = end
            else:
                self.world.now = end
                self.move_in_background(bytes_a_day * share)

    def move_in_background(self, bytes_: float) -> None:
        self.world.move(int(bytes_ * self.dice.choice((self.dice.random(), 1.0, 1.0))))
        self.meter.charge()

    def something_happens(self) -> None:
        match self.dice.randrange(7):
            case 0:
                self.start()
            case 1 | 2:
                self.world.move(self.dice.randrange(SAVE_BYTES // 2))  # unseen
                self.world.power_cut()
                self.start()
            case 3:
                self.world.plug()
            case 4:
                self.world.step_clock()
            case 5:
                self.world.set_clock()
            case 6:
                self.world.now += dt.timedelta(days=5) * self.dice.random() ** 3  # no power
                self.world.power_cut()
                self.start()


LINES = {
    "a card of 5 GB": LineSettings(line="4g", access="mobile", interface="wwan0"),
    "a card of 1 GB": LineSettings(line="4g", access="mobile", interface="wwan0", budget_gb=1),
    "a port not named": LineSettings(line="4g", access="mobile", budget_gb=3),
    "fibre with a budget": LineSettings(line="4g", access="fixed", interface="wwan0", budget_gb=20),
    "speedtest-cli": LineSettings(line="4g", access="mobile", engine="speedtest-cli"),
}


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in LINES.items()])
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32))
def test_no_month_of_a_year_moves_more_than_its_budget_and_off_peak_goes_first(line: LineSettings, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # five thousand writes
        life = Life(Path(folder), seed, line, trouble=(2.0, 2.0, 0.0)[seed % 3])
        life.live()
    budget = line.budget_bytes
    assert budget is not None
    assert {month: moved for month, moved in life.world.moved.items() if moved > budget} == {}
    asked = {peak: life.done[peak] + life.refused[peak] for peak in (True, False)}
    assert sum(life.done.values()) > 30
    assert life.done[True] / asked[True] >= life.done[False] / asked[False]
