"""The answers of the running unit: its status as a document, a page for a phone, commands of `xomnet agent check`."""

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec

from agent.clock.clock import read_clock
from agent.control.command_queue import CommandQueue
from agent.errors import RequestRefused
from agent.settings import AgentSettings
from agent.status.server import HTML, JSON, Request, Response, is_own_name, text_response
from agent.status.status import AgentStatus
from xomnet.contract.commands import Command, Reply, decode_command
from xomnet.runtime.log import Log
from xomnet.targets import Targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xomnet.check.finding import Finding

log = Log("agent.web.handler")

MAX_AGE_S, MIN_AGE_S = 300.0, 10.0
"""How old the findings of a page may be; and if a person asks for new ones."""
LOCAL_COMMANDS: tuple[str, ...] = ("report", "measure")
MAX_ASK_S = 250.0


class Findings:
    """The last findings of the checks. They run beside the loop, one round at a time, only if somebody opens the
    page.
    """

    def __init__(self, run_checks: Callable[[], "Sequence[Finding]"]) -> None:
        self._run_checks = run_checks
        self._lock = threading.Lock()
        self._running = False
        self._found: Sequence[Finding] | None = None
        self._at = -MAX_AGE_S

    def current(self, again: bool, may_begin: bool) -> "tuple[Sequence[Finding] | None, float, bool]":
        """The findings (None: none yet), their age in seconds, and whether the checks are running.

        Starts a round if `may_begin` and the findings are too old; `again`: a person asks for new ones.
        """
        with self._lock:
            age_s = time.monotonic() - self._at
            if may_begin and not self._running and age_s > (MIN_AGE_S if again else MAX_AGE_S):
                self._running = True
                threading.Thread(target=self._run, name="findings", daemon=True).start()
            return self._found, age_s, self._running

    def _run(self) -> None:
        try:
            self._found = list(self._run_checks())
            self._at = time.monotonic()
        except Exception:
            log.exception("the checks failed")
        finally:
            self._running = False


class StatusPage:
    """Answers requests, from any thread."""

    def __init__(
        self,
        status: Callable[[], AgentStatus],
        settings: Callable[[], AgentSettings],
        targets: Targets,
        commands: CommandQueue,
    ) -> None:
        self._status, self._settings, self._targets, self._commands = status, settings, targets, commands
        self._findings = Findings(self._run_checks)

    def answer(self, request: Request) -> Response:
        """The answer to a request by its path; the port is read-only."""
        if not request.local and not is_own_name(request.host):
            return text_response(
                HTTPStatus.MISDIRECTED_REQUEST, "allowed: this unit's address, its own name, or localhost"
            )
        match request.method, request.path:
            case "GET", "/status.json":
                return Response(HTTPStatus.OK, JSON, msgspec.json.encode(self._status()))
            case "GET", "/":
                return Response(HTTPStatus.OK, HTML, self._page(request.query))
            case "POST", "/ask" if request.local:
                return self._ask(request.body)
            case "GET", _:
                return text_response(HTTPStatus.NOT_FOUND, "allowed: / and /status.json")
            case _:
                return text_response(HTTPStatus.METHOD_NOT_ALLOWED, "allowed: GET")

    def _page(self, query: str) -> bytes:
        from agent.web import page  # noqa: PLC0415  # a unit at which nobody looks does not carry the checks

        values = parse_qs(query, max_num_fields=4)
        status = self._status()
        testing = any(line.testing for line in status.lines)
        found, age_s, running = self._findings.current("again" in values, may_begin=not testing)
        language = page.language_of(values.get("lang", [""])[0])
        return page.html(status, self._settings().timezone, found, age_s, running, language).encode()

    def _run_checks(self) -> "Sequence[Finding]":
        from agent.check import plan  # noqa: PLC0415

        return plan.findings_without_tests(plan.Plan(self._settings(), self._targets, read_clock), self._status())

    def _ask(self, body: bytes) -> Response:
        """Runs a command of root or the service's user; returns its reply."""
        try:
            command = decode_command(body)
        except msgspec.DecodeError as error:
            return text_response(HTTPStatus.BAD_REQUEST, str(error))
        if command.name not in LOCAL_COMMANDS:
            return text_response(HTTPStatus.BAD_REQUEST, f"allowed: {' and '.join(LOCAL_COMMANDS)}")
        return Response(HTTPStatus.OK, JSON, msgspec.json.encode(self._run_command(command)))

    def _run_command(self, command: Command) -> Reply:
        try:
            return self._commands.ask(command, MAX_ASK_S)
        except RequestRefused as refusal:
            return Reply(
                id=command.id, agent=self._commands.agent, ok=False, error=refusal.error, detail=refusal.detail
            )
