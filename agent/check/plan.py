"""Which checks there are, in which order, and how long each may take."""

from collections.abc import Iterator, Sequence

from agent.check import delivery, download, machine, port, servers
from agent.check.service import Service
from agent.clock.clock import ReadClock
from agent.delivery.instance_lock import AlreadyRunning
from agent.delivery.spool import SpoolError
from agent.measure.health import THERMAL, THROTTLED, read_temperature, read_throttled
from agent.schedule.quota.budget import BudgetError
from agent.settings import AgentSettings, LineSettings
from agent.status.client import ServiceSilent
from agent.status.status import AgentStatus
from xomnet.check.broker import Side, broker
from xomnet.check.deadline import Check
from xomnet.check.deadline import limited as bounded
from xomnet.check.finding import Finding, fail, say, skip
from xomnet.check.host import model
from xomnet.targets import Targets

QUICK_S, PORT_S, BROKER_S, TRIP_S, TEST_S = 10.0, 30.0, 30.0, 120.0, 300.0
HOPELESS_S = 2.0
"""Where the broker can't be reached there is no point in waiting for the service to reach it."""

UNIT = Side(
    file="agent.yaml",
    name=say("use this unit's key and certificate, or correct agent in agent.yaml"),
    files=say("check that the unit is enrolled, broker.tls in agent.yaml, and the key: owner xomnet, mode 600"),
    fit=say("use the key and the certificate that enrolment made for this unit"),
    renew=say("systemctl start xomnet-renew; if that fails, tell the operator"),
    reissue=say("revoked, or issued by another authority: the operator must enrol the unit again"),
    up=say("check broker.port in agent.yaml; if it is right, tell the operator that the broker is down"),
    found=say("check broker.host in agent.yaml, DNS, and that a line is online"),
    reached=say("check that a line is online, and that no firewall blocks the port"),
    theirs=say("tell the operator"),
)
CANT_WORK = (ServiceSilent, AlreadyRunning, SpoolError, BudgetError)


def limited(name: str, check: Check, limit_s: float) -> list[Finding]:
    """As xomnet.check.deadline; a service that can't work is no defect."""

    def known() -> Finding | Sequence[Finding] | None:
        try:
            return check()
        except CANT_WORK as error:
            restart = say("systemctl restart xomnet-agent; then read its log: journalctl -u xomnet-agent")
            return fail(name, say("{reason}", reason=str(error)), restart)

    return bounded(name, known, limit_s)


class Plan:
    """All checks of a unit with these settings; rows come one by one."""

    def __init__(self, settings: AgentSettings, targets: Targets, read_clock: ReadClock) -> None:
        self._settings, self._targets, self._read_clock = settings, targets, read_clock
        self._down: set[str] = set()
        """Lines that can't be used."""
        self._connect_s = delivery.CONNECT_S

    def here(self) -> Iterator[Finding]:
        """The unit, its ports and modems, the broker."""
        settings = self._settings
        yield from limited(
            "power", lambda: machine.power(read_throttled(THROTTLED), read_temperature(THERMAL)), QUICK_S
        )
        now = self._read_clock(settings.clock.assume_synced)
        yield from limited("clock", lambda: machine.clock(now, settings.clock.hold_s), QUICK_S)
        yield from limited("disk", lambda: machine.disk(settings), QUICK_S)
        for line in settings.lines:
            found = limited(line.interface or line.line, self._ports(line), PORT_S)
            if any(one.mark == "fail" for one in found):
                self._down.add(line.line)
            yield from found
        found = limited("broker", lambda: broker(settings.broker, settings.agent, UNIT, now.wall), BROKER_S)
        if any(one.mark == "fail" for one in found):
            self._connect_s = HOPELESS_S
        yield from found

    def collector(self, service: Service) -> Iterator[Finding]:
        """A round trip to the collector."""
        yield from limited("collector", lambda: delivery.round_trip(service, self._connect_s), TRIP_S)

    def servers(self) -> Iterator[Finding]:
        """The measurement servers of each line that can be used."""
        for line in self._settings.lines:
            if line.line not in self._down:
                yield from limited(f"server {line.line}", self._servers(line), QUICK_S * 3)

    def tests(self, service: Service) -> Iterator[Finding]:
        """A real test of each line that can be used."""
        for line in self._settings.lines:
            if line.line in self._down:
                yield skip(line.line, say("not tested: {name} is not ready", name=line.interface or line.line))
            else:
                yield from limited(line.line, self._test(service, line), TEST_S)

    def _ports(self, line: LineSettings) -> Check:
        return lambda: port.ports(line, self.target_mbps(line), model())

    def _test(self, service: Service, line: LineSettings) -> Check:
        return lambda: download.test(service, line, self.target_mbps(line))

    def _servers(self, line: LineSettings) -> Check:
        addresses = line.servers or self._settings.servers

        def check() -> list[Finding]:
            named = servers.names(line, addresses)
            if named is not None and named.mark == "fail":
                self._down.add(line.line)
                return [named]
            answer = servers.server(line, addresses)
            if answer.mark == "fail":
                self._down.add(line.line)
            return [answer] if named is None else [named, answer]

        return check

    def target_mbps(self, line: LineSettings) -> float:
        """As the line's settings or the province say today."""
        today = self._read_clock(True).wall.astimezone(self._settings.timezone).date()
        return line.target_mbps or self._targets.down_mbps(line.access, today)


def without_tests(plan: Plan, status: AgentStatus) -> list[Finding]:
    """For the page of the running service: nothing is sent or measured."""
    found = list(plan.here())
    return [*found, delivery.known(status), *plan.servers()]
