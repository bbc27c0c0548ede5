"""Networks of our own: namespaces, bridges, cables between them, and a router with NAT.

10.77.0.0/24  lan: the server, units, and the controller's way in
192.168.77.0/24  behind NAT: what is there reaches the lan, nothing on the lan reaches it
"""

import contextlib
import os
import signal
import subprocess
import time

from tests.support.services import program

LAN, BEHIND = "10.77.0.", "192.168.77."
SERVER, SERVER_NAME = 10, "server.xomnet.test"
"""The server's number on the lan, and the one name that the lan's name server knows."""
RATE = ("rate", "300mbit", "burst", "256k", "latency", "30ms")
"""Of each machine's port, so that a test of a line does not measure this computer's memory."""
NAT = """\
table ip xm {
    chain out {
        type nat hook postrouting priority srcnat
        oifname wan masquerade
    }
    chain through {
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        iifname br0 accept
    }
}
"""


class Failed(Exception):
    """A command in a machine, or one that makes a network, failed."""


def run(*argv: str, limit_s: float = 60.0, stdin: str = "") -> str:
    """What a program says. Raises Failed with the command and what it said."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False, input=stdin)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(argv)}: no end within {limit_s:g} s") from error
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def within(space: str, *argv: str, stdin: str = "") -> str:
    """The same, in a network namespace."""
    return run("nsenter", f"--net=/run/netns/{space}", *argv, stdin=stdin)


def new_space(name: str) -> None:
    run("ip", "netns", "add", name)
    within(name, "ip", "link", "set", "lo", "up")


def end_all(space: str) -> None:
    """Ends whatever runs in a network namespace of ours, at once."""
    for _ in range(50):
        pids = run("ip", "netns", "pids", space).split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)


def new_bridge(space: str, address: str) -> None:
    within(space, "ip", "link", "add", "br0", "type", "bridge")
    within(space, "ip", "address", "add", address, "dev", "br0")
    within(space, "ip", "link", "set", "br0", "up")


def new_wire(space: str, interface: str, address: str, router: str) -> None:
    """A cable from an interface of `space` to the bridge of `router`, at a rate in both directions."""
    end = space.removeprefix("xm-")[:12]
    within(router, "ip", "link", "add", end, "type", "veth", "peer", "name", interface, "netns", space)
    within(router, "ip", "link", "set", end, "master", "br0", "up")
    within(space, "ip", "address", "add", address, "dev", interface)
    within(space, "ip", "link", "set", interface, "up")
    for where, port in ((router, end), (space, interface)):
        within(where, "tc", "qdisc", "add", "dev", port, "root", "tbf", *RATE)


def new_router(name: str, lan: str) -> None:
    """A bridge with a network behind NAT."""
    new_space(name)
    new_wire(name, "wan", f"{LAN}2/24", lan)
    new_bridge(name, f"{BEHIND}1/24")
    within(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    within(name, program("nft"), "-f", "-", stdin=NAT)
