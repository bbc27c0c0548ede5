"""What the loop does on a line whose budget is spent."""

import threading
from pathlib import Path
from uuid import UUID

import pytest

from agent import unit as unit_module
from agent.budget import Ledger
from agent.settings import AgentSettings, ClockSettings, LineSettings
from agent.spool import Spool
from agent.unit import Unit
from xomnet.broker import Broker
from xomnet.defaults import config_file
from xomnet.messages import EventResult, decode_result
from xomnet.targets import load_targets


def test_a_line_whose_budget_is_spent_says_so_once_and_sends_no_more_echoes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "IDLE_S", 0.01)
    probed = []
    monkeypatch.setattr(unit_module, "probe", lambda *_: probed.append(1))
    line = LineSettings(line="4g", access="mobile", interface="lo", budget_gb=0.001, every_s=1e6)
    settings = AgentSettings(
        agent="nd-a",
        state_dir=tmp_path,
        broker=Broker(),
        lines=(line,),
        anchors=("127.0.0.1",),
        clock=ClockSettings(assume_synced=True),
    )
    stop = threading.Event()
    spool, ledger = Spool(tmp_path / "spool.db", "nd-a", UUID(int=1)), Ledger(tmp_path / "ledger.json")
    unit = Unit(settings, spool, ledger, load_targets(config_file("targets.yaml")), stop)
    looks = iter(range(20))
    look = unit._meter.look
    monkeypatch.setattr(unit._meter, "look", lambda: look() if next(looks, None) is not None else stop.set())
    unit.run()
    said = [decode_result(pending.payload) for pending in spool.pending(50, unit._clock(), 1)]
    spool.close()
    spent = [one for one in said if isinstance(one, EventResult) and one.data.name == "budget_spent"]
    assert [(one.line, one.data.detail) for one in spent] == [("4g", "0 of 1000000 bytes: no latency until next month")]
    assert not probed
