"""What does the work that a check needs: the service, where it runs; else its own parts, while the check lasts.

Never a second connection in the unit's name: the broker would throw out the first, and results would wait.
"""

import http.client
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from agent.clock.clock import boot_id
from agent.delivery.instance_lock import only_one
from agent.delivery.spool import Spool
from agent.delivery.spool_file import machine
from agent.delivery.uplink import Uplink
from agent.errors import RequestRefused
from agent.loop import AgentLoop
from agent.measure.runner import TestRequest
from agent.schedule.budget import DataBudget
from agent.settings import AgentSettings, LineSettings
from agent.status.server import SOCKET
from agent.status.status import AgentStatus, status_source
from xomnet.contract.commands import OPERATOR, Command, CommandName, Reply, Tested
from xomnet.contract.messages import Event
from xomnet.targets import Targets

T = TypeVar("T")

ASK_S = 10.0
REPORT_S, MEASURE_S = 60.0, 240.0
"""It may be in the middle of a test of its own."""


class ServiceSilent(Exception):
    """The service does not answer; the text says why."""


class Service(Protocol):
    """Raises ServiceSilent where it went away."""

    def status(self) -> AgentStatus: ...

    def report(self) -> None:
        """A result, now: the unit's health."""

    def measure(self, line: LineSettings) -> Tested:
        """One download test, kept as a result. Raises RequestRefused."""


class RunningService:
    """The service of this state folder, asked through its socket."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def status(self) -> AgentStatus:
        return _typed(self._asked("GET", "/status.json", b"", ASK_S), AgentStatus)

    def report(self) -> None:
        self._order("report", None, REPORT_S)

    def measure(self, line: LineSettings) -> Tested:
        return self._order("measure", line.line, MEASURE_S).tested[0]

    def _order(self, name: CommandName, line: str | None, limit_s: float) -> Reply:
        wanted = Command(id=uuid.uuid4(), name=name, line=line, expires=datetime.now(UTC) + timedelta(seconds=limit_s))
        reply = _typed(self._asked("POST", "/ask", msgspec.json.encode(wanted), limit_s + ASK_S), Reply)
        if not reply.ok:
            raise RequestRefused(reply.error or "refused", reply.detail or "no reason given")
        return reply

    def _asked(self, method: str, path: str, body: bytes, limit_s: float) -> bytes:
        connection = _Local(self._state_dir, limit_s)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceSilent(f"{self._state_dir / SOCKET}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ServiceSilent(text.decode(errors="replace").strip())
        return text


class _Local(http.client.HTTPConnection):
    """HTTP over the socket in the state folder."""

    def __init__(self, state_dir: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._state_dir, self._limit_s = state_dir, timeout_s

    def connect(self) -> None:
        folder = os.open(self._state_dir, os.O_PATH | os.O_DIRECTORY)  # the path may be longer than an address can be
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self._limit_s)
            self.sock.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)


def _typed(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ServiceSilent(f"a service of another version answers: {error}; restart it") from error


class StandIn:
    """The parts of the service without its loop and its schedule."""

    def __init__(self, unit: AgentLoop, uplink: Uplink, spool: Spool) -> None:
        self._unit, self.status = unit, status_source(unit, uplink, spool)

    def report(self) -> None:
        self._unit.report()

    def measure(self, line: LineSettings) -> Tested:
        return self._unit.test_asked(line, TestRequest(OPERATOR))


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
    with only_one(settings.state_dir):
        spool = Spool(
            settings.state_dir / "spool.db", settings.agent, boot_id(), int(settings.spool.max_mb * 1e6), machine()
        )
        ledger = DataBudget(settings.state_dir / "ledger.json")
        uplink = Uplink(settings.broker, settings.agent, spool, settings.clock.hold_s, settings.clock.assume_synced)
        stop = threading.Event()
        unit = AgentLoop(settings, spool, ledger, targets, stop)
        for event in spool.take_news():  # whoever opens the file hears what befell it
            unit.note(event)
        if ledger.reset_detail is not None:
            unit.note(Event(name="ledger_reset", detail=ledger.reset_detail[:512]))
        uplink.start()
        try:
            yield StandIn(unit, uplink, spool)
        finally:
            stop.set()
            uplink.stop()
            spool.close()
