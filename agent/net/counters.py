"""What the unit's interfaces have moved: their counters, and the bytes between two readings."""

import os
from pathlib import Path

from agent.net.interface import SYS, read_interface

Counters = dict[str, tuple[int, int]]
"""`wwan0#5` -> bytes received and sent. The number is the kernel's index of the port: one plugged anew has another."""

VIRTUAL = ("lo", "veth", "docker", "br-")
"""How ports are named that move nothing beyond this machine."""
WRAP = 2**32
"""Where the counters of some 32-bit drivers begin again."""
WRAP_BYTES = 2**30
"""More than a line moves between two readings."""


def read_counters(sys: Path = SYS) -> Counters:
    """The counters of all ports, now; of none where the system does not show them."""
    found: Counters = {}
    try:
        names = sorted(os.listdir(sys))
    except OSError:
        return found
    for name in names:
        try:
            index = int((sys / name / "ifindex").read_text())
        except (OSError, ValueError):  # gone since, or no port (`bonding_masters`)
            continue
        state = read_interface(name, sys)
        if state is not None:
            found[f"{name}#{index}"] = (state.rx_bytes, state.tx_bytes)
    return found


def of_line(counters: Counters, interface: str | None) -> Counters:
    """Those of a line's port. A line that names none may take any: all that lead out of the machine."""
    if interface is None:
        return {port: moved for port, moved in counters.items() if not port.startswith(VIRTUAL)}
    return {port: moved for port, moved in counters.items() if port.rpartition("#")[0] == interface}


def moved(before: Counters, now: Counters) -> int:
    """Bytes between two readings of one boot; a port that was not there before began at 0."""
    return sum(
        _since(last, count)
        for port, counts in now.items()
        for last, count in zip(before.get(port, (0, 0)), counts, strict=True)
    )


def _since(last: int, now: int) -> int:
    """A counter that went back has wrapped, where that explains it, or has begun anew."""
    if now >= last:
        return now - last
    wrapped = now + WRAP - last
    return wrapped if last < WRAP and wrapped < WRAP_BYTES else now
