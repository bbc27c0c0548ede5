"""What the collector accepts, what it refuses, and that it says so."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.commands.commands import Commands
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import Intake
from collector.metrics import Metrics
from collector.store import Added
from collector.store.points import Point
from collector.store.sqlite import SqliteStore
from tests.support.deployment import HEADER, Collector, until
from tests.support.sender import ROWS, SPOOL, Sender, result
from tests.support.services import Mosquitto
from xomnet.defaults import config_file
from xomnet.mqtt.broker import Broker
from xomnet.registry.registry import load_registry
from xomnet.runtime.clock import utc_now
from xomnet.targets import load_targets

BAD: list[tuple[str, dict[str, Any]]] = [
    ("foreign_agent", {"agent": "nd-b"}),
    ("unknown_line", {"line": "4g"}),
    ("unknown_line", {"at": "2025-12-31T00:00:00Z"}),
    ("future", {"at": "2099-01-01T00:00:00Z"}),
    ("version", {"kind": "gossip"}),
    ("malformed", {"data": {"method": "icmp"}}),
    ("malformed", {"at": "yesterday"}),
    ("malformed", {"line": "FTTH\n"}),
    ("version", {"v": 2}),
]


def test_each_wrong_payload_is_rejected_with_its_reason_and_the_rest_goes_on(
    sender: Sender, collector: Collector
) -> None:
    for seq, (_, changes) in enumerate(BAD, start=1):
        sender.send(result(seq, **changes))
    sender.send(result(100))
    until(lambda: 100 in sender.stored() and len(sender.rejected()) == len(BAD), "all are answered")
    for seq, (code, _) in enumerate(BAD, start=1):
        assert sender.rejected()[seq].startswith(f"{code}: "), sender.rejected()[seq]
    shown = collector.get("/api/v1/rejected")
    assert {letter["seq"] for letter in shown["rejected"]} == set(range(1, len(BAD) + 1))
    assert sum(shown["counts"].values()) == len(BAD) == collector.metric("xomnet_results_rejected_total")
    assert all(json.loads(letter["payload"])["spool"] == SPOOL for letter in shown["rejected"])


def test_an_unknown_agent_is_told_so(sender: Sender) -> None:
    sender.send(result(1, agent="nd-z"), topic="xomnet/v1/nd-z/up")
    until(sender.rejected, "it is answered")
    assert "nd-z" in sender.rejected()[1]
    assert sender.acks[0][0] == "xomnet/v1/nd-z/ack"


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff\xfe\x00", b"[" * 10_000, b'{"v":1}', b"x" * 20_000, b"null", b'{"seq":1e400}']
)
def test_what_is_no_result_at_all_is_kept_and_counted(sender: Sender, collector: Collector, payload: bytes) -> None:
    sender.send(payload)
    sender.send(result(5))
    until(lambda: 5 in sender.stored(), "the good one behind it is stored")
    letters = collector.get("/api/v1/rejected")["rejected"]
    assert len(letters) == 1
    assert letters[0]["code"] in {"malformed", "oversize"}
    assert letters[0]["agent"] == "nd-a"


def test_a_result_sent_twice_is_acknowledged_twice_and_stored_once(sender: Sender, collector: Collector) -> None:
    again = result(9)
    for _ in range(2):
        sender.send(again)
        until(lambda: 9 in sender.stored(), "it is acknowledged")
        sender.acks.clear()
    answer = collector.get("/api/v1/lines/nd-a/ftth/latency")
    assert len(answer["results"]) == 1


def test_rejections_survive_a_restart_of_the_collector(sender: Sender, collector: Collector) -> None:
    sender.send(b"not json")
    until(lambda: collector.get("/api/v1/rejected")["rejected"], "it is kept")
    collector.kill()
    collector.start()
    assert collector.get("/api/v1/rejected")["counts"] == {"malformed": 1}


def test_nothing_is_acknowledged_while_the_dead_letter_file_cannot_be_written(
    sender: Sender, collector: Collector
) -> None:
    letters = collector.folder / "state/dead-letters.jsonl"
    letters.mkdir()
    sender.send(result(1, line="4g"))
    sender.send(result(2))
    until(lambda: collector.metric("xomnet_write_errors_total") >= 1, "it tries")
    assert not sender.rejected()
    letters.rmdir()
    until(lambda: sender.rejected() and 2 in sender.stored(), "both are answered in the end", 60)


def test_a_broken_registry_leaves_the_last_good_one_in_force(sender: Sender, collector: Collector) -> None:
    registry = collector.folder / "lines.csv"
    good = registry.read_text()
    registry.write_text(good + "nd-c,ftth,fiksed,Xóm 1,Nam Định,VNPT,2026-01-01\n")
    until(lambda: "registry refused" in collector.output(), "it is noticed")
    assert "line 4, column access: found 'fiksed'; write fixed or mobile" in collector.output()
    sender.send(result(1))
    until(lambda: 1 in sender.stored(), "results still come in")
    registry.write_text(good + "nd-c,ftth,fixed,Xóm 1,Nam Định,VNPT,2026-01-01\n")
    until(lambda: len(collector.get("/api/v1/lines")["lines"]) == 3, "the corrected registry is in force")


def test_every_registered_line_has_a_state_from_the_first_minute_on(collector: Collector) -> None:
    until(lambda: collector.get("/api/v1/lines")["lines"], "lines are judged")
    states = {(line["agent"], line["line"]): line["state"] for line in collector.get("/api/v1/lines")["lines"]}
    assert states == {("nd-a", "ftth"): "no_data", ("nd-b", "ftth"): "no_data"}
    assert collector.metric('xomnet_lines{state="no_data"}') == 2
    assert collector.metric('xomnet_lines{state="silent"}') == 0


def test_a_line_without_data_is_expected_since_its_row_was_first_seen(collector: Collector) -> None:
    until(lambda: collector.health()["snapshot"] == "ok", "lines are judged")
    first = collector.get("/api/v1/lines/nd-a/ftth")["since"]
    assert 0 <= (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(first)).total_seconds() < 60
    collector.kill()
    collector.start()
    until(lambda: collector.health()["snapshot"] == "ok", "lines are judged again")
    assert collector.get("/api/v1/lines/nd-a/ftth")["since"] == first


def test_an_audit_is_counted_with_what_stopping_early_would_have_said(sender: Sender, collector: Collector) -> None:
    for seq, early in ((1, 99.0), (2, 101.5), (3, None)):
        data = {"engine": "http", "server": "http://s.example/", "down_mbps": 100.0}
        sender.send(result(seq, kind="speed", data=data if early is None else data | {"early_mbps": early}))
    until(lambda: sender.stored() == {1, 2, 3}, "all are stored")
    assert collector.metric("xomnet_audit_early_ratio_count") == 2
    assert collector.metric("xomnet_audit_early_ratio_sum") == pytest.approx(2.005)


class Clumsy(SqliteStore):
    """One whose first write fails as nothing should."""

    failed = 0

    def add(self, results: Sequence[Point]) -> Added:
        if not self.failed:
            self.failed = len(results)
            raise ZeroDivisionError("a defect of ours")
        return super().add(results)


def test_what_a_defect_left_without_an_answer_comes_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    store = Clumsy(tmp_path / "store.db")
    broker = Broker(port=mosquitto.port)
    (tmp_path / "lines.csv").write_text(HEADER + "".join(f"{row}\n" for row in ROWS), encoding="utf-8")
    registry = load_registry(tmp_path / "lines.csv", load_targets(config_file("targets.yaml")))
    intake = Intake(
        broker,
        "clumsy",
        store,
        lambda: registry,
        DeadLetters(tmp_path / "letters"),
        Metrics(),
        Commands(utc_now),
        utc_now,
    )
    intake.start()
    sender = Sender(mosquitto.port)
    try:
        until(lambda: intake.trouble() is None, "it is connected")
        sender.send(result(1))
        until(lambda: sender.stored() == {1}, "it is stored at the second time", 60)
        assert store.failed == 1
    finally:
        sender.close()
        intake.stop()
        store.close()
