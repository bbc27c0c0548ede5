"""What does the work that a check needs: the service, where it runs; else its own parts, while the check lasts.

Never a second connection in the unit's name: the broker would throw out the first, and results would wait.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from agent.clock.clock import boot_id, read_clock
from agent.delivery.instance_lock import lock_state_dir
from agent.delivery.spool import Spool
from agent.delivery.spool_file import machine_id
from agent.delivery.uplink import Uplink
from agent.loop import AgentLoop
from agent.measure.runner import TestRequest
from agent.schedule.quota.budget import DataBudget
from agent.settings import AgentSettings, LineSettings
from agent.status.client import RunningService, ServiceSilent
from agent.status.status import AgentStatus, status_source
from xomnet.contract.commands import OPERATOR, Tested
from xomnet.contract.messages import Event
from xomnet.targets import Targets


class Service(Protocol):
    """Raises ServiceSilent where it went away."""

    def status(self) -> AgentStatus: ...

    def report(self) -> None:
        """A result, now: the unit's health."""

    def measure(self, line: LineSettings) -> Tested:
        """One download test, kept as a result. Raises RequestRefused."""


class StandIn:
    """The parts of the service without its loop and its schedule."""

    def __init__(self, loop: AgentLoop, uplink: Uplink, spool: Spool) -> None:
        self._loop, self.status = loop, status_source(loop, uplink, spool, read_clock)

    def report(self) -> None:
        self._loop.report()

    def measure(self, line: LineSettings) -> Tested:
        return self._loop.run_requested_test(line, TestRequest(OPERATOR))


@contextmanager
def service(settings: AgentSettings, targets: Targets) -> Iterator[Service]:
    """The one that runs, else one made of its parts, which nobody else can start meanwhile.

    Raises AlreadyRunning (it runs and does not answer), SpoolError, BudgetError, OSError.
    """
    running = RunningService(settings.state_dir)
    try:
        running.status()
    except ServiceSilent:
        with stand_in(settings, targets) as made:
            yield made
    else:
        yield running


@contextmanager
def stand_in(settings: AgentSettings, targets: Targets) -> Iterator[StandIn]:
    """Holds the state folder's lock, and reports to the collector as the service would."""
    with lock_state_dir(settings.state_dir):
        spool = Spool(
            settings.state_dir / "spool.db", settings.agent, boot_id(), int(settings.spool.max_mb * 1e6), machine_id()
        )
        budget = DataBudget(settings.state_dir / "ledger.json")
        clock = settings.clock
        uplink = Uplink(settings.broker, settings.agent, spool, clock.hold_s, clock.assume_synced, read_clock)
        stop = threading.Event()
        loop = AgentLoop(settings, spool, budget, targets, stop, read_clock)
        for event in spool.take_events():  # whoever opens the file hears what happened to it
            loop.commit_event(event)
        if budget.reset_detail is not None:
            loop.commit_event(Event(name="ledger_reset", detail=budget.reset_detail[:512]))
        uplink.start()
        try:
            yield StandIn(loop, uplink, spool)
        finally:
            stop.set()
            uplink.stop()
            spool.close()
