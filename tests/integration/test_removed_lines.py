"""A line taken out of the registry: what is stored of it can still be seen, and counts for the months it had."""

import csv
import datetime as dt
import io
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from collector.registry.registry_file import HISTORY_FILE, RegistryFile
from collector.report.gather import gather
from collector.rollups.aggregate import RollupBucket
from collector.rollups.rollups import Rollups
from collector.services import Services
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.sqlite import SqliteStore
from collector.web import create_app
from tests.support.months import AFTER, NOVEMBER, OCTOBER, SINCE, TARGETS
from tests.support.province_fixture import SEEDS, province, rows
from tests.support.province_fixture import TARGETS as HAMLET_TARGETS
from tests.support.rolled import fields, settle
from tests.support.stored import speed
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.clock import utc_now
from xomnet_cli import app

pytestmark = pytest.mark.date

DAY = dt.timedelta(days=1)
STAYS = LineRow("nd-stays", "ftth", "fixed", "Xóm 5", "Nam Định/Hải Hậu", "VNPT", SINCE)
GOES = LineRow("nd-goes", "ftth", "fixed", "Xóm 5", "Nam Định/Hải Hậu", "VNPT", SINCE)
GONE_AT = NOVEMBER.since() + 20 * DAY
HEADER = "agent,line,access,hamlet,area,isp,from\n"


def written(row: LineRow) -> str:
    return f"{row.agent},{row.line},{row.access},{row.hamlet},{row.area},{row.isp},{row.from_}\n"


