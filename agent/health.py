"""The unit itself: CPU, memory, disk, temperature, power, interfaces, clock, spool."""

from pathlib import Path

import psutil

from agent.clock import ClockReading
from agent.interface import read_interface
from xomnet import __version__
from xomnet.messages import Health, Interface

THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
"""Raspberry Pi kernels give here what `vcgencmd get_throttled` prints, readable for all."""
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
MAX_INTERFACES = 8


def health(state_dir: Path, clock: ClockReading, spool_depth: int, spool_bytes: int) -> Health:
    """A reading now. CPU is the mean since the last reading."""
    memory, disk, process = psutil.virtual_memory(), psutil.disk_usage(str(state_dir)), psutil.Process()
    return Health(
        version=__version__,
        cpu_percent=min(100.0, psutil.cpu_percent()),
        load1=psutil.getloadavg()[0],
        mem_used_percent=memory.percent,
        disk_free_bytes=disk.free,
        disk_used_percent=disk.percent,
        uptime_s=clock.boot_ns / 1e9,
        rss_bytes=process.memory_info().rss,
        spool_depth=spool_depth,
        spool_bytes=max(0, spool_bytes),
        clock_synced=clock.synced,
        clock_error_ms=clock.error_ms,
        temp_c=temperature(THERMAL),
        throttled=throttled(THROTTLED),
        interfaces=interfaces(),
    )


def temperature(path: Path) -> float | None:
    """Degrees Celsius of the first thermal zone; None where the machine has none."""
    try:
        return int(path.read_text()) / 1000
    except (OSError, ValueError):
        return None


def throttled(path: Path) -> int | None:
    """The bits of `get_throttled`; None on a machine that is no Raspberry Pi."""
    try:
        return int(path.read_text().strip().removeprefix("0x"), 16)
    except (OSError, ValueError):
        return None


def interfaces() -> tuple[Interface, ...]:
    """Counters of the interfaces that may be a line: all but loopback and virtual pairs."""
    found: list[Interface] = []
    for name, counted in sorted(psutil.net_io_counters(pernic=True).items()):
        if name == "lo" or name.startswith(("veth", "docker", "br-")) or len(found) == MAX_INTERFACES:
            continue
        state = read_interface(name)
        found.append(
            Interface(
                name=name,
                up=state is not None and state.up,
                rx_bytes=counted.bytes_recv,
                tx_bytes=counted.bytes_sent,
                rx_errors=counted.errin,
                tx_errors=counted.errout,
                link_mbps=None if state is None else state.link_mbps,
            )
        )
    return tuple(found)
