"""What the kernel says of a network interface (`/sys/class/net`)."""

from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """Bytes since boot; `link_mbps` is None where the port does not say (a modem, a bridge)."""

    up: bool
    wireless: bool
    rx_bytes: int
    tx_bytes: int
    link_mbps: float | None = None


def read_interface(name: str, sys: Path = SYS) -> InterfaceState | None:
    """None where there is no such interface."""
    folder = sys / name
    if not folder.exists():
        return None
    speed = _number(folder / "speed")
    return InterfaceState(
        up=_text(folder / "operstate") in {"up", "unknown"},
        wireless=(folder / "wireless").exists() or (folder / "phy80211").exists(),
        rx_bytes=_number(folder / "statistics/rx_bytes") or 0,
        tx_bytes=_number(folder / "statistics/tx_bytes") or 0,
        link_mbps=float(speed) if speed is not None and speed > 0 else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the kernel answers EINVAL for the speed of a port that is down
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None
