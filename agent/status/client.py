"""Client of the running service, through the socket in its state folder; only root and the service's user may
use it.
"""

import http.client
import os
import socket
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.errors import RequestRefused
from agent.settings import LineSettings
from agent.status.server import SOCKET
from agent.status.status import AgentStatus
from xomnet.contract.commands import Command, CommandName, Reply, Tested

T = TypeVar("T")

ASK_S = 10.0
REPORT_S, MEASURE_S = 60.0, 240.0
"""The service may be in the middle of a test."""


class ServiceSilent(Exception):
    """The service does not answer; the text says why."""


class RunningService:
    """The running service of a state folder. Methods raise ServiceSilent, and RequestRefused if it refuses."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def status(self) -> AgentStatus:
        return _decode(self._request("GET", "/status.json", b"", ASK_S), AgentStatus)

    def report(self) -> None:
        self._run_command("report", None, REPORT_S)

    def measure(self, line: LineSettings) -> Tested:
        return self._run_command("measure", line.line, MEASURE_S).tested[0]

    def _run_command(self, name: CommandName, line: str | None, limit_s: float) -> Reply:
        command = Command(id=uuid.uuid4(), name=name, line=line, expires=datetime.now(UTC) + timedelta(seconds=limit_s))
        reply = _decode(self._request("POST", "/ask", msgspec.json.encode(command), limit_s + ASK_S), Reply)
        if not reply.ok:
            raise RequestRefused(reply.error or "refused", reply.detail or "no reason given")
        return reply

    def _request(self, method: str, path: str, body: bytes, limit_s: float) -> bytes:
        connection = _UnixConnection(self._state_dir, limit_s)
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


class _UnixConnection(http.client.HTTPConnection):
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


def _decode(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ServiceSilent(f"a service of another version answers: {error}; restart it") from error
