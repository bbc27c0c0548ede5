"""One download test of a line, from the precheck to the data budget. The caller commits the result."""

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from agent.errors import RequestRefused
from agent.measure.download import download, wanted_bytes
from agent.measure.latency import Anchor
from agent.measure.precheck import Precheck, precheck
from agent.schedule import slots
from agent.schedule.quota.budget import BudgetError
from agent.schedule.quota.metering import DRAIN_S, Meter
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.messages import Flag, Speed
from xomnet.contract.values import to_text
from xomnet.targets import Targets


@dataclass(frozen=True, slots=True)
class TestRequest:
    """A test beside the schedule: who asks for it (Speed.asked), and whether another server than the first measures."""

    by: str
    other_server: bool = False


@dataclass(frozen=True, slots=True)
class TestRunner:
    """Runs tests with these settings; `stop` cancels a test."""

    settings: AgentSettings
    anchors: tuple[Anchor, ...]
    meter: Meter
    targets: Targets
    stop: threading.Event
    permission: Callable[[], str | None] = lambda: None
    """What the unit shows to measurement servers now."""

    def check(self, line: LineSettings, now: dt.datetime) -> Precheck:
        """Checks whether the loop is fit to measure this line now."""
        today = now.astimezone(self.settings.timezone).date()
        target = line.target_mbps or self.targets.down_mbps(line.access, today)
        checks = self.settings.precheck
        return precheck(line.interface, target, checks.cpu_busy_percent, checks.cross_traffic_mbps or 0.02 * target)

    def servers(self, line: LineSettings, request: TestRequest | None = None) -> tuple[str, ...]:
        """The line's measurement servers in the order in which they are tried."""
        servers = line.servers or self.settings.servers
        return servers[1:] + servers[:1] if request is not None and request.other_server else servers

    def measure(
        self,
        line: LineSettings,
        check: Precheck,
        synced: bool,
        planned: slots.PlannedTest | None = None,
        last_try: bool = True,
        request: TestRequest | None = None,
    ) -> Speed:
        """Runs a test; returns a result in any case, with flags, budget and request.

        Raises ServersBusy unless this is the `last_try`, and RequestRefused if the budget does not allow a requested
        test. A scheduled test that the budget does not allow is a result.
        """
        result = self._measure(line, check, planned, last_try, request)
        flags: list[Flag] = list(check.flags) + ([] if synced else ["clock_unsynced"])
        budget = line.budget_bytes
        return replace(
            result,
            flags=tuple(dict.fromkeys([*result.flags, *flags])),
            link_mbps=result.link_mbps or check.link_mbps,
            budget_bytes=budget,
            budget_used_bytes=None if budget is None else self.meter.used_bytes(line),
            asked=None if request is None else request.by,
        )

    def _measure(
        self,
        line: LineSettings,
        check: Precheck,
        planned: slots.PlannedTest | None,
        last_try: bool,
        request: TestRequest | None,
    ) -> Speed:
        """Reserves the bytes, measures, settles the reservation."""
        servers = self.servers(line, request)
        failed = Speed(engine=line.engine, server=servers[0] if servers else "", bytes=0)
        if check.broken is not None:
            error, detail = check.broken
            # An Ethernet port that is down is our cable or a box without power; a modem's may be the network's fault.
            ours: tuple[Flag, ...] = ("unit_fault",) if line.access == "fixed" else ()
            return replace(failed, error=error, error_detail=detail, flags=ours)
        allowed = self.meter.allowance(line, wanted_bytes(line), planned, None if request is None else request.by)
        if allowed.reason is not None:
            if request is not None:
                raise RequestRefused("budget", allowed.reason)
            return replace(failed, error="budget", error_detail=allowed.reason, flags=("budget_skip",))
        try:
            self.meter.reserve(line, allowed.max_bytes)
        except BudgetError as error:
            return replace(failed, error="ledger", error_detail=to_text(str(error)), flags=("unit_fault",))
        result = None
        try:
            result = download(
                line,
                servers,
                self.anchors,
                allowed.max_bytes,
                self.stop,
                full=planned is not None and planned.audit,
                last_try=last_try,
                cross_traffic_mbps=self.settings.precheck.cross_traffic_mbps,
                named_hosts=self.settings.servers_allowed,
                permission=self.permission(),
            )
        finally:
            self.stop.wait(DRAIN_S)
            self.meter.settle(line, result)
        return result
