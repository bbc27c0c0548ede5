"""The byte counters of the unit's interfaces, and the bytes between two readings."""

import os
from pathlib import Path

from agent.net.interface import SYS, read_interface

Counters = dict[str, tuple[int, int]]
"""`wwan0#5` -> bytes received and sent. The number is the kernel's index of the port; a port plugged in again has
another.
"""

VIRTUAL = ("lo", "veth", "docker", "br-")
"""Prefixes of ports that move nothing beyond this machine."""
WRAP = 2**32
"""Where the counters of some 32-bit drivers wrap."""
WRAP_BYTES = 2**30
"""More than a line moves between two readings."""


def read_counters(sys: Path = SYS) -> Counters:
    """The counters of all ports now; empty if the system does not show them."""
    found: Counters = {}
    try:
        names = sorted(os.listdir(sys))
    except OSError:
        return found
    for name in names:
        try:
            index = int((sys / name / "ifindex").read_text())
        except (OSError, ValueError):  # unplugged in between, or no port (`bonding_masters`)
            continue
        state = read_interface(name, sys)
        if state is not None:
            found[f"{name}#{index}"] = (state.rx_bytes, state.tx_bytes)
    return found


def line_counters(counters: Counters, interface: str | None) -> Counters:
    """The counters of a line's port. A line without an interface has all ports that lead out of the machine."""
    if interface is None:
        return {port: moved for port, moved in counters.items() if not port.startswith(VIRTUAL)}
    return {port: moved for port, moved in counters.items() if port.rpartition("#")[0] == interface}


def bytes_between(before: Counters, now: Counters) -> int:
    """Bytes between two readings of one boot. The counters of a port that was not there before began at 0."""
    return sum(
        _increase(last, count)
        for port, counts in now.items()
        for last, count in zip(before.get(port, (0, 0)), counts, strict=True)
    )


def _increase(last: int, now: int) -> int:
    """A counter that decreased has wrapped, if that explains it, or was reset."""
    if now >= last:
        return now - last
    wrapped = now + WRAP - last
    return wrapped if last < WRAP and wrapped < WRAP_BYTES else now
