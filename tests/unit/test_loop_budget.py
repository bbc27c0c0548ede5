"""What the loop does on a line whose budget is spent."""

import datetime as dt
import threading
from pathlib import Path
from uuid import UUID

import pytest

from agent import loop as unit_module
from agent.clock.clock import ClockReading, boot_ns
from agent.delivery.spool import Spool
from agent.loop import AgentLoop
from agent.schedule.quota.budget import DataBudget
from agent.settings import AgentSettings, ClockSettings, LineSettings
from xomnet.contract.messages import EventResult, Latency, decode_result
from xomnet.defaults import config_file
from xomnet.mqtt.broker import Broker
from xomnet.targets import load_targets

ANSWERED = Latency(method="icmp", anchors=("127.0.0.1",), sent=1, received=1, loss_percent=0)
MONTH_BEGINS = dt.datetime(2026, 10, 31, 17, 0, tzinfo=dt.UTC)
"""Midnight of 1 November in Viet Nam."""


@pytest.mark.parametrize(
    ("at", "is_probed"),
    [
        (MONTH_BEGINS, False),
        (dt.datetime(2026, 11, 15, 3, 0, tzinfo=dt.UTC), False),
        (dt.datetime(2026, 12, 31, 16, 59, tzinfo=dt.UTC), True),  # what the last minute may need is there
    ],
)
def test_a_line_whose_budget_is_spent_says_so_once_and_sends_no_more_echoes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: dt.datetime, is_probed: bool
) -> None:
    monkeypatch.setattr(unit_module, "IDLE_S", 0.01)
    probed = []

    def probe(*_: object) -> Latency:
        probed.append(1)
        return ANSWERED

    monkeypatch.setattr(unit_module, "probe", probe)
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
    spool, ledger = Spool(tmp_path / "spool.db", "nd-a", UUID(int=1)), DataBudget(tmp_path / "ledger.json")
    unit = AgentLoop(
        settings,
        spool,
        ledger,
        load_targets(config_file("targets.yaml")),
        stop,
        read_clock=lambda _: ClockReading(at, boot_ns(), True, 1.0),
    )
    looks = iter(range(20))
    look = unit._meter.charge
    monkeypatch.setattr(unit._meter, "charge", lambda: look() if next(looks, None) is not None else stop.set())
    unit.run()
    said = [decode_result(pending.payload) for pending in spool.pending(50, unit._clock(), 1)]
    spool.close()
    spent = [one for one in said if isinstance(one, EventResult) and one.data.name == "budget_spent"]
    if is_probed:
        assert probed
        assert not spent
    else:
        detail = "0 of 1000000 bytes: no latency until next month"
        assert [(one.line, one.data.detail) for one in spent] == [("4g", detail)]
        assert not probed
