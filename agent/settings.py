"""The unit's settings: `agent.yaml`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from agent.engines import DEFAULT_ENGINE, ENGINES
from xomnet.contract.messages import Access
from xomnet.contract.values import Name
from xomnet.mqtt.broker import Broker
from xomnet.plan import PROVINCE_TIME, is_metered
from xomnet.runtime.log import Level
from xomnet.settings import SettingsError, load

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Url = Annotated[str, Meta(pattern="^http://[^/?#]+")]
AllowedHost = Annotated[str, Meta(pattern=r"^(\*\.)?[A-Za-z0-9._:-]{1,253}$(?!\n)")]
if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[tuple(ENGINES)]


class LineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of this unit. Values that are absent follow from `access`: mobile lines are metered."""

    line: Name
    access: Access
    interface: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,15}$")] | None = None
    modem: Annotated[str, Meta(pattern=r"^[A-Za-z0-9/][A-Za-z0-9/_.:-]{0,127}$")] | None = None
    """A modem as `mmcli -m` takes it: number, path or identity. Absent: a mobile line has the modem of its
    interface.
    """
    metered: bool | None = None
    engine: EngineName = DEFAULT_ENGINE
    servers: tuple[Url, ...] | None = None
    """Absent: those of the unit. The first server that answers and is not busy measures."""
    target_mbps: Positive | None = None
    budget_gb: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    """GB in each calendar month, both ways; absent: 5 on a metered line, no limit on others."""
    every_s: Positive | None = None
    """Absent: at random within the day's slots (docs/method.md). Present: a test every so often, for pilots and
    demonstrations.
    """
    streams: Annotated[int, Meta(ge=1, le=12)] = 6

    @property
    def is_metered(self) -> bool:
        return is_metered(self.access) if self.metered is None else self.metered

    @property
    def budget_bytes(self) -> int | None:
        """The data budget of a month in bytes; None: no limit."""
        gb = self.budget_gb or (5.0 if self.is_metered else None)
        return None if gb is None else int(gb * 1e9)


class LatencySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_s: Positive = 300.0
    echoes: Annotated[int, Meta(ge=1, le=100)] = 10
    interval_ms: Annotated[int, Meta(ge=10, le=1000)] = 200
    timeout_ms: Annotated[int, Meta(ge=50, le=3000)] = 1000


class HealthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_s: Positive = 300.0


class ClockSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    assume_synced: bool = False
    """True if the host keeps the clock (a virtual machine, a container) and the kernel does not know."""
    hold_s: Positive = 600.0
    """Seconds that a result waits for the clock to be synchronised before it goes out as `estimated`."""


class SpoolSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_mb: Positive = 100.0


class PrecheckSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cpu_busy_percent: Annotated[float, Meta(gt=0, le=100)] = 60.0
    cross_traffic_mbps: Positive | None = None
    """Absent: 2% of the target."""
    defer_s: Positive = 60.0
    defer_times: Annotated[int, Meta(ge=0, le=20)] = 5


class StatusPageSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The status page for a technician on site. It has no login: everybody who reaches the port may read it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8421
    """0: no page."""


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agent: Name
    state_dir: Path
    broker: Broker
    lines: Annotated[tuple[LineSettings, ...], Meta(min_length=1, max_length=8)]
    servers: tuple[Url, ...] = ()
    servers_allowed: tuple[AllowedHost, ...] | None = None
    """Hosts that remote settings may name as measurement servers, beside those of `servers` in this file;
    `*.example.vn` stands for every host below it whose address is public. Absent: those of `servers` alone.
    """
    anchors: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=4)] = ()
    """Hosts to which latency is measured: `host` by ICMP (by TCP if that is not allowed), `host:port` by TCP
    connect.
    """
    latency: LatencySettings = LatencySettings()
    health: HealthSettings = HealthSettings()
    clock: ClockSettings = ClockSettings()
    spool: SpoolSettings = SpoolSettings()
    precheck: PrecheckSettings = PrecheckSettings()
    status_page: StatusPageSettings = StatusPageSettings()
    timezone: ZoneInfo = ZoneInfo(PROVINCE_TIME)
    log_level: Level = "info"


def read(path: Path) -> AgentSettings:
    """The settings in a file. Raises SettingsError."""
    settings = load(path, AgentSettings)
    check(settings, str(path))
    return settings


def check(settings: AgentSettings, file: str) -> None:
    """Raises SettingsError if two lines have one name (they would share a data budget), if a line's engine would use
    another interface than the line's, or if a server is no address.
    """
    names = [line.line for line in settings.lines]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise SettingsError(file, None, f"lines[{number}].line", repr(name), "a name of its own for each line")
    for number, line in enumerate(settings.lines):
        if line.interface is not None and not ENGINES[line.engine].keeps_interface:
            keep = " or ".join(name for name, spec in ENGINES.items() if spec.keeps_interface)
            raise SettingsError(file, None, f"lines[{number}].engine", repr(line.engine), f"{keep} with an interface")
    lists = [("servers", settings.servers)]
    lists += [(f"lines[{number}].servers", line.servers or ()) for number, line in enumerate(settings.lines)]
    for key, servers in lists:
        for number, server in enumerate(servers):
            if not _is_address(server):
                raise SettingsError(
                    file, None, f"{key}[{number}]", repr(server), "http://HOST[:PORT], PORT up to 65535"
                )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.port != 0 and bool(parts.hostname)
    except ValueError:
        return False
