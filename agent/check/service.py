"""The service for a check: the running one, or else its parts, started for as long as the check takes.

Never a second connection in the unit's name: the broker would throw out the first, and results would wait.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from agent.clock.clock import read_clock
from agent.delivery.instance_lock import lock_state_dir
from agent.delivery.spool import Spool, open_spool
from agent.delivery.uplink import Uplink
from agent.loop import AgentLoop
from agent.measure.runner import TestRequest
from agent.schedule.quota.budget import open_budget
from agent.settings import AgentSettings, LineSettings
from agent.status.client import RunningService, ServiceSilent
from agent.status.status import AgentStatus, status_source
from xomnet.contract.commands import OPERATOR, Tested
from xomnet.targets import Targets


class Service(Protocol):
    """The service, as checks use it. Methods raise ServiceSilent if it went away."""

    def status(self) -> AgentStatus: ...

    def report(self) -> None:
        """Commits a result now: the unit's health."""

    def measure(self, line: LineSettings) -> Tested:
        """Runs one download test and commits its result. Raises RequestRefused."""


class StandIn:
    """The parts of the service without its loop and its schedule."""

    def __init__(self, loop: AgentLoop, uplink: Uplink, spool: Spool) -> None:
        self._loop, self.status = loop, status_source(loop, uplink, spool, read_clock)

    def report(self) -> None:
        self._loop.report()

    def measure(self, line: LineSettings) -> Tested:
        return self._loop.run_requested_test(line, TestRequest(OPERATOR))


@contextmanager
def open_service(settings: AgentSettings, targets: Targets) -> Iterator[Service]:
    """The running service, or one made of its parts; meanwhile no other can start.

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
        spool = open_spool(settings)
        budget = open_budget(settings.state_dir)
        clock = settings.clock
        uplink = Uplink(settings.broker, settings.agent, spool, clock.hold_s, clock.assume_synced, read_clock)
        stop = threading.Event()
        loop = AgentLoop(settings, spool, budget, targets, stop, read_clock)
        loop.commit_opening_events()
        uplink.start()
        try:
            yield StandIn(loop, uplink, spool)
        finally:
            stop.set()
            uplink.stop()
            spool.close()
