"""Runs on links of the laboratory: servers up, Overrun done again, results kept as they come."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bench.linklab import Lab, Link, Overrun, laboratory
from bench.linklab.emulator import LATE_SHARE
from bench.tools import Inside

T = TypeVar("T")

RESULTS = Path(__file__).parent / "results"
PORT = 8099
TRIES = 10


def on_a_fresh_link(
    link: Link, measure: Callable[[Lab, str, Inside], T], tries: int = TRIES, late_share: float = LATE_SHARE
) -> T:
    """What `measure(lab, url, inside)` finds on a link of its own, with our server and iperf3's at its far end.

    A run that the laboratory could not keep up with (see `laboratory` for `late_share`) is void and done again. Raises
    Overrun when that goes on.
    """
    for attempt in range(tries):
        try:
            with laboratory(link, late_share=late_share) as lab:
                _serve(lab)
                return measure(lab, f"http://{lab.server_address}:{PORT}/", partial(lab.inside, "client"))
        except Overrun as overrun:
            print(f"void: {overrun}", file=sys.stderr)
            if attempt + 1 == tries:
                raise
    raise AssertionError("unreachable")


def _serve(lab: Lab) -> None:
    server = [sys.executable, "-m", "measurement_server", "--host", lab.server_address, "--port", str(PORT)]
    process = lab.popen("server", server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    lab.popen("server", ["iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)  # it does not say when it listens


def iperf3_by_second(lab: Lab, streams: int, seconds: int) -> list[float]:
    """Mb/s of each second of a transfer by iperf3, of what its receiver read."""
    wanted = ["iperf3", "-c", lab.server_address, "-R", "-P", str(streams), "-t", str(seconds), "-J"]
    intervals = json.loads(lab.run("client", wanted, timeout=seconds + 30).stdout)["intervals"]
    return [round(interval["sum"]["bits_per_second"] / 1e6, 3) for interval in intervals[:seconds]]


def write(name: str, found: Any, text: str) -> None:
    """`results/NAME.json` and `.md`, each replaced whole."""
    RESULTS.mkdir(exist_ok=True)
    for ending, content in (("json", json.dumps(found, indent=1) + "\n"), ("md", text)):
        new = RESULTS / f"{name}.{ending}.new"
        new.write_text(content, encoding="utf-8")
        os.replace(new, RESULTS / f"{name}.{ending}")


def kept(name: str) -> Any:
    """What `write` kept; an empty list where it never ran."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
