"""What a line may still move this month: the ledger, fed by the counters of the interfaces and by the clock.

The counters see every byte of a line: tests, also what was under way when they ended, echoes, messages, names, system
updates, and `xomnet measure`. Where they see less than a test received (loopback, a sandbox), an estimate counts.
"""

import datetime as dt
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from agent.clock.clock import ClockReading, ReadClock, boot_id
from agent.net.counters import Counters, of_line, read_counters
from agent.schedule import slots
from agent.schedule.budget import RESERVE_FACTOR, SAVE_BYTES, Allowance, BudgetError, DataBudget, allow
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.commands import CONFIRMATION
from xomnet.contract.messages import Speed
from xomnet.runtime.log import Log

log = Log("agent.schedule.metering")

WIRE_FACTOR = 1.065
"""Bytes both ways for each byte of TCP payload: 1500 of IP, 1514 of Ethernet, for 1448; 52 or 66 of an acknowledgement
for every two. With what is under way, within 1.5 % on the laboratory's links of 5 to 150 Mb/s.
"""
DRAIN_S = 1.0
"""After a test: what was under way when it ended arrives by then."""
SAVE_EVERY_S = 3600.0
"""Sooner where much was moved. A file replaced whole costs a card four pages, and what a power cut loses is charged."""
ECHO_BYTES = 450
"""Of one round trip to an anchor: a TCP connect and its end; an ICMP echo takes 200."""
RESULT_BYTES = 2_500
"""Of one result on its way: the message, its acknowledgements, TLS and TCP."""
IDLE_DAY_BYTES = 500_000
"""Keepalives of MQTT, time, names."""
DAY_S = 86_400.0
CONFIRMATIONS_LEAVE = 0.8
"""Of the schedule's tests: without so many the month has no verdict, whatever was confirmed."""


@dataclass(frozen=True, slots=True)
class Background:
    """Bytes a day of a line beside its tests. Generous: what is not needed is free for tests as the month goes by."""

    echoes: float
    messages: float


def background(settings: AgentSettings) -> Background:
    """What these settings make of it."""
    rounds = DAY_S / settings.latency.every_s
    anchors = len(settings.anchors) or 2
    results = rounds * len(settings.lines) + DAY_S / settings.health.every_s
    return Background(rounds * anchors * settings.latency.echoes * ECHO_BYTES, results * RESULT_BYTES + IDLE_DAY_BYTES)


def wire_bytes(result: Speed) -> int | None:
    """About what a test moved: its payload, and what was under way when it ended (the rate times the round trip under
    load). None where a program failed that does not say what it has moved.
    """
    if result.error is not None and result.engine == "speedtest-cli":
        return None
    under_way = (result.down_mbps or 0.0) * 125.0 * (result.rtt_loaded_ms or 0.0)
    return int(((result.bytes or 0) + under_way) * WIRE_FACTOR)


class Meter:
    """Reads clock and counters, charges the ledger, and says what may run."""

    def __init__(
        self,
        settings: AgentSettings,
        ledger: DataBudget,
        clock: ReadClock,
        boot: UUID | None = None,
        counters: Callable[[], Counters] = read_counters,
    ) -> None:
        self.settings = settings
        self._ledger, self._boot = ledger, str(boot or boot_id())
        self._read_clock, self._read_counters = clock, counters
        self._save_at = 0.0
        self._failing = False

    def look(self) -> None:
        """Charges what was moved since the last look; on disk after some minutes, at once where it is much."""
        self._charge()
        much = self._ledger.unsaved_bytes >= SAVE_BYTES / 2 and not self._failing
        if much or time.monotonic() >= self._save_at:
            self.save()

    def _charge(self) -> dict[str, int | None]:
        clock = self._clock()
        month = clock.wall.astimezone(self.settings.timezone).strftime("%Y-%m") if clock.synced else None
        lines = {line.line: line.interface for line in self.settings.lines}
        return self._ledger.look(month, self._boot, self._read_counters(), lines)

    def save(self) -> None:
        """Writes the ledger; where the disk refuses, says so and goes on counting."""
        self._save_at = time.monotonic() + SAVE_EVERY_S
        try:
            self._ledger.save()
            self._failing = False
        except BudgetError as error:
            self._failing = True
            log.error("bytes not written down", reason=str(error))

    def used(self, line: LineSettings) -> int:
        """Bytes of this month, as far as a message can carry them."""
        return min(self._ledger.used(line.line), 2**53)

    def allowance(
        self, line: LineSettings, wanted_bytes: int, planned: slots.Planned | None, asked: str | None = None
    ) -> Allowance:
        """What a test that wants `wanted_bytes` of payload may move now. A test that was `asked` for beside
        the schedule (Speed.asked) leaves the peak tests theirs as well, and a confirmation what the verdict of the
        month needs.
        """
        self._charge()
        now = self._now()
        by_slots = planned is not None or (asked is not None and line.every_s is None)
        kept = slots.peak_tests_left(now, line.is_metered, self.settings.timezone) if by_slots else 0
        if asked == CONFIRMATION:
            kept = math.ceil(kept / slots.PEAK_SHARE * CONFIRMATIONS_LEAVE)
        day = background(self.settings)
        held_back = int((day.echoes + day.messages) * slots.days_left(now, self.settings.timezone))
        peak = planned is not None and planned.slot.peak
        return allow(self._ledger.used(line.line), line.budget_bytes, wanted_bytes, peak, kept, held_back)

    def reserve(self, line: LineSettings, max_bytes: int) -> None:
        """Before a test. Raises BudgetError: then it must not run."""
        self._ledger.reserve(line.line, int(max_bytes * RESERVE_FACTOR))

    def settle(self, line: LineSettings, result: Speed | None) -> None:
        """After a test: what was counted takes the place of what was reserved. `result` is None where none was made."""
        counted = self._charge().get(line.line)
        received = 0 if result is None else result.bytes or 0
        uncounted: int | None = 0
        if counted is None:
            uncounted = None
        elif result is not None and (counted < received or not of_line(self._read_counters(), line.interface)):
            estimate = wire_bytes(result)
            uncounted = None if estimate is None else max(0, estimate - counted)
        try:
            self._ledger.settle(line.line, uncounted)
        except BudgetError as error:
            log.error("bytes not settled, the reservation stays", line=line.line, reason=str(error))

    def spent(self, line: LineSettings) -> str | None:
        """Why echoes must stop too: what is left is wanted for messages. None while they may go on."""
        if line.budget_bytes is None:
            return None
        needed = background(self.settings).messages * slots.days_left(self._now(), self.settings.timezone)
        used = self._ledger.used(line.line)
        if used + needed <= line.budget_bytes:
            return None
        return f"{min(used, line.budget_bytes)} of {line.budget_bytes} bytes: no latency until next month"

    def _clock(self) -> ClockReading:
        return self._read_clock(self.settings.clock.assume_synced)

    def _now(self) -> dt.datetime | None:
        clock = self._clock()
        return clock.wall if clock.synced else None
