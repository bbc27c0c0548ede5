"""The state of a network interface by the kernel (`/sys/class/net`)."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys/class/net")
ARPHRD_ETHER = 1
_RECEIVED = ("rx_bytes", "rx_packets")


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """Bytes since boot; `link_mbps` is None if the port has no link rate (a modem, a bridge)."""

    up: bool
    wireless: bool
    rx_bytes: int
    tx_bytes: int
    link_mbps: float | None = None
    ethernet: bool = True
    """Its bytes include the 14 of an Ethernet header for each packet; a modem's or a tunnel's do not."""


def read_interface(name: str, sys: Path = SYS) -> InterfaceState | None:
    """The state now; None if there is no such interface."""
    folder = sys / name
    if not folder.exists():
        return None
    speed = _number(folder / "speed")
    return InterfaceState(
        up=read_attribute(folder / "operstate") in {"up", "unknown"},
        wireless=(folder / "wireless").exists() or (folder / "phy80211").exists(),
        rx_bytes=_number(folder / "statistics/rx_bytes") or 0,
        tx_bytes=_number(folder / "statistics/tx_bytes") or 0,
        link_mbps=float(speed) if speed is not None and speed > 0 else None,
        ethernet=_number(folder / "type") in {ARPHRD_ETHER, None},
    )


def read_attribute(path: Path) -> str:
    """The text of a file of the kernel's (`/sys`, `/proc`), without the line's end; empty if it can't be read."""
    try:
        return path.read_text().strip()
    except OSError:  # the kernel answers EINVAL for the speed of a port that is down
        return ""


class ReceiveCounter:
    """The receive counters of an interface, with their files kept open: a test reads them at every tick."""

    def __init__(self, name: str, sys: Path = SYS) -> None:
        """Raises OSError if there is no such interface."""
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context((sys / name / "statistics" / one).open("rb")) for one in _RECEIVED]
            self._files = files
            self._opened = opened.pop_all()

    def read(self) -> tuple[int, int]:
        """Bytes and packets since boot. Raises OSError if the interface is gone."""
        bytes_, packets = (int(os.pread(file.fileno(), 32, 0)) for file in self._files)
        return bytes_, packets

    def close(self) -> None:
        self._opened.close()


def _number(path: Path) -> int | None:
    text = read_attribute(path)
    return int(text) if text.lstrip("-").isdigit() else None
