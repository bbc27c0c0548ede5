"""Child processes that never outlive the demonstration."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class DemoFailed(Exception):
    """A part that the demonstration stands on is not there; the text says which and what its log says."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Child:
    """A started program; its output goes to `log`."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def tail(self, lines: int = 8) -> str:
        """The last words of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


@dataclass(slots=True)
class Children:
    """Everything started, in order; ended in the opposite order."""

    logs: Path
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], stdout: "int | IO[bytes] | None" = None) -> Child:
        """Starts a program in a session of its own, so that a Ctrl-C reaches it only through us."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file if stdout is None else stdout,
                stderr=file,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # the demonstration starts processes from one thread
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        child = Child(name, process, log)
        self.running.append(child)
        return child

    def python(self, name: str, *arguments: str, stdout: "int | IO[bytes] | None" = None) -> Child:
        """Starts a module of ours."""
        return self.start(name, [sys.executable, *arguments], stdout)

    def end(self, child: Child, timeout_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL."""
        if child in self.running:
            self.running.remove(child)
        child.process.terminate()
        _reap(child, time.monotonic() + timeout_s)

    def end_all(self) -> None:
        """All of them: agents first, the broker last."""
        children, self.running = self.running[::-1], []
        for child in children:
            child.process.terminate()
        deadline = time.monotonic() + 6
        for child in children:
            _reap(child, deadline)

    def check(self) -> None:
        """Raises DemoFailed where one has ended by itself."""
        for child in self.running:
            status = child.process.poll()
            if status is not None:
                raise DemoFailed(f"{child.name} ended with status {status}; its log {child.log} says:\n{child.tail()}")


def _reap(child: Child, deadline: float) -> None:
    try:
        child.process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait(5)


def wait_for(ready: Callable[[], bool], what: str, children: Children, timeout_s: float = 30.0) -> None:
    """Until `ready`. Raises DemoFailed where it takes too long or a child ends."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        children.check()
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what} did not come up within {timeout_s:g} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def mosquitto() -> str | None:
    """The path of Mosquitto, also where /usr/sbin is not on the PATH."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
