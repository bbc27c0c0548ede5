"""One download test of a line, from the precheck to the ledger. Keeping its result is up to who wants it."""

import datetime as dt
import threading
from dataclasses import dataclass

from msgspec.structs import replace

from agent.errors import RequestRefused
from agent.measure.download import download, wanted_bytes
from agent.measure.latency import Anchor
from agent.measure.precheck import Precheck, precheck
from agent.schedule import slots
from agent.schedule.budget import BudgetError
from agent.schedule.metering import DRAIN_S, Meter
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.messages import Flag, Speed
from xomnet.targets import Targets


@dataclass(frozen=True, slots=True)
class TestRequest:
    """A test beside the schedule: by whom (Speed.asked), and whether by another server than the first one."""

    by: str
    other_server: bool = False


@dataclass(frozen=True, slots=True)
class TestRunner:
    """Measures as these settings say; `stop` cuts a test off."""

    settings: AgentSettings
    anchors: tuple[Anchor, ...]
    meter: Meter
    targets: Targets
    stop: threading.Event

    def check(self, line: LineSettings, now: dt.datetime) -> Precheck:
        """What speaks against a test of this line now."""
        today = now.astimezone(self.settings.timezone).date()
        target = line.target_mbps or self.targets.down_mbps(line.access, today)
        checks = self.settings.precheck
        return precheck(line.interface, target, checks.cpu_busy_percent, checks.cross_traffic_mbps or 0.02 * target)

    def servers(self, line: LineSettings, asked: TestRequest | None = None) -> tuple[str, ...]:
        """In the order in which they are tried."""
        servers = line.servers or self.settings.servers
        return servers[1:] + servers[:1] if asked is not None and asked.other_server else servers

    def measure(
        self,
        line: LineSettings,
        check: Precheck,
        synced: bool,
        planned: slots.Planned | None = None,
        last_try: bool = True,
        asked: TestRequest | None = None,
    ) -> Speed:
        """A result in any case, whatever came of it, with all that belongs to it.

        Raises AllBusy unless this is the `last_try`. A test that was asked for and that the budget does not allow is
        no result: raises RequestRefused.
        """
        result = self._measure(line, check, planned, last_try, asked)
        flags: list[Flag] = list(check.flags) + ([] if synced else ["clock_unsynced"])
        budget = line.budget_bytes
        return replace(
            result,
            flags=tuple(dict.fromkeys([*result.flags, *flags])),
            link_mbps=result.link_mbps or check.link_mbps,
            budget_bytes=budget,
            budget_used_bytes=None if budget is None else self.meter.used(line),
            asked=None if asked is None else asked.by,
        )

    def _measure(
        self,
        line: LineSettings,
        check: Precheck,
        planned: slots.Planned | None,
        last_try: bool,
        asked: TestRequest | None,
    ) -> Speed:
        """Reserves the bytes, measures, settles."""
        servers = self.servers(line, asked)
        failed = Speed(engine=line.engine, server=servers[0] if servers else "", bytes=0)
        if check.broken is not None:
            error, detail = check.broken
            # A dark Ethernet port is a cable or a box without power on our side; a modem's is the network's as well.
            ours: tuple[Flag, ...] = ("unit_fault",) if line.access == "fixed" else ()
            return replace(failed, error=error, error_detail=detail, flags=ours)
        allowed = self.meter.allowance(line, wanted_bytes(line), planned, None if asked is None else asked.by)
        if allowed.reason is not None:
            if asked is not None:
                raise RequestRefused("budget", allowed.reason)
            return replace(failed, error="budget", error_detail=allowed.reason, flags=("budget_skip",))
        try:
            self.meter.reserve(line, allowed.max_bytes)
        except BudgetError as error:
            return replace(failed, error="ledger", error_detail=str(error)[:512], flags=("unit_fault",))
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
            )
        finally:
            self.stop.wait(DRAIN_S)
            self.meter.settle(line, result)
        return result
