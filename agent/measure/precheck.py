"""Before a download test: is the unit fit to measure this line now?"""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.measure.health import THROTTLED, is_throttled, read_throttled
from agent.net.interface import SYS, read_interface
from xomnet.contract.messages import Flag

OBSERVE_S = 1.0


@dataclass(frozen=True, slots=True)
class Precheck:
    """`flags` go with the result. `busy` is a reason to wait; `broken` (error code and detail) is why the test can't
    run at all.
    """

    flags: tuple[Flag, ...] = ()
    busy: str | None = None
    broken: tuple[str, str] | None = None
    link_mbps: float | None = None


def precheck(
    interface: str | None,
    target_mbps: float,
    cpu_busy_percent: float,
    cross_traffic_mbps: float,
    sys: Path = SYS,
    throttled_file: Path = THROTTLED,
) -> Precheck:
    """Observes CPU, power and interface for OBSERVE_S. CPU in percent, traffic and target in Mb/s."""
    psutil.cpu_percent()
    before = None if interface is None else read_interface(interface, sys)
    start = time.monotonic()
    time.sleep(OBSERVE_S)
    cpu = psutil.cpu_percent()
    after = None if interface is None else read_interface(interface, sys)
    flags: list[Flag] = []
    busy = None
    if cpu > cpu_busy_percent:
        flags.append("cpu_bound")
        busy = f"CPU {cpu:.0f} % busy"
    if is_throttled(None, read_throttled(throttled_file)):
        flags.append("throttled")
    if interface is None:
        return Precheck(tuple(flags), busy)
    if before is None or after is None:
        return Precheck((*flags, "unit_fault"), busy, ("interface_missing", f"there is no interface {interface}"))
    if not after.up:
        return Precheck((*flags, "link_down"), busy, ("interface_down", f"{interface} is down"))
    others = (after.rx_bytes - before.rx_bytes) * 8e-6 / (time.monotonic() - start)
    if others > cross_traffic_mbps:
        flags.append("cross_traffic")
        busy = f"others receive {others:.1f} Mb/s on {interface}"
    if after.wireless:
        flags.append("wifi")
    if after.link_mbps is not None and after.link_mbps < target_mbps:
        flags.append("link_below_target")
    return Precheck(tuple(flags), busy, None, after.link_mbps)
