"""The unit's loop: it does whatever is due, one job at a time, and commits every result to the spool.

One job at a time, since a latency probe beside a download would measure the download.
"""

import dataclasses
import datetime as dt
import random
import threading
import time
from collections.abc import Iterable
from functools import partial

from agent.clock.clock import ClockReading, ReadClock, rebase
from agent.clock.timestamps import best_estimate
from agent.control.command_queue import CommandQueue
from agent.control.handlers import run_pending, summarize
from agent.control.remote_config import RemoteConfig
from agent.delivery.permission import kept_permission
from agent.delivery.receipt import receipt_day
from agent.delivery.spool import Spool, SpoolError
from agent.errors import RequestRefused, ServersBusy
from agent.measure.health import read_health
from agent.measure.latency import Anchor, max_probe_s, parse_anchor, probe, server_anchors
from agent.measure.outage_watch import OutageWatches, spool_key
from agent.measure.runner import TestRequest, TestRunner
from agent.schedule import slots
from agent.schedule.line_state import LineState, line_states
from agent.schedule.quota.budget import BudgetError, DataBudget
from agent.schedule.quota.metering import Meter
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.commands import CONFIRMATION, Tested
from xomnet.contract.messages import Data, Event
from xomnet.contract.values import to_text
from xomnet.runtime.log import Log
from xomnet.targets import Targets

log = Log("agent.loop")

SUSPICIOUS_EVERY_S = 15.0
BUSY_TRIES = 3
IDLE_S = 30.0
"""The longest sleep: the wall clock may step, and slots are in wall time."""
RECEIPTS_CHECK_S = 60.0
MAX_TEST_S = 200.0


