"""The health of the unit itself: CPU, memory, disk, temperature, power, interfaces, clock, spool."""

import shutil
import subprocess
from pathlib import Path

import psutil

from agent.clock.clock import ClockReading
from agent.net.counters import VIRTUAL
from agent.net.interface import read_attribute, read_interface
from xomnet import __version__
from xomnet.contract.messages import Health, Interface

PLATFORM = Path("/sys/devices/platform")
THROTTLED = next(PLATFORM.glob("soc*/soc*:firmware/get_throttled"), PLATFORM / "soc/soc:firmware/get_throttled")
"""Raspberry Pi kernels show here what `vcgencmd get_throttled` prints, readable by all; a Pi 5 has another path. Newer
kernels do not have it: then the program is run, which needs the group `video`.
"""
VCGENCMD_S = 2.0
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
MAX_INTERFACES = 8


def read_health(
    state_dir: Path, clock: ClockReading, spool_depth: int, spool_bytes: int, overrides: int | None = None
) -> Health:
    """Reads the health now. CPU is the mean since the last reading. `overrides`: remote settings in force."""
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
        temp_c=read_temperature(THERMAL),
        throttled=read_throttled(THROTTLED),
        interfaces=read_interfaces(),
        overrides=overrides,
    )


def read_temperature(path: Path) -> float | None:
    """Degrees Celsius of the first thermal zone; None if the machine has none."""
    try:
        return int(path.read_text()) / 1000
    except (OSError, ValueError):
        return None


def read_throttled(path: Path) -> int | None:
    """The bits of `get_throttled`; None on a machine that is no Raspberry Pi."""
    try:
        return int((read_attribute(path) or _vcgencmd().strip()).removeprefix("throttled="), 16)
    except ValueError:
        return None


def is_throttled(before: int | None, after: int | None) -> bool:
    """Whether power or heat slowed the unit down between two readings: a reading shows it (bits 0 to 3), or a bit of
    what has occurred since boot (16 to 19) is new.
    """
    now = (before or 0) | (after or 0)
    occurred = ((after or 0) & ~(before or 0)) >> 16 if before is not None else 0
    return bool((now | occurred) & 0b1111)


def _vcgencmd() -> str:
    program = shutil.which("vcgencmd")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, timeout=VCGENCMD_S, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout.decode(errors="replace")


def read_interfaces() -> tuple[Interface, ...]:
    """Counters of the interfaces that lead out of the machine, at most MAX_INTERFACES."""
    found: list[Interface] = []
    for name, counted in sorted(psutil.net_io_counters(pernic=True).items()):
        if name.startswith(VIRTUAL) or len(found) == MAX_INTERFACES:
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
