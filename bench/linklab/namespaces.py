"""Network namespaces with names of our own, made and surely removed, also what a killed run left behind."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

PREFIX = "linklab"
LOCKS = Path("/run/linklab")
NETNS = Path("/run/netns")
COMMAND_S = 20.0
END_S = 3.0
_numbers = count()


class NotAllowed(RuntimeError):
    """This user or this machine may not make network namespaces: what was refused, and what to do."""


def check_allowed() -> None:
    """Raises NotAllowed with the remedy."""
    if os.geteuid() != 0:
        raise NotAllowed("the link laboratory makes network namespaces and TUN devices, which needs root: use sudo")
    if not Path("/dev/net/tun").exists():
        raise NotAllowed(
            "/dev/net/tun is missing: modprobe tun, or docker run --device /dev/net/tun --cap-add NET_ADMIN …"
        )


def command(*argv: str, text: str | None = None) -> str:
    """Standard output of an iproute2 command. Raises NotAllowed with what it said."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            env={**os.environ, "PATH": path},
        )
    except FileNotFoundError as error:
        raise NotAllowed(f"{argv[0]} is not installed: apt-get install iproute2") from error
    if done.returncode:
        raise NotAllowed(f"{' '.join(argv)}: {done.stderr.strip()} (needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN)")
    return done.stdout


def processes(namespace: str) -> list[int]:
    """Who runs inside."""
    return [int(pid) for pid in command("ip", "netns", "pids", namespace).split()]


def _end_processes(namespace: str) -> None:
    """Ends what still runs inside: first politely, then surely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(namespace):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + END_S
        while (left := processes(namespace)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not left:
            return


def remove(namespace: str) -> None:
    """Ends its processes and deletes it; silent where it is gone already."""
    if (NETNS / namespace).exists():
        _end_processes(namespace)
        command("ip", "netns", "delete", namespace)


def sweep() -> list[str]:
    """Removes what dead runs left, and returns the namespaces' names. A run is dead when nobody holds its lock."""
    swept: list[str] = []
    for lock in LOCKS.glob(f"{PREFIX}-*"):
        with contextlib.suppress(OSError), lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for place in NETNS.glob(f"{lock.name}-*"):
                remove(place.name)
                swept.append(place.name)
            lock.unlink(missing_ok=True)
    return swept


@contextlib.contextmanager
def namespaces(*sides: str) -> Iterator[dict[str, str]]:
    """Fresh network namespaces with loopback up, by side; gone at the end, with everything that runs inside."""
    check_allowed()
    LOCKS.mkdir(parents=True, exist_ok=True)
    sweep()
    name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
    made = {side: f"{name}-{side}" for side in sides}
    lock = LOCKS / name
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            for namespace in made.values():
                command("ip", "netns", "add", namespace)
                command("ip", "-n", namespace, "link", "set", "lo", "up")
            yield made
        finally:
            for namespace in made.values():
                remove(namespace)
            lock.unlink(missing_ok=True)


def set_sysctls(namespace: str, settings: dict[str, str]) -> None:
    """Settings under net/, of this namespace alone. Those that a kernel does not have are left out."""
    lines = [
        f"[ ! -e /proc/sys/net/{key} ] || echo '{value}' > /proc/sys/net/{key} || exit 1"
        for key, value in settings.items()
    ]
    command("ip", "netns", "exec", namespace, "sh", "-c", "\n".join(lines))
