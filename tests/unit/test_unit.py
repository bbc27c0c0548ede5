"""What the loop makes of a line: whose fault a dark port is, what latency is measured to."""

import threading
from pathlib import Path
from uuid import UUID

import pytest

from agent import unit as unit_module
from agent.budget import Ledger
from agent.latency import Anchor
from agent.precheck import Precheck
from agent.settings import AgentSettings, ClockSettings, LineSettings
from agent.spool import Spool
from agent.unit import Unit, server_anchors
from collector.assess import counted_mbps
from collector.store import Sample
from xomnet.broker import Broker
from xomnet.defaults import config_file
from xomnet.messages import Access, SpeedResult, decode_result
from xomnet.targets import load_targets


def first_test(folder: Path, access: Access, stop: threading.Event) -> SpeedResult:
    """What a unit with one line puts into its spool for its first download."""
    settings = AgentSettings(
        agent="nd-a",
        state_dir=folder,
        broker=Broker(),
        lines=(LineSettings(line="one", access=access, interface="eth0", every_s=0.01),),
        servers=("http://127.0.0.1:9/",),
        clock=ClockSettings(assume_synced=True),
    )
    spool = Spool(folder / "spool.db", "nd-a", UUID(int=1))
    ledger = Ledger(folder / "ledger.json")
    unit = Unit(settings, spool, ledger, load_targets(config_file("targets.yaml")), stop)
    loop = threading.Thread(target=unit.run)
    loop.start()
    try:
        while True:
            now = unit._clock()
            for pending in spool.pending(50, now, 1):
                result = decode_result(pending.payload)
                if isinstance(result, SpeedResult):
                    return result
    finally:
        stop.set()
        loop.join(10)
        spool.close()


@pytest.mark.parametrize(("access", "counts_for"), [("fixed", None), ("mobile", 0.0)])
def test_a_dark_ethernet_port_is_our_side_and_a_modem_without_a_network_is_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: Access, counts_for: float | None
) -> None:
    down = Precheck(("link_down",), None, ("interface_down", "eth0 is down"))
    monkeypatch.setattr(unit_module, "precheck", lambda *_: down)
    result = first_test(tmp_path, access, threading.Event())
    assert result.data.error == "interface_down"
    assert counted_mbps(Sample(result.at, None, result.data.flags, result.data.error)) == counts_for


def test_a_unit_without_anchors_measures_latency_to_its_servers() -> None:
    assert server_anchors(("http://a.example.vn:8080/", "http://b.example.vn/", "http://c.example.vn/")) == (
        Anchor("a.example.vn", 8080),
        Anchor("b.example.vn", 80),
    )
