"""A way to a measurement server in a namespace of its own, and what may disturb a test on it."""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.far_side import HERE, THERE, far_side
from tests.support.services import program

SENDER = """
import socket, sys, time
mbps, sock = float(sys.argv[2]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
start, sent = time.monotonic(), 0
print("sending", flush=True)
while True:
    while sent < (time.monotonic() - start) * mbps * 125_000:
        sent += sock.sendto(bytes(1400), (sys.argv[1], 9))
    time.sleep(0.002)
"""
BUSY = "print('busy', flush=True)\nwhile True: pass"


@dataclass(frozen=True)
class NetnsLink:
    """`interface` leads to the server of `url`, which is in `namespace`."""

    interface: str
    url: str
    namespace: str

    @contextlib.contextmanager
    def second_flow(self, mbps: float) -> Iterator[None]:
        """Somebody else's traffic (UDP) comes in by the interface."""
        command = [program("ip"), "netns", "exec", self.namespace, sys.executable, "-c", SENDER, HERE, str(mbps)]
        with running(command):
            yield


@contextlib.contextmanager
def netns_link(folder: Path, rate_mbps: float) -> Iterator[NetnsLink]:
    """Wants root."""
    with far_side() as there:
        server = [sys.executable, "-m", "measurement_server", "--host", THERE, "--port", "0", "--rate", str(rate_mbps)]
        command = [program("ip"), "netns", "exec", there.namespace, *server]
        with running(command, folder / "server.log") as said:
            yield NetnsLink(there.interface, said, there.namespace)


@contextlib.contextmanager
def running(command: list[str], log: Path = Path(os.devnull)) -> Iterator[str]:
    """A program that says a line when it is ready; ended at the end."""
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    with process:
        try:
            assert process.stdout
            said = process.stdout.readline().decode().strip()
            assert said, f"{command} ended with {process.wait(5)}"
            yield said
        finally:
            process.kill()


@contextlib.contextmanager
def outrun(share: float) -> Iterator[None]:
    """This thread shares a processor with busy loops that go before it, and gets about a share of it: 8 % or less.
    Wants root.
    """
    niceness, loops = (-5, 4) if share >= 0.05 else (-12, 4) if share >= 0.01 else (-20, 3)
    processors = os.sched_getaffinity(0)
    one = {min(processors)}
    setup = f"import os; os.sched_setaffinity(0, {one}); os.setpriority(os.PRIO_PROCESS, 0, {niceness})\n"
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, one)
        stack.callback(os.sched_setaffinity, 0, processors)
        for _ in range(loops):
            stack.enter_context(running([sys.executable, "-c", setup + BUSY]))
        yield


@contextlib.contextmanager
def cpu_quota(share: float) -> Iterator[None]:
    """This process gets no more than a share of one processor, by whichever cgroups are mounted. Wants root."""
    period_us = 400_000  # of which the least quota, 1 ms, is little
    quota_us = int(share * period_us)
    top, files = _cpu_cgroup(quota_us, period_us)
    group = top / f"xomnet-test-{secrets.token_hex(4)}"
    before = top / _own_group(top).lstrip("/")
    group.mkdir()
    try:
        for name, text in files.items():
            (group / name).write_text(text)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (before / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def _cpu_cgroup(quota_us: int, period_us: int) -> tuple[Path, dict[str, str]]:
    """Where groups with a limit on the processor are made, and which files say it."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(where), {"cpu.cfs_period_us": str(period_us), "cpu.cfs_quota_us": str(quota_us)}
        if kind == "cgroup2" and "cpu" in (Path(where) / "cgroup.controllers").read_text().split():
            (Path(where) / "cgroup.subtree_control").write_text("+cpu")
            return Path(where), {"cpu.max": f"{quota_us} {period_us}"}
    raise AssertionError("no cgroup here can limit the processor")


def _own_group(top: Path) -> str:
    """The group of this process in that hierarchy."""
    unified = (top / "cgroup.controllers").exists()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (unified and not controllers) or (not unified and "cpu" in controllers.split(",")):
            return path
    raise AssertionError(f"this process is in no group of {top}")
