"""The link laboratory: a reproducible emulated path between two network namespaces. See README.md beside this file."""

from bench.linklab.build import BuildError
from bench.linklab.cross import Carried, CrossTraffic
from bench.linklab.emulator import EmulatorError, Overrun, Statistics, Traffic
from bench.linklab.laboratory import Lab, laboratory, two_paths
from bench.linklab.link import Boost, BurstLoss, Direction, Link, LinkError, Police, Reorder
from bench.linklab.namespaces import NotAllowed
from bench.linklab.trace import TraceError, mobile_trace, write_trace

__all__ = [
    "Boost",
    "BuildError",
    "BurstLoss",
    "Carried",
    "CrossTraffic",
    "Direction",
    "EmulatorError",
    "Lab",
    "Link",
    "LinkError",
    "NotAllowed",
    "Overrun",
    "Police",
    "Reorder",
    "Statistics",
    "TraceError",
    "Traffic",
    "laboratory",
    "mobile_trace",
    "two_paths",
    "write_trace",
]
