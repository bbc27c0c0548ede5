"""The link laboratory on this machine: its promises, and that nothing of it stays. Fails where it is not allowed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.linklab import selfcheck
from bench.linklab.checks import CHECKS, Check
from bench.linklab.emulator import Overrun
from bench.linklab.laboratory import laboratory
from bench.linklab.link import Link
from bench.linklab.namespaces import NETNS, PREFIX, processes, sweep

NOTICED_SHARE = 0.01
"""Of the time of all processors, given to others by the machine that ours is a guest of."""

pytestmark = [pytest.mark.usefixtures("root"), pytest.mark.alone]

ROOT = Path(__file__).parents[2]
SLEEPER = """
import sys, time
from bench.linklab import Link, laboratory
with laboratory(Link(rate_mbps=10)) as lab:
    sleeper = lab.popen("client", ["sleep", "600"])
    print(sleeper.pid, flush=True)
    time.sleep(600)
"""


def left_of(pid: int) -> list[str]:
    return [place.name for place in NETNS.glob(f"{PREFIX}-{pid}-*")]


@pytest.fixture
def sleeper() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A laboratory in a process of its own, and the id of a process inside it."""
    argv = [sys.executable, "-c", SLEEPER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    """Also a process that nobody waited for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in CHECKS if check.quick])
def test_the_laboratory_keeps_its_promise_or_knows_that_it_could_not(check: Check) -> None:
    """Where others take the processors away, a promise of milliseconds can fail, but not unnoticed."""
    outcome = selfcheck.carry_out(check)
    held_up = not outcome.findings or outcome.stolen_share > NOTICED_SHARE
    assert outcome.holds or held_up, (outcome.findings, outcome.earlier)


@pytest.mark.parametrize("congestion", ["cubic", "bbr", "reno"])
def test_the_server_sends_with_the_congestion_control_asked_for(congestion: str) -> None:
    with laboratory(Link(rate_mbps=10, congestion=congestion)) as lab:  # type: ignore[arg-type]
        found = lab.run("server", ["cat", "/proc/sys/net/ipv4/tcp_congestion_control"]).stdout
    assert found.strip() == congestion


def test_a_failing_command_says_what_it_said() -> None:
    with (
        laboratory(Link(rate_mbps=10)) as lab,
        pytest.raises(ChildProcessError, match="on the client ended with 3: no"),
    ):
        lab.run("client", ["sh", "-c", "echo no >&2; exit 3"])


def test_an_exception_inside_leaves_nothing() -> None:
    before = set(left_of(os.getpid()))
    inside: list[int] = []

    def fail() -> None:
        with laboratory(Link(rate_mbps=10)) as lab:
            inside.append(lab.popen("server", ["sleep", "600"]).pid)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert set(left_of(os.getpid())) == before
    assert not is_running(inside[0])


def test_sigterm_leaves_nothing(sleeper: tuple[subprocess.Popen[str], int]) -> None:
    process, inside = sleeper
    assert len(left_of(process.pid)) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    assert not left_of(process.pid)
    assert not is_running(inside)


def test_what_a_killed_run_left_is_swept_and_what_runs_is_not(sleeper: tuple[subprocess.Popen[str], int]) -> None:
    process, inside = sleeper
    sweep()
    assert len(left_of(process.pid)) == 2
    process.kill()
    process.wait(10)
    assert len(left_of(process.pid)) == 2
    sweep()
    assert not left_of(process.pid)
    assert not is_running(inside)


def test_an_emulator_that_was_held_up_voids_what_was_measured() -> None:
    def hold_up() -> None:
        with laboratory(Link(rate_mbps=10, rtt_ms=10)) as lab, lab.cross_traffic(5):
            inside = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in processes(lab.client_ns)}
            [emulator] = [pid for pid, command in inside.items() if "emulator" in command]
            for _ in range(10):
                os.kill(emulator, signal.SIGSTOP)
                time.sleep(0.05)
                os.kill(emulator, signal.SIGCONT)
                time.sleep(0.05)

    with pytest.raises(Overrun, match="over 2 ms late"):
        hold_up()


def test_the_command_line_runs_a_command_on_the_link() -> None:
    script = 'echo "$LINKLAB_SERVER $LINKLAB_INTERFACE"; exit 7'
    argv = [sys.executable, "-m", "bench.linklab", "--rate", "20", "--rtt", "10", "--", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("10.77.0.1 line0\n", 7)
