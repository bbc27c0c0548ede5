"""Metering: the data budget, fed by the counters of the interfaces and by the clock.

The counters see every byte of a line: tests, also what was under way when they ended, echoes, messages, names, system
updates, and `xomnet measure`. If they see less than a test received (loopback, a sandbox), an estimate is charged.
"""

import datetime as dt
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from agent.clock.clock import ClockReading, ReadClock, boot_id
from agent.engines import ENGINES
from agent.net.counters import Counters, line_counters, read_counters
from agent.schedule import slots
from agent.schedule.quota.budget import RESERVE_FACTOR, SAVE_BYTES, Allowance, BudgetError, DataBudget, allowance
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.commands import CONFIRMATION
from xomnet.contract.messages import Speed
from xomnet.contract.values import MAX_COUNT
from xomnet.plan import day_plan
from xomnet.runtime.log import Log

log = Log("agent.schedule.quota.metering")

WIRE_FACTOR = 1.065
"""Bytes both ways for each byte of TCP payload: 1500 of IP, 1514 of Ethernet, for 1448 of payload; 52 or 66 of an
acknowledgement for every two packets. With the bytes under way, within 1.5% on the laboratory's links of 5 to 150 Mb/s.
"""
DRAIN_S = 1.0
"""The time after a test within which the bytes that were under way arrive."""
SAVE_EVERY_S = 3600.0
"""Sooner if much was moved. Each replacement of the file costs four pages; what a power cut loses is charged."""
ECHO_BYTES = 450
"""A round trip to an anchor: a TCP connect and its close. An ICMP echo takes 200."""
RESULT_BYTES = 2_500
"""A result that is delivered: the message, its acknowledgements, TLS and TCP."""
IDLE_DAY_BYTES = 500_000
"""Keepalives of MQTT, time, names."""
DAY_S = 86_400.0
CONFIRMATION_RESERVE = 0.8
"""Share of the scheduled tests that confirmations must leave: with fewer the month has no verdict."""


@dataclass(frozen=True, slots=True)
class BackgroundTraffic:
    """Bytes a day of a line beside its tests. Generous: what is not used becomes free for tests during the month."""

    echoes: float
    messages: float


def background_traffic(settings: AgentSettings) -> BackgroundTraffic:
    """The background traffic that these settings cause."""
    rounds = DAY_S / settings.latency.every_s
    anchors = len(settings.anchors) or 2
    results = rounds * len(settings.lines) + DAY_S / settings.health.every_s
    return BackgroundTraffic(
        rounds * anchors * settings.latency.echoes * ECHO_BYTES, results * RESULT_BYTES + IDLE_DAY_BYTES
    )


def wire_bytes(result: Speed) -> int:
    """An estimate of the bytes that a test moved: its payload, and the bytes under way when it ended (the rate times
    the loaded round trip).
    """
    under_way = (result.down_mbps or 0.0) * 125.0 * (result.rtt_loaded_ms or 0.0)
    return int(((result.bytes or 0) + under_way) * WIRE_FACTOR)


class Meter:
    """Reads clock and counters, charges the budget, and decides what may run."""

    def __init__(
        self,
        settings: AgentSettings,
        budget: DataBudget,
        clock: ReadClock,
        boot: UUID | None = None,
        counters: Callable[[], Counters] = read_counters,
    ) -> None:
        self.settings = settings
        self._budget, self._boot = budget, str(boot or boot_id())
        self._read_clock, self._read_counters = clock, counters
        self._save_at = 0.0
        self._failing = False

    def charge(self) -> None:
        """Charges what was moved since the last call; writes it once an hour, at once if it is much."""
        self._charge_counters()
        much = self._budget.unsaved_bytes >= SAVE_BYTES / 2 and not self._failing
        if much or time.monotonic() >= self._save_at:
            self.save()

    def _charge_counters(self) -> dict[str, int | None]:
        clock = self._clock()
        month = clock.wall.astimezone(self.settings.timezone).strftime("%Y-%m") if clock.synced else None
        lines = {line.line: line.interface for line in self.settings.lines}
        return self._budget.charge_counters(month, self._boot, self._read_counters(), lines)

    def save(self) -> None:
        """Writes the budget; if the disk refuses, logs it and goes on counting."""
        self._save_at = time.monotonic() + SAVE_EVERY_S
        try:
            self._budget.save()
            self._failing = False
        except BudgetError as error:
            self._failing = True
            log.error("bytes not written down", reason=str(error))

    def used_bytes(self, line: LineSettings) -> int:
        """Bytes of this month; MAX_COUNT, the most that a message can carry, if the count was lost."""
        return min(self._budget.used_bytes(line.line), MAX_COUNT)

    def allowance(
        self, line: LineSettings, wanted_bytes: int, planned: slots.PlannedTest | None, requested_by: str | None = None
    ) -> Allowance:
        """What a test of `wanted_bytes` of payload may receive now.

        A test beside the schedule (`requested_by`, as Speed.asked) leaves enough for the peak tests; a confirmation
        leaves enough for the tests that the month's verdict needs.
        """
        self._charge_counters()
        now = self._now()
        by_slots = planned is not None or (requested_by is not None and line.every_s is None)
        reserved_tests = slots.peak_tests_left(now, line.is_metered, self.settings.timezone) if by_slots else 0
        if requested_by == CONFIRMATION:
            plan = day_plan(line.is_metered)
            reserved_tests = math.ceil(reserved_tests * plan.tests / plan.peak_tests * CONFIRMATION_RESERVE)
        daily = background_traffic(self.settings)
        background_bytes = int((daily.echoes + daily.messages) * slots.days_left(now, self.settings.timezone))
        peak = planned is not None and planned.slot.peak
        return allowance(
            self._budget.used_bytes(line.line), line.budget_bytes, wanted_bytes, peak, reserved_tests, background_bytes
        )

    def reserve(self, line: LineSettings, max_bytes: int) -> None:
        """Reserves the bytes of a test before it. Raises BudgetError: then the test must not run."""
        self._budget.reserve(line.line, int(max_bytes * RESERVE_FACTOR))

    def settle(self, line: LineSettings, result: Speed | None) -> None:
        """Replaces the reservation of a test by what was counted. `result` is None if the test raised an error."""
        counted = self._charge_counters().get(line.line)
        received = 0 if result is None else result.bytes or 0
        uncounted: int | None = 0
        if counted is None:
            uncounted = None
        elif result is not None and (counted < received or not line_counters(self._read_counters(), line.interface)):
            counts_bytes = result.error is None or ENGINES[line.engine].uncapped_bytes is None
            uncounted = max(0, wire_bytes(result) - counted) if counts_bytes else None
        try:
            self._budget.settle(line.line, uncounted)
        except BudgetError as error:
            log.error("bytes not settled, the reservation stays", line=line.line, reason=str(error))

    def echo_stop_reason(self, line: LineSettings) -> str | None:
        """Why echoes must stop too: the bytes that are left are needed for messages. None while echoes may go on."""
        if line.budget_bytes is None:
            return None
        needed = background_traffic(self.settings).messages * slots.days_left(self._now(), self.settings.timezone)
        used = self._budget.used_bytes(line.line)
        if used + needed <= line.budget_bytes:
            return None
        return f"{min(used, line.budget_bytes)} of {line.budget_bytes} bytes: no latency until next month"

    def _clock(self) -> ClockReading:
        return self._read_clock(self.settings.clock.assume_synced)

    def _now(self) -> dt.datetime | None:
        clock = self._clock()
        return clock.wall if clock.synced else None