class AgentLoop:
    """Runs until `stop` is set. `alive_at` (time.monotonic()) moves while it works."""

    def __init__(
        self,
        settings: AgentSettings,
        spool: Spool,
        budget: DataBudget,
        targets: Targets,
        stop: threading.Event,
        read_clock: ReadClock,
        commands: CommandQueue | None = None,
        remote: RemoteConfig | None = None,
    ) -> None:
        self._read_clock = read_clock
        self._settings, self._spool, self._budget, self._targets, self._stop = settings, spool, budget, targets, stop
        self._commands = commands or CommandQueue(settings.agent, spool, settings.clock.assume_synced, read_clock)
        self._meter = Meter(settings, budget, clock=lambda _: self._best_time())
        self._watches = OutageWatches(spool)
        self._runner = self._new_runner()
        self._up_since = self._clock()
        self._clock_synced = True
        now = time.monotonic()
        self._health_at = self._receipts_at = now
        self._lines = line_states(settings, now)
        self.alive_at = now
        self.remote = remote
        if remote is not None:
            remote.on_change(self.apply)

    def apply(self, settings: AgentSettings) -> None:
        """Applies new settings, from the next job on; a line keeps its state."""
        now = time.monotonic()
        self._settings = self._meter.settings = settings
        self._runner = self._new_runner()
        self._lines = line_states(settings, now, self._lines)
        self._health_at = min(self._health_at, now + settings.health.every_s)

    def _new_runner(self) -> TestRunner:
        anchors = self._within_reach(parse_anchor(text) for text in self._settings.anchors)
        permission = partial(kept_permission, self._spool)
        return TestRunner(self._settings, anchors, self._meter, self._targets, self._stop, permission)

    def _within_reach(self, anchors: Iterable[Anchor]) -> tuple[Anchor, ...]:
        return tuple(dataclasses.replace(one, named_hosts=self._settings.servers_allowed) for one in anchors)

    def run(self) -> None:
        """Runs the loop until `stop` is set."""
        for line in self._lines:
            if line.settings.interface is None:
                log.warning("no interface named: port, Wi-Fi and other traffic go unchecked", line=line.settings.line)
        self.commit_opening_events()
        self._commit(Event(name="started"), None)
        while not self._stop.is_set():
            self.alive_at = time.monotonic()
            self._meter.charge()
            self._commit_spool_events()
            self._check_trial()
            run_pending(self, self._commands)
            waits = [
                self._do_health(),
                self._do_receipts(),
                IDLE_S if self.remote is None else self.remote.next_check_s(),
            ]
            for line in self._lines:
                for do in (self._do_latency, self._do_speed):
                    waits.append(do(line))
                    self.alive_at = time.monotonic()
                line.test_at = self.alive_at + waits[-1]
            self._commands.wait(max(0.0, min(IDLE_S, *waits)))
        self._meter.charge()
        self._meter.save()

    def _clock(self) -> ClockReading:
        return self._read_clock(self._settings.clock.assume_synced)

    def _best_time(self) -> ClockReading:
        """The clock now, corrected by the server's time if the kernel's clock is not synchronised."""
        return best_estimate(self._clock(), str(self._spool.boot), self._spool.times)

    @property
    def max_job_s(self) -> float:
        """The longest time in seconds between two moves of `alive_at`."""
        return max(MAX_TEST_S, max_probe_s(max(2, len(self._runner.anchors)), self._settings.latency))

    def commit_opening_events(self) -> None:
        """Commits what happened to the files of spool and budget when they were opened; call it once, after that."""
        self._commit_spool_events()
        if self._budget.reset_detail is not None:
            self._commit(Event(name="ledger_reset", detail=to_text(self._budget.reset_detail)), None)

    def _commit_spool_events(self) -> None:
        for event in self._spool.take_events():
            self._commit(event, None)

    def _check_trial(self) -> None:
        if self.remote is None:
            return
        hold_s = 0.0 if self._best_time().synced else self._settings.clock.hold_s
        if self.remote.check_trial(self._commands.last_contact_ns, hold_s):
            self._health_at = time.monotonic()
        self.remote.commit_events(lambda event: self._commit(event, None) is not None)

    def _commit(self, data: Data, line: str | None, reading: ClockReading | None = None) -> int | None:
        """Commits a result and returns its number; None if the disk refuses, and the unit goes on measuring."""
        reading = reading or self._clock()
        if reading.synced != self._clock_synced:
            self._clock_synced = reading.synced
            level = log.info if reading.synced else log.warning
            level("clock", synced=reading.synced, results="go out" if reading.synced else "wait until it is set")
        return self._to_spool(data, line, reading)

    def _to_spool(
        self,
        data: Data,
        line: str | None,
        reading: ClockReading,
        error_s: float | None = None,
        clear_key: str | None = None,
    ) -> int | None:
        try:
            return self._spool.commit(data, line, reading, error_s, clear_key)
        except SpoolError as error:
            log.error("result not kept", kind=type(data).__name__, line=line, reason=str(error))
            return None

    def commit_event(self, event: Event) -> None:
        """Commits an event of the unit."""
        self._commit(event, None)

    # Each `_do_…` does its work if it is due, and returns in how many seconds it is due again.

    def _do_health(self) -> float:
        now = time.monotonic()
        if now >= self._health_at:
            reading = self._clock()
            overrides = None if self.remote is None else self.remote.override_count()
            found = read_health(
                self._settings.state_dir, reading, self._spool.depth(), self._spool.size_bytes(), overrides
            )
            self._commit(found, None, reading)
            self._health_at = now + self._settings.health.every_s
        return self._health_at - now

    def _do_receipts(self) -> float:
        now = time.monotonic()
        if now >= self._receipts_at:
            self._receipts_at = now + RECEIPTS_CHECK_S
            now_best = self._best_time()
            try:
                self._spool.commit_receipts(
                    self._clock(), receipt_day(self._settings.agent, now_best.wall) if now_best.synced else None
                )
            except SpoolError as error:
                log.error("no manifest written", reason=str(error))
        return self._receipts_at - now

    def _do_latency(self, line: LineState) -> float:
        now = time.monotonic()
        servers = line.settings.servers or self._settings.servers
        anchors = self._runner.anchors or self._within_reach(server_anchors(servers))
        if not anchors or self._stop.is_set():
            return IDLE_S
        if now >= line.latency_at and self._budget_allows_echoes(line):
            reading = self._clock()
            found = probe(anchors, line.settings.interface, self._settings.latency)
            self._commit(found, line.settings.line, reading)
            ended = self._watches.after_probe(line.settings.line, found.received > 0, reading, found.anchors)
            if ended is not None:
                name = line.settings.line
                self._to_spool(ended.outage, name, ended.began, ended.error_s, spool_key(name))
            every = self._settings.latency.every_s
            suspicious = self._watches.watch_of(line.settings.line).suspicious
            line.latency_at = now + (min(SUSPICIOUS_EVERY_S, every) if suspicious else every)
        return max(line.latency_at - time.monotonic(), IDLE_S if line.budget_spent else 0.0)

    def _budget_allows_echoes(self, line: LineState) -> bool:
        reason = self._meter.echo_stop_reason(line.settings)
        if reason is not None and not line.budget_spent:
            log.warning("budget spent", line=line.settings.line, reason=reason)
            self._commit(Event(name="budget_spent", detail=reason), line.settings.line)
        line.budget_spent = reason is not None
        return not line.budget_spent

    def _do_speed(self, line: LineState) -> float:
        now = time.monotonic()
        if now < line.speed_at or self._stop.is_set():
            return line.speed_at - now
        planned = None if line.settings.every_s is not None else self._next_test(line)
        if planned is not None:
            wait_s = (planned.at - self._best_time().wall).total_seconds()
            if wait_s > 0:
                return wait_s
        defer_s = self._run_test(line, planned)
        if defer_s is not None:
            line.speed_at = time.monotonic() + defer_s
        elif line.settings.every_s is not None:
            line.speed_at = now + line.settings.every_s * random.uniform(0.9, 1.1)  # noqa: S311
        return line.speed_at - time.monotonic()

    def _next_test(self, line: LineState) -> slots.PlannedTest:
        done = self._budget.last_done_slot(line.settings.line)
        now = self._best_time()
        return slots.next_test(
            now.wall,
            rebase(self._up_since.boot_ns, now),  # after a power cut the clock is set long after the unit came up
            None if done is None else dt.datetime.fromisoformat(done),
            line.settings.is_metered,
            f"{self._settings.agent}/{line.settings.line}",
            self._settings.timezone,
        )

    def _run_test(self, line: LineState, planned: slots.PlannedTest | None) -> float | None:
        """Runs a scheduled test and commits its result; or defers it, and returns the seconds to wait."""
        settings, checks = line.settings, self._settings.precheck
        check = self._runner.check(settings, self._best_time().wall)
        if check.busy is not None and line.deferrals < checks.defer_times:
            line.deferrals += 1
            log.info("test deferred", line=settings.line, reason=check.busy, times=line.deferrals)
            return checks.defer_s
        reading = self._clock()
        try:
            with line.mark_testing():
                last_try = line.busy_tries >= BUSY_TRIES
                result = self._runner.measure(settings, check, reading.synced, planned, last_try)
        except ServersBusy as busy:
            line.busy_tries += 1
            log.info("test deferred", line=settings.line, reason=str(busy), times=line.busy_tries)
            return busy.retry_after_s * random.uniform(1.0, 1.3)  # noqa: S311
        if self._stop.is_set() and result.error == "cancelled":
            return None  # a test cut off by our own stop is none; its slot stays open
        self._commit(result, settings.line, reading)
        line.last_test = reading.wall, result
        line.deferrals = line.busy_tries = 0
        if planned is not None:
            self._finish_slot(line, planned)
        log.info("tested", line=settings.line, down_mbps=result.down_mbps, error=result.error, bytes=result.bytes)
        return None

    def _finish_slot(self, line: LineState, planned: slots.PlannedTest) -> None:
        try:
            self._budget.mark_done(line.settings.line, planned.slot.start.isoformat())
        except BudgetError as error:
            log.error("slot not noted", line=line.settings.line, reason=str(error))
            line.speed_at = time.monotonic() + 600  # the slot would have its test again and again

    @property
    def status_view(self) -> tuple[AgentSettings, tuple[LineState, ...], Meter]:
        """Settings, lines and bytes for the unit's status (agent.status.status); other threads may read them."""
        return self._settings, tuple(self._lines), self._meter

    # The commands' view (agent.control.handlers.CommandTarget). Commands do not change the schedule.

    @property
    def lines(self) -> list[LineSettings]:
        """The settings of the unit's lines."""
        return [line.settings for line in self._lines]

    def servers(self, line: LineSettings) -> tuple[str, ...]:
        """The measurement servers of a line."""
        return self._runner.servers(line)

    def run_requested_test(self, line: LineSettings, request: TestRequest) -> Tested:
        """Runs a test beside the schedule, now, and commits its result. Raises RequestRefused, also if the line or the
        unit is busy and the test is a confirmation.
        """
        self.alive_at = time.monotonic()
        check = self._runner.check(line, self._best_time().wall)
        if check.busy is not None and request.by == CONFIRMATION:
            raise RequestRefused("busy", check.busy)
        state = next(one for one in self._lines if one.settings.line == line.line)
        reading = self._clock()
        try:
            with state.mark_testing():
                result = self._runner.measure(line, check, reading.synced, last_try=False, request=request)
        except ServersBusy as busy:
            raise RequestRefused("server_busy", f"every measurement server is {busy}") from busy
        if self._stop.is_set() and result.error == "cancelled":
            raise RequestRefused("stopping", "the agent is being stopped")
        seq = self._commit(result, line.line, reading)
        state.last_test = reading.wall, result
        log.info("tested", line=line.line, asked=request.by, down_mbps=result.down_mbps, error=result.error)
        return summarize(line.line, result, self._spool.id, seq)

    def report(self) -> int:
        """Commits the unit's health; returns the number of results that wait."""
        self._health_at = time.monotonic()
        self._do_health()
        return self._spool.depth()
