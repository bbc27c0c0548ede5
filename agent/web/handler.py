"""What the running unit answers: its status as a document, a page for a phone, and what `xomnet agent check` asks."""

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

log = Log("agent.status.status")

OLD_S, AGAIN_S = 300.0, 10.0
"""How old findings may be that a page shows; and where somebody asks for new ones."""
ASKED: tuple[str, ...] = ("report", "measure")
MAX_ASK_S = 250.0


class Findings:
    """What the checks found last. They run beside the loop, one round at a time, only when somebody looks."""

    def __init__(self, look: Callable[[], "Sequence[Finding]"]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._running = False
        self._found: Sequence[Finding] | None = None
        self._at = -OLD_S

    def now(self, again: bool, may_begin: bool) -> "tuple[Sequence[Finding] | None, float, bool]":
        """The findings (None: none yet), their age in seconds, and whether new ones are on their way."""
        with self._lock:
            age_s = time.monotonic() - self._at
            if may_begin and not self._running and age_s > (AGAIN_S if again else OLD_S):
                self._running = True
                threading.Thread(target=self._run, name="findings", daemon=True).start()
            return self._found, age_s, self._running

    def _run(self) -> None:
        try:
            self._found = list(self._look())
            self._at = time.monotonic()
        except Exception:
            log.exception("the checks failed")
        finally:
            self._running = False


class StatusPage:
    """Answers requests, from any thread."""

    def __init__(
        self,
        tell: Callable[[], AgentStatus],
        settings: Callable[[], AgentSettings],
        targets: Targets,
        inbox: CommandQueue,
    ) -> None:
        self._tell, self._settings, self._targets, self._inbox = tell, settings, targets, inbox
        self._findings = Findings(self._look)

    def answer(self, request: Request) -> Response:
        """By path; the port only reads."""
        if not request.local and not is_own_name(request.host):
            return text_response(
                HTTPStatus.MISDIRECTED_REQUEST, "allowed: this unit's address, its own name, or localhost"
            )
        match request.method, request.path:
            case "GET", "/status.json":
                return Response(HTTPStatus.OK, JSON, msgspec.json.encode(self._tell()))
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
        status = self._tell()
        testing = any(line.testing for line in status.lines)
        found, age_s, running = self._findings.now("again" in values, may_begin=not testing)
        language = page.language(values.get("lang", [""])[0])
        return page.html(status, self._settings().timezone, found, age_s, running, language).encode()

    def _look(self) -> "Sequence[Finding]":
        from agent.check import plan  # noqa: PLC0415

        return plan.without_tests(plan.Plan(self._settings(), self._targets, read_clock), self._tell())

    def _ask(self, body: bytes) -> Response:
        """A command of root or of the service's own user, and its answer."""
        try:
            command = decode_command(body)
        except msgspec.DecodeError as error:
            return text_response(HTTPStatus.BAD_REQUEST, str(error))
        if command.name not in ASKED:
            return text_response(HTTPStatus.BAD_REQUEST, f"allowed: {' and '.join(ASKED)}")
        return Response(HTTPStatus.OK, JSON, msgspec.json.encode(self._replied(command)))

    def _replied(self, command: Command) -> Reply:
        try:
            return self._inbox.ask(command, MAX_ASK_S)
        except RequestRefused as refusal:
            return Reply(id=command.id, agent=self._inbox.agent, ok=False, error=refusal.error, detail=refusal.detail)
