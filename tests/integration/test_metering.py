"""The bytes that the ledger counts are those of the port: a real download over a link with delay, in a namespace."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.linklab import Lab, Link, laboratory

pytestmark = pytest.mark.alone

PORT = 8099
AGREES = 0.02
CLIENT = """
import json, sys
from pathlib import Path
from agent.schedule.quota.budget import DataBudget
from agent.measure.download import METERED_BYTES, download, wanted_bytes
from agent.clock.clock import read_clock
from agent.net.counters import read_counters
from agent.schedule.quota.metering import DRAIN_S, Meter, wire_bytes
from agent.settings import AgentSettings, LineSettings
from xomnet.mqtt.broker import Broker
import threading, time

def counter():
    return sum(int(Path(f"/sys/class/net/line0/statistics/{way}_bytes").read_text()) for way in ("rx", "tx"))

url, folder, interface = sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None
line = LineSettings(line="4g", access="mobile", interface=interface)
ledger = DataBudget(folder / "ledger.json")
meter = Meter(AgentSettings(agent="nd-a", state_dir=folder, broker=Broker(), lines=(line,)), ledger, read_clock)
before = counter()
allowed = meter.allowance(line, wanted_bytes(line), None)
meter.reserve(line, allowed.max_bytes)
result = download(line, [url], [], allowed.max_bytes, threading.Event())
time.sleep(DRAIN_S)
meter.settle(line, result)
print(json.dumps({"port": counter() - before, "ledger": ledger.used_bytes("4g"), "estimate": wire_bytes(result),
                  "payload": result.bytes, "error": result.error}))
"""


def measured(lab: Lab, folder: Path, interface: str | None) -> dict[str, Any]:
    """One test of a metered line on the client, as the unit runs it."""
    arguments = ["--host", lab.server_address, "--port", str(PORT)]
    server = lab.popen(
        "server",
        [sys.executable, "-m", "measurement_server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdout is not None
    server.stdout.readline()
    time.sleep(0.3)
    url = f"http://{lab.server_address}:{PORT}/"
    done = lab.run("client", [sys.executable, "-c", CLIENT, url, str(folder), interface or ""])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("named", [True, False], ids=["named", "not-named"])
def test_the_ledger_agrees_with_the_counters_of_the_port(tmp_path: Path, named: bool) -> None:
    with laboratory(Link(rate_mbps=20, rtt_ms=50), late_share=1.0) as lab:
        found = measured(lab, tmp_path, lab.client_interface if named else None)
    assert found["error"] is None
    assert found["payload"] > 1_000_000
    assert found["ledger"] == pytest.approx(found["port"], rel=AGREES)
    assert found["estimate"] == pytest.approx(found["port"], rel=AGREES)  # what counts where no counter sees the line
