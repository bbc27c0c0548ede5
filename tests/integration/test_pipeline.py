"""The whole way of a result on real parts: unit, broker with certificates and rules, collector, InfluxDB."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.deployment import DATABASE, Collector, MeasureServer, Unit, made, secured, stored_ids, until
from tests.support.services import Authority, InfluxV2, Mosquitto

ROW = "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01"


class Province(NamedTuple):
    broker: Mosquitto
    influx: InfluxV2
    collector: Collector
    unit: Unit


@pytest.fixture
def province(
    tmp_path: Path, mosquitto_tls: Mosquitto, own_influx_v2: InfluxV2, authority: Authority
) -> Iterator[Province]:
    """All of them running, the unit against a measurement server of 60 Mb/s."""
    own_influx_v2.create(DATABASE)
    credentials = secured(mosquitto_tls, authority, "collector")
    with (
        MeasureServer(made(tmp_path, "server"), 60) as server,
        Collector(made(tmp_path, "collector"), credentials, [ROW], own_influx_v2) as collector,
        Unit(made(tmp_path, "unit"), "nd-a", secured(mosquitto_tls, authority, "nd-a"), server.url) as unit,
    ):
        yield Province(mosquitto_tls, own_influx_v2, collector, unit)


def committed_are_stored_once(province: Province) -> None:
    """Stops the unit's clock of results by draining: what was committed is in the database, each once."""
    committed = province.unit.committed()
    until(lambda: province.unit.waiting(committed) == 0, "the spool drains", 60)
    until(
        lambda: {seq for _, seq in stored_ids(province.influx, "nd-a")} >= set(range(1, committed + 1)),
        f"all of {committed} results are in the database",
        30,
    )
    ids = stored_ids(province.influx, "nd-a")
    assert len(ids) == len(set(ids)), "a result is there twice"
    assert len({spool for spool, _ in ids}) == 1


def test_a_measured_line_reaches_the_page_and_the_database(province: Province) -> None:
    until(lambda: province.collector.get("/api/v1/lines")["lines"][0]["samples"] >= 1, "a first test is judged")
    line = province.collector.get("/api/v1/lines")["lines"][0]
    assert (line["agent"], line["line"], line["hamlet"], line["target_mbps"]) == ("nd-a", "ftth", "Xóm 5", 150)
    assert line["median_mbps"] == pytest.approx(60, rel=0.05)
    until(lambda: "line_state" in province.influx.query("SHOW MEASUREMENTS", DATABASE), "line_state is written")
    tags = province.influx.query("SHOW TAG KEYS FROM speed", DATABASE)
    assert {row[0] for row in json.loads(tags)["results"][0]["series"][0]["values"]} == {
        *("agent", "line", "access", "isp", "hamlet", "area")
    }
    agents = province.collector.get("/api/v1/agents")["agents"]
    assert [(agent["agent"], agent["online"]) for agent in agents] == [("nd-a", True)]


def test_nothing_is_lost_or_doubled_when_each_process_is_killed_once(province: Province) -> None:
    until(lambda: province.collector.metric("xomnet_results_stored_total") >= 5, "results flow")
    for victim in (province.collector, province.influx, province.broker, province.unit):
        before = province.unit.committed()
        victim.kill()
        if victim is not province.unit:
            until(lambda before=before: province.unit.committed() >= before + 3, "the unit goes on measuring")  # type: ignore[misc]
        victim.start()
    committed_are_stored_once(province)


def test_a_late_result_keeps_the_row_in_force_when_it_was_measured(province: Province) -> None:
    until(lambda: province.collector.metric("xomnet_results_stored_total") >= 3, "results flow")
    province.collector.stop()
    before = province.unit.committed()
    until(lambda: province.unit.committed() >= before + 3, "results wait")
    registry = province.collector.folder / "lines.csv"
    registry.write_text(registry.read_text() + ROW.replace("Xóm 5", "Tổ 7").replace("2026-01-01", "2099-01-01") + "\n")
    province.collector.start()
    committed_are_stored_once(province)
    hamlets = province.influx.query('SHOW TAG VALUES FROM latency WITH KEY = "hamlet"', DATABASE)
    assert "Xóm 5" in hamlets
    assert "Tổ 7" not in hamlets
