"""How a download is measured. One function type; an engine knows nothing of where its figure goes.

Which engines there are, and what each needs: `agent/engines.py`.
"""

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.engines import ENGINES
from xomnet.contract.messages import Speed


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a running test: seconds since its start, Mb/s of the last half second, bytes so far, including those
    that wait behind a lost packet.
    """

    t_s: float
    mbps: float
    bytes: int
    measuring: bool


@dataclass(frozen=True, slots=True)
class TestSpec:
    """What to measure and how far to go."""

    server: str
    interface: str | None = None
    streams: int = 6
    max_bytes: int = 200_000_000
    max_measured_s: float = 10.0
    max_total_s: float = 15.0
    named_hosts: tuple[str, ...] | None = None
    """Hosts whose addresses may be private; None: all."""
    full: bool = False
    """An audit: no early stop."""
    permission: str | None = None
    """What our measurement servers give a unit's place for; only for servers that the settings name."""
    progress: Callable[[Progress], None] = lambda _: None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Engine(Protocol):
    """Gives a Speed with at least `down_mbps` and `bytes`, or raises MeasurementError; ends soon after `cancelled`."""

    def __call__(self, test: TestSpec) -> Speed: ...


def engine(name: str) -> Engine:
    """The engine of a settings name; imported when first used, since a unit uses one of them."""
    module: Any = importlib.import_module(f"{__name__}.{ENGINES[name].module}")
    found: Engine = module.measure
    return found