def test_when_a_line_went_is_remembered_and_forgotten_when_it_is_back(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "lines.csv"

    def read(*there: LineRow) -> RegistryFile:
        path.write_text(HEADER + "".join(map(written, there)), encoding="utf-8")
        return RegistryFile(path, TARGETS, tmp_path / HISTORY_FILE, store, lambda: GONE_AT)

    before = GONE_AT - DAY
    assert read(STAYS, GOES).with_removed().end_of(*LineId.of(GOES)) is None
    gone = read(STAYS)
    ended = gone.with_removed().end_of(*LineId.of(GOES))
    assert ended == GONE_AT
    assert gone.current().at(*LineId.of(GOES), before) is None
    everything = gone.with_removed()
    assert everything.at(*LineId.of(GOES), before) == everything.latest(*LineId.of(GOES), ended + DAY) == GOES
    assert gone.with_removed().at(*LineId.of(GOES), ended) is None
    assert read(STAYS).with_removed().end_of(*LineId.of(GOES)) == ended  # over a restart
    assert read(STAYS, GOES).with_removed().end_of(*LineId.of(GOES)) is None


def test_a_line_of_which_it_is_not_known_when_it_went_is_not_taken_for_a_registered_one(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    path, memory = tmp_path / "lines.csv", tmp_path / HISTORY_FILE
    for there in ((STAYS, GOES), (STAYS,)):
        path.write_text(HEADER + "".join(map(written, there)), encoding="utf-8")
        RegistryFile(path, TARGETS, memory, store, lambda: GONE_AT)
    remembered = json.loads(memory.read_text())
    del remembered["gone_at"]
    memory.write_text(json.dumps(remembered))
    path.write_text("broken", encoding="utf-8")
    ever = RegistryFile(path, TARGETS, memory, store, lambda: GONE_AT).with_removed()
    assert ever.latest(*LineId.of(STAYS), GONE_AT) == STAYS
    assert ever.latest(*LineId.of(GOES), GONE_AT) is None
    store.close()


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """The line nd-giaothuy-0002 / 4g was taken out an hour ago."""
    all_, line = province(tmp_path_factory.mktemp("province"), SEEDS[:4]), SEEDS[2]
    ended = utc_now() - dt.timedelta(hours=1)
    now = Registry([row for row in rows(SEEDS[:4]) if row.agent != line.agent], HAMLET_TARGETS)
    ever = Registry(rows(SEEDS[:4]), HAMLET_TARGETS, ended={(line.agent, line.line): ended})
    snapshot = all_.lines.latest
    assert snapshot is not None
    all_.lines.latest = replace(snapshot, lines=tuple(s for s in snapshot.lines if s.row.agent != line.agent))
    return replace(all_, registry=lambda: now, with_removed=lambda: ever)


def test_its_page_shows_what_is_stored_and_says_since_when(without: Services) -> None:
    web = TestClient(create_app(without, "a-token-of-twenty-letters"))
    page = web.get("/lines/nd-giaothuy-0002/4g?lang=en&hours=720")
    assert page.status_code == 200
    ended = without.registry_with_removed().end_of("nd-giaothuy-0002", "4g")
    assert ended is not None
    local = ended.astimezone(dt.timezone(dt.timedelta(hours=7)))
    assert f"Removed from the registry (seen {local:%-d %b %Y %H:%M:%S}): no longer judged." in page.text
    assert page.text.count('<tr class="test ') == 40
    assert "6 outages in 30 days" in page.text
    assert "data-opens" not in page.text  # nothing can be asked of it
    assert "Đã bị xóa khỏi danh mục" in web.get("/lines/nd-giaothuy-0002/4g?lang=vi").text


def test_rest_gives_its_history_and_says_why_there_is_no_state(without: Services) -> None:
    web = TestClient(create_app(without))
    for kind in ("speed", "latency"):
        assert web.get(f"/api/v1/lines/nd-giaothuy-0002/4g/{kind}").json()["results"]
    answer = web.get("/api/v1/lines/nd-giaothuy-0002/4g")
    assert answer.status_code == 404
    assert "was taken out of the registry, seen 20" in answer.json()["error"]["what"]
    assert web.get("/api/v1/lines/nd-nobody/4g/speed").status_code == 404
    assert web.get("/lines/nd-nobody/4g").status_code == 404


def filled(store: Store) -> Registry:
    """Both lines tested eight times a day in October and until GONE_AT; one of them is registered no longer."""
    hours = (1, 5, 9, 12, 19, 20, 21, 22)
    days = [OCTOBER.since() + n * DAY for n in range(51)]
    for row in (STAYS, GOES):
        ats = [day + dt.timedelta(hours=hour) for day in days for hour in hours]
        line = LineId.of(row)
        assert store.write([speed(at, n, line, down_mbps=170.0 + n % 5) for n, at in enumerate(ats, 1)]) == []
    return Registry([STAYS, GOES], TARGETS, ended={LineId.of(GOES): GONE_AT})


def test_the_report_has_it_for_the_months_that_it_was_registered_in(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    registry = filled(store)

    def lines(month: object) -> dict[str, object]:
        found = gather(store, registry, TARGETS, month, None, AFTER + 60 * DAY)  # type: ignore[arg-type]
        return {line.row.agent: line for line in found.lines}

    october, november, december = lines(OCTOBER), lines(NOVEMBER), lines(NOVEMBER.next)
    assert [set(month) for month in (october, november, december)] == [{"nd-stays", "nd-goes"}] * 2 + [{"nd-stays"}]
    stays, goes = november["nd-stays"], november["nd-goes"]
    assert (goes.verdict.verdict, goes.verdict.expected, goes.silent_days) == ("met", 160, 0)  # type: ignore[attr-defined]
    assert (stays.verdict.verdict, stays.verdict.expected, stays.silent_days) == ("not_certain", 240, 10)  # type: ignore[attr-defined]
    assert (goes.taken_out_at, stays.taken_out_at) == (GONE_AT, None)  # type: ignore[attr-defined]
    assert october["nd-goes"].taken_out_at is None  # type: ignore[attr-defined]
    store.close()


def test_the_dashboards_month_says_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    registry = filled(store)
    settle(Rollups(store, lambda: registry, sweep_days=0), AFTER)
    month = RollupBucket("day", NOVEMBER.since(), NOVEMBER.since() + DAY)
    assert fields(store, "line_month", month, agent="nd-goes")["verdict"] == "met"
    place = fields(store, "place_month", month, scope="all", access="fixed")
    assert (place["lines"], place["met"], place["not_certain"]) == (2, 1, 1)
    store.close()


def test_the_command_knows_of_it_from_the_collectors_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("xomnet_cli.report"), "utc_now", lambda: GONE_AT + DAY)
    with_both = SqliteStore(tmp_path / "store.db")
    path = tmp_path / "lines.csv"
    path.write_text(HEADER + written(STAYS) + written(GOES), encoding="utf-8")
    RegistryFile(path, TARGETS, tmp_path / HISTORY_FILE, with_both, lambda: GONE_AT)
    path.write_text(HEADER + written(STAYS), encoding="utf-8")
    with_both.close()
    config = tmp_path / "collector.yaml"
    config.write_text(
        "broker: {host: 127.0.0.1, port: 1883}\nregistry: lines.csv\nstate_dir: .\n"
        "store: {kind: sqlite, path: store.db}\n"
    )

    def asked(out: str) -> str:
        month = str(NOVEMBER)
        done = CliRunner().invoke(
            app, ["report", "--config", str(config), "--month", month, "--lang", "en", "--out", str(tmp_path / out)]
        )
        assert (done.exit_code, out.endswith(".csv")) in ((0, True), (0, False)), done.output
        return (tmp_path / out).read_text(encoding="utf-8-sig")

    found = {row["agent"]: row["taken_out_at"] for row in csv.DictReader(io.StringIO(asked("a.csv")))}
    assert set(found) == {"nd-stays", "nd-goes"}
    assert found["nd-goes"]
    assert not found["nd-stays"]
    said = "removed from the registry during the month, each judged by the days before its removal: 1."
    assert said in asked("a.html")
