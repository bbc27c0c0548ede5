"""The engines that can measure a download: what each needs, and what it keeps to.

An engine is a file in `agent/measure/engines/` and an entry of this map; no other file names it. Settings, budgets,
checks and the command line follow from the entry, so it stands below all of them; the file is imported when the engine
is first used.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What the rest of the unit must know of an engine."""

    module: str
    """In `agent/measure/engines/`; its `measure` is an `agent.measure.engines.Engine`."""
    help: str
    """What it does, for the command line."""
    server_list: str | None = None
    """Where it finds a server by itself; None: it measures against the servers of the settings."""
    packages: tuple[str, ...] = ()
    """Distributions that it runs or imports; the extra `agent` of pyproject.toml brings them."""
    uncapped_bytes: int | None = None
    """Bytes that a test may take if the engine keeps no byte cap. None: it keeps the test's `max_bytes`, and so counts
    what it moves, also where it fails.
    """
    reports_progress: bool = True
    """Calls the test's `progress` during the test. Without it, cross traffic is not detected."""
    keeps_interface: bool = True
    """All its traffic uses the test's interface."""


ENGINES: Mapping[str, EngineSpec] = {
    "http": EngineSpec("http", "several streams from a LibreSpeed-compatible server"),
    "ookla": EngineSpec(
        "ookla",
        "speedtest-cli finds the server, the transfer is that of http",
        server_list="speedtest.net",
        packages=("speedtest-cli",),
    ),
    "speedtest-cli": EngineSpec(
        "speedtest_cli",
        "the program as it is, for comparison; it has no byte cap",
        server_list="speedtest.net",
        packages=("speedtest-cli",),
        uncapped_bytes=450_000_000,  # four of each of its ten files
        reports_progress=False,
    ),
}

DEFAULT_ENGINE = "http"
