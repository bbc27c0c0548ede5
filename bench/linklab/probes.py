"""What the self-check measures with: echoes, iperf3, and our own constant flow."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.linklab.cross import Carried
from bench.linklab.laboratory import Lab
from bench.linklab.link import MTU
from bench.linklab.namespaces import NotAllowed

PAYLOAD = 1472
"""Bytes of payload in a UDP packet of 1500."""
HERE = Path(__file__).parent


def needed(name: str, package: str) -> str:
    """A program's name. Raises NotAllowed with the package that has it."""
    if shutil.which(name) is None:
        raise NotAllowed(f"{name} is not installed: apt-get install {package}")
    return name


def round_trips_ms(lab: Lab, count: int, interval_s: float) -> list[float]:
    """Round trips of those echoes that came back."""
    argv = [sys.executable, str(HERE / "echo.py"), lab.server_address, str(count), str(interval_s)]
    found: list[float] = json.loads(lab.run("client", argv).stdout)
    return found


def median_ms(lab: Lab, count: int, interval_s: float = 0.02) -> float:
    """The median round trip in ms. Raises ChildProcessError when nothing came back."""
    found = round_trips_ms(lab, count, interval_s)
    if not found:
        raise ChildProcessError("no echo came back")
    return statistics.median(found)


def iperf3(lab: Lab, *options: str, seconds: float) -> dict[str, Any]:
    """The `end` part of iperf3's report on a transfer from the server to the client. Raises ChildProcessError."""
    server = lab.popen(
        "server",
        [needed("iperf3", "iperf3"), "-s", "-1", "--forceflush"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    with server.stdout:
        for line in server.stdout:
            if "listening" in line:
                break
        argv = ["iperf3", "-c", lab.server_address, "--reverse", "--json", "--time", str(seconds), *options]
        report = json.loads(lab.run("client", argv, timeout=seconds + 30).stdout)
    server.wait(10)
    end: dict[str, Any] = report["end"]
    return end


def udp_loss(lab: Lab, mbps: float, seconds: float) -> float:
    """Share of iperf3's UDP packets that did not arrive, at a rate of IP packets."""
    rate = f"{mbps * PAYLOAD / MTU:.6f}M"
    end = iperf3(lab, "--udp", "--bitrate", rate, "--length", str(PAYLOAD), "--window", "4M", seconds=seconds)
    return float(end["sum"]["lost_percent"]) / 100


def tcp_share(lab: Lab, streams: int, seconds: float, omitted_s: float) -> float:
    """iperf3's TCP goodput as a share of what the link can carry of payload."""
    end = iperf3(lab, "--parallel", str(streams), "--omit", str(omitted_s), seconds=seconds)
    return float(end["sum_received"]["bits_per_second"]) / 1e6 / lab.link.ideal_mbps


def flow(lab: Lab, mbps: float, seconds: float) -> Carried:
    """A constant flow of our own for a while."""
    cross = lab.cross_traffic(mbps)
    time.sleep(seconds)
    return cross.end()
