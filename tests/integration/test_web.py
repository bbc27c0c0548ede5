"""Page and REST over a real SQLite store: what they answer, how they refuse, that nothing waits for a slow store."""

import csv
import datetime as dt
import io
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

import pytest
from markupsafe import escape
from msgspec import Struct
from starlette.testclient import TestClient

from collector.ingest.presence import Presence
from collector.judge.confidence_interval import median_interval
from collector.judge.line_states import line_state_points
from collector.services import Services
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.points import point_of
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, SpeedRow
from collector.texts.texts import Texts
from collector.web import create_app
from collector.web.app import SECURITY_HEADERS
from collector.web.views import RECEIVED_AT, RECEIVED_MS
from tests.support.filled import filled
from tests.support.province_fixture import HOSTILE, SEEDS, Heard, Seed, fill, province, rows, services
from xomnet.contract.fields import Field
from xomnet.contract.flat_fields import declared_fields
from xomnet.contract.messages import (
    Event,
    EventResult,
    Health,
    HealthResult,
    Latency,
    LatencyResult,
    Outage,
    OutageResult,
    Result,
    Speed,
    SpeedResult,
)
from xomnet.runtime.clock import utc_now
from xomnet.states import STATES

pytestmark = pytest.mark.date

Json = dict[str, Any]
FTTH = "/api/v1/lines/nd-haihau-0012/ftth"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return province(tmp_path_factory.mktemp("province"))


@pytest.fixture
def web(seeded: Services) -> Iterator[TestClient]:
    with TestClient(create_app(seeded), raise_server_exceptions=False) as client:
        yield client


class Away:
    """A store whose every read fails, or hangs until `release`."""

    def __init__(self, hangs: bool = False) -> None:
        self.release = threading.Event()
        self._hangs = hangs

    def __getattr__(self, name: str) -> Any:
        def read(*_: Any, **__: Any) -> Any:
            if self._hangs:
                self.release.wait(30)
                return [] if name != "ping" else None
            raise StoreUnavailable("connection refused", 7)

        return read


def store_away(seeded: Services, away: Away) -> TestClient:
    lost = replace(seeded, store=cast(Store, away))
    return TestClient(create_app(lost), raise_server_exceptions=False)


def test_lines_are_judged_and_the_worst_come_first(web: TestClient, seeded: Services) -> None:
    answer = web.get("/api/v1/lines").json()
    lines = answer["lines"]
    assert len(lines) == len(SEEDS)
    states = [line["state"] for line in lines]
    assert set(states) == set(STATES)
    assert states == sorted(states, key=STATES.index)
    assert seeded.lines.latest is not None
    assert dt.datetime.fromisoformat(answer["computed_at"]) == seeded.lines.latest.at
    for line in lines:
        if "median_mbps" in line:
            assert line["ratio"] == pytest.approx(line["median_mbps"] / line["target_mbps"])
            age = (utc_now() - dt.datetime.fromisoformat(line["last_result_at"])).total_seconds()
            assert line["age_s"] == pytest.approx(age, abs=5)
    never = next(line for line in lines if line["agent"] == "nd-haihau-0031")
    assert never["samples"] == 0
    assert not {"median_mbps", "ratio", "last_result_at", "age_s", "now_mbps"} & never.keys()
    assert "lat" not in next(line for line in lines if line["agent"] == "nd-giaothuy-0011")


def test_the_median_is_that_of_the_tests_that_count(web: TestClient) -> None:
    line = web.get("/api/v1/lines/nd-giaothuy-0002/4g").json()
    tests = web.get("/api/v1/lines/nd-giaothuy-0002/4g/speed").json()["results"]
    counted = sorted(test.get("down_mbps", 0.0) for test in tests if test["counts"])
    assert line["samples"] == pytest.approx(len(counted), abs=1)  # the window moved on since the snapshot
    assert line["median_mbps"] == pytest.approx(counted[len(counted) // 2], rel=0.05)
    assert line["failed"] == sum("error" in test for test in tests)
    assert median_interval(counted) is not None
    assert line["low_mbps"] < line["median_mbps"] < line["high_mbps"] < 70


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("area=Nam Định/Hải Hậu", {"nd-haihau-0012", "nd-haihau-0031"}),
        ("area=Nam Định/Hải", set()),
        ("area=Nam Đi%CC%A3nh/Hải Hậu/Hải Minh", {"nd-haihau-0012"}),
        ("isp=FPT&isp=MobiFone&access=fixed", {"nd-yyen-0003", "nd-vuban-0004"}),
        ("state=not_assessable", {"nd-xuantruong-0001"}),
        ("state=silent", {"nd-nghiahung-0007"}),
        ("state=no_data", {"nd-haihau-0031"}),
        ("state=silent&state=no_data", {"nd-haihau-0031", "nd-nghiahung-0007"}),
        ("isp=nobody", set()),
    ],
)
def test_filters_leave_what_was_asked_for(web: TestClient, query: str, expected: set[str]) -> None:
    assert {line["agent"] for line in web.get(f"/api/v1/lines?{query}").json()["lines"]} == expected


@pytest.mark.parametrize(
    ("address", "where", "allowed"),
    [
        ("/api/v1/lines?state=bad", "state", "short"),
        ("/api/v1/lines?acces=fixed", "acces", "access"),
        ("/api/v1/lines?area=a&area=b", "area", "one value"),
        (f"{FTTH}/speed?from=yesterday", "from", "RFC 3339"),
        (f"{FTTH}/speed?from=2026-11-22T10:00:00", "from", "RFC 3339"),
        (f"{FTTH}/speed?from=2026-11-22T10:00:00Z&to=2026-11-22T09:00:00Z", "from", "before to"),
        (f"{FTTH}/latency?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from", "31 days"),
        (f"{FTTH}/speed?to=0001-01-01T00:00:00Z", "to", "1970"),
        (f"{FTTH}/speed?to=9999-12-31T23:59:59-23:59", "to", "1970"),
        (f"{FTTH}/speed?format=xml", "format", "csv"),
    ],
)
def test_a_bad_parameter_is_named_with_what_was_found_and_what_is_allowed(
    web: TestClient, address: str, where: str, allowed: str
) -> None:
    answer = web.get(address)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["where"] == f"query parameter {where}"
    assert allowed in error["allowed"]
    assert "found" in error["what"]


def test_a_range_with_an_offset_whose_plus_was_not_escaped_is_understood(web: TestClient) -> None:
    now = utc_now().replace(microsecond=0)
    local = dt.timezone(dt.timedelta(hours=7))
    since, until = (now - dt.timedelta(days=3)).astimezone(local).isoformat(), now.astimezone(local).isoformat()
    assert since.endswith("+07:00")
    answer = web.get(f"{FTTH}/speed?from={since}&to={until}").json()
    assert dt.datetime.fromisoformat(answer["from"]) == now - dt.timedelta(days=3)
    assert answer["from"].endswith("Z")
    instants = [dt.datetime.fromisoformat(r["at"]) for r in answer["results"]]
    assert len(instants) > 30
    assert instants == sorted(instants)
    assert now - dt.timedelta(days=3) <= instants[0] <= instants[-1] < now


def test_csv_has_a_row_a_test_and_no_formula(web: TestClient, tmp_path: Path) -> None:
    answer = web.get(f"{FTTH}/speed?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "nd-haihau-0012_ftth_speed.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    results = web.get(f"{FTTH}/speed").json()["results"]
    assert [float(r["down_mbps"]) for r in rows] == [r["down_mbps"] for r in results]
    assert rows[0]["at"] == results[0]["at"]
    assert rows[0]["error"] == ""
    latency = web.get(f"{FTTH}/latency?format=csv").text.splitlines()
    assert len(latency) == len(web.get(f"{FTTH}/latency").json()["results"]) + 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """A line and its unit with one result of each kind, in which every field is set; none is late or excluded."""
    made = services(tmp_path_factory.mktemp("whole"), SEEDS[:1])
    (row,), now = rows(SEEDS[:1]), utc_now()
    base: Json = {"v": 1, "agent": "nd-haihau-0012", "spool": UUID(int=1), "boot": UUID(int=2), "clock": "estimated",
                  "at_error_s": 77.25, "at": now - dt.timedelta(minutes=5)}  # fmt: skip
    sent: list[Result] = [
        SpeedResult(**base, seq=1, line="ftth", data=filled(Speed)),
        LatencyResult(**base, seq=2, line="ftth", data=filled(Latency)),
        OutageResult(**base, seq=3, line="ftth", data=filled(Outage)),
        HealthResult(**base, seq=4, data=filled(Health)),
        EventResult(**base, seq=5, line="ftth", data=filled(Event)),
    ]
    assert made.store.write([point_of(result, row, now) for result in sent]) == []
    made.lines.take(now)
    return made


def shown_of(row: type[Struct]) -> list[tuple[str, Field]]:
    """The declared fields that such a result has."""
    return [(field.name, label) for field, label in declared_fields(row) if field.name not in ("late", "excluded")]


@pytest.mark.parametrize(
    ("address", "row"),
    [
        (f"{FTTH}/speed", SpeedRow),
        (f"{FTTH}/latency", LatencyRow),
        (f"{FTTH}/outages", OutageRow),
        ("/api/v1/agents/nd-haihau-0012/events", EventRow),
    ],
)
def test_every_measured_field_is_in_rest_and_in_csv(whole: Services, address: str, row: type[Struct]) -> None:
    web = TestClient(create_app(whole))
    declared = {name for name, _ in shown_of(row)} - {RECEIVED_MS} | {RECEIVED_AT}
    (result,) = web.get(address).json()["results"]
    assert not declared - result.keys()
    assert result["at_error_s"] == 77.25
    received = dt.datetime.fromisoformat(result[RECEIVED_AT]) - dt.datetime.fromisoformat(result["at"])
    assert received.total_seconds() == pytest.approx(300, abs=0.01)
    text = web.get(f"{address}?format=csv").text.removeprefix("\ufeff")
    (cells,) = csv.DictReader(io.StringIO(text))
    assert not {name for name in declared if not cells[name]}
    assert next(iter(cells)) == "at"
    if row is SpeedRow:
        assert cells["series_mbps"] == " ".join(str(mbps) for mbps in result["series_mbps"])
        assert cells["radio_bands"] == " ".join(result["radio_bands"])


def test_every_field_of_health_is_shown_for_a_unit(whole: Services) -> None:
    (agent,) = TestClient(create_app(whole)).get("/api/v1/agents").json()["agents"]
    assert not {name for name, _ in shown_of(HealthRow)} - {RECEIVED_MS} - agent["health"].keys()
    assert RECEIVED_AT in agent["health"]
    assert agent["health"]["interfaces"][0]["name"] == "name"


@pytest.mark.parametrize("language", ["vi", "en"])
def test_every_measured_field_is_on_the_page_of_a_line(whole: Services, language: Literal["vi", "en"]) -> None:
    page = TestClient(create_app(whole)).get("/lines/nd-haihau-0012/ftth", params={"lang": language}).text
    t = Texts(language)
    kinds: dict[str, type[Struct]] = {"test": SpeedRow, "latency": LatencyRow, "outage": OutageRow, "unit": HealthRow}
    for name, row in kinds.items():
        part = re.search(rf'<details class="all" id="{name}">.*?</details>', page, re.DOTALL)
        assert part is not None, name
        labels = [t.label(declared) for _, declared in shown_of(row)]
        assert not [label for label in labels if f"<dt>{escape(label)}</dt>" not in part[0]], name
    assert page.count('class="series"') == 1
    events = page[page.index('<details class="all" id="events">') :]
    shown = [label for name, label in shown_of(EventRow) if name != RECEIVED_MS]
    assert not [label for label in shown if f"{escape(t.label(label))}: " not in events]


def test_the_figures_of_a_chosen_test_stand_open(web: TestClient) -> None:
    page = web.get("/lines/nd-haihau-0012/ftth", params={"lang": "en", "hours": "720"}).text
    assert '<details class="all" id="test">' in page
    links = re.findall(r'<td><a href="(\?hours=720&amp;test=[^"#]+)#test"><time datetime="([^"]+)">', page)
    href, at = links[3]
    chosen = web.get("/lines/nd-haihau-0012/ftth" + unescape(href)).text
    (part,) = re.findall(r'<details class="all" id="test" open>.*?</details>', chosen, re.DOTALL)
    moment = Texts("en").second(dt.datetime.fromisoformat(at))
    assert f"<summary>All figures of the test at {moment}</summary>" in part
    (test,) = web.get(f"{FTTH}/speed", params={"from": at, "to": just_after(at)}).json()["results"]
    assert f"<dt>Duration</dt><dd>{test['duration_s']} s</dd>" in part


def just_after(at: str) -> str:
    return (dt.datetime.fromisoformat(at) + dt.timedelta(microseconds=1)).isoformat()


def test_a_test_that_is_not_there_is_404_and_a_time_that_is_none_400(web: TestClient) -> None:
    assert web.get("/lines/nd-haihau-0012/ftth?test=2026-01-01T00:00:00Z").status_code == 404
    assert web.get("/lines/nd-haihau-0012/ftth?test=yesterday").status_code == 400


def test_the_events_of_a_unit_that_is_not_registered_are_404(web: TestClient) -> None:
    assert web.get("/api/v1/agents/nobody/events").json()["error"]["what"] == "no unit nobody in the registry"


def test_agents_are_listed_whether_heard_registered_or_both(seeded: Services) -> None:
    heard = Heard([Presence("nd-new-0001", True, "0.2.0", utc_now()), *seeded.agents.agents()])
    both = replace(seeded, agents=heard)
    agents = {a["agent"]: a for a in TestClient(create_app(both)).get("/api/v1/agents").json()["agents"]}
    assert agents["nd-new-0001"] == {
        **{"agent": "nd-new-0001", "online": True, "registered": False, "lines": [], "version": "0.2.0"},
        "since": agents["nd-new-0001"]["since"],
    }
    never = agents["nd-haihau-0031"]
    assert (never["online"], [line["line"] for line in never["lines"]]) == (False, ["4g"])
    assert not {"version", "since", "health"} & never.keys()
    known = agents["nd-haihau-0012"]
    assert [line["line"] for line in known["lines"]] == ["ftth", "4g"]
    assert known["health"]["temp_c"] == 51.5
    assert known["health"]["clock_synced"] is True
    assert known["health"]["throttled"] == 0


def test_rejected_messages_are_counted_and_shown_newest_first(web: TestClient) -> None:
    answer = web.get("/api/v1/rejected").json()
    assert answer["counts"] == {"unknown_agent": 1, "malformed": 1}
    assert [r["code"] for r in answer["rejected"]] == ["malformed", "unknown_agent"]
    assert answer["rejected"][0]["payload_base64"] == "//4="
    assert answer["rejected"][1]["payload"] == '{"v":1}'


@pytest.mark.parametrize(
    "address",
    ["/api/v1/lines/nd-haihau-0012/4x", "/api/v1/lines/nobody/4g/speed", "/api/v1/lines/%3Cscript%3E/4g", "/api/v2"],
)
def test_what_is_not_there_is_404_as_json(web: TestClient, address: str) -> None:
    answer = web.get(address)
    assert answer.status_code == 404
    assert {"what", "where"} <= answer.json()["error"].keys()


def test_a_method_that_is_not_allowed_is_405_as_json(web: TestClient) -> None:
    answer = web.post("/api/v1/lines")
    assert answer.status_code == 405
    assert answer.json()["error"]["where"] == "/api/v1/lines"


def test_a_405_names_every_method_of_the_path(web: TestClient) -> None:
    assert web.put("/api/v1/maintenance").headers["Allow"] == "GET, HEAD, POST"


def test_the_page_of_a_line_says_what_stopping_early_costs(web: TestClient) -> None:
    page = web.get("/lines/nd-haihau-0012/ftth", params={"lang": "en", "hours": "720"}).text
    assert re.search(r"<dt>Early stop</dt><dd>-0\.2% in [0-9]+ full-length tests</dd>", page)
    page = web.get("/lines/nd-haihau-0012/ftth", params={"lang": "vi", "hours": "720"}).text
    assert re.search(r"<dt>Dừng sớm</dt><dd>lệch -0,2% qua [0-9]+ phép đo đủ thời lượng</dd>", page)


def test_metrics_are_prometheus_text(web: TestClient) -> None:
    answer = web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "xomnet_results_received_total" in answer.text


def test_a_line_that_was_never_heard_is_without_data_everywhere(web: TestClient, seeded: Services) -> None:
    line = web.get("/api/v1/lines/nd-haihau-0031/4g").json()
    assert line["state"] == "no_data"
    assert "NO DATA YET" in web.get("/lines/nd-haihau-0031/4g?lang=en").text
    page = web.get("/lines/nd-haihau-0031/4g?lang=vi").text
    assert "CHƯA CÓ SỐ LIỆU" in page
    assert "MẤT LIÊN LẠC" not in page
    assert 'class="chip no_data" href="/?state=no_data"' in web.get("/?lang=vi").text
    assert "--no-data:" in web.get("/states.css").text
    document = web.get("/openapi.json").json()
    (asked,) = (p for p in document["paths"]["/api/v1/lines"]["get"]["parameters"] if p["name"] == "state")
    assert set(asked["schema"]["items"]["enum"]) == set(STATES)
    assert set(document["components"]["schemas"]["Line"]["properties"]["state"]["enum"]) == set(STATES)
    assert seeded.lines.latest is not None
    point = next(p for p in line_state_points(seeded.lines.latest) if p.tags["agent"] == "nd-haihau-0031")
    assert (point.fields["state"], point.fields["state_code"]) == ("no_data", 5)


def test_health_is_ok_and_names_each_part_that_is_not(web: TestClient, seeded: Services, tmp_path: Path) -> None:
    assert web.get("/healthz").status_code == 200
    assert web.get("/healthz").json()["status"] == "ok"

    lost = store_away(seeded, Away()).get("/healthz")
    assert lost.status_code == 503
    assert lost.json()["store"] == "unavailable: connection refused"
    assert lost.json()["snapshot"] == "ok"

    fresh = services(tmp_path, SEEDS[:1])
    fresh = replace(fresh, agents=Heard([], "not connected"))
    answer = TestClient(create_app(fresh)).get("/healthz").json()
    assert (answer["status"], answer["store"], answer["broker"]) == ("failing", "ok", "not connected")
    assert answer["snapshot"] == "not taken yet"

    snapshot = fresh.lines.take(utc_now())
    fresh.lines.latest = type(snapshot)(snapshot.at - dt.timedelta(seconds=200), snapshot.lines)
    old = TestClient(create_app(fresh)).get("/healthz").json()["snapshot"]
    assert old.startswith("too old: 20"), "on a busy machine it is a second more"


@pytest.mark.parametrize(
    "address", [f"{FTTH}/speed", f"{FTTH}/latency", "/api/v1/agents", "/lines/nd-haihau-0012/ftth"]
)
def test_a_store_that_is_away_is_503_with_retry_after(seeded: Services, address: str) -> None:
    answer = store_away(seeded, Away()).get(address)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 5
    assert "connection refused" in answer.text
    assert "Traceback" not in answer.text


def test_while_the_store_hangs_everything_that_needs_it_not_still_answers(seeded: Services) -> None:
    away = Away(hangs=True)
    with store_away(seeded, away) as client:
        waiting = [threading.Thread(target=client.get, args=[f"{FTTH}/speed"]) for _ in range(30)]
        for thread in waiting:
            thread.start()
        time.sleep(0.2)
        began = time.monotonic()
        for address in ("/metrics", "/", "/api/v1/lines", "/api/v1/rejected", FTTH):
            assert client.get(address).status_code == 200
        assert time.monotonic() - began < 3
        health = client.get("/healthz")
        assert health.status_code == 503
        assert "no answer within" in health.json()["store"]
        assert time.monotonic() - began < 6
        away.release.set()
        for thread in waiting:
            thread.join(10)


def test_before_the_first_snapshot_the_page_says_so_and_rest_asks_to_come_back(tmp_path: Path) -> None:
    client = TestClient(create_app(services(tmp_path, SEEDS[:2])))
    page = client.get("/")
    assert page.status_code == 200
    assert "lần đầu" in page.text
    answer = client.get("/api/v1/lines")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    line = client.get("/lines/nd-haihau-0012/ftth")
    assert line.status_code == 200
    assert "lần đầu" in line.text
    assert 'data-refresh="2"' in line.text


def test_with_no_result_yet_three_things_to_check_are_named(tmp_path: Path) -> None:
    silent = services(tmp_path, SEEDS[:3])
    silent.lines.take(utc_now())
    client = TestClient(create_app(silent))
    vi, en = client.get("/").text, client.get("/?lang=en").text
    for text, heading in ((vi, "Chưa có thiết bị đo nào gửi kết quả"), (en, "No unit has reported yet")):
        assert heading in text
        notice = text[text.index("<ol>") : text.index("</ol>")]
        assert notice.count("<li>") == 3
    assert "2 messages were rejected" in en
    assert "xomnet agent check" in vi


def test_an_empty_registry_says_what_to_do(tmp_path: Path) -> None:
    empty = services(tmp_path, [])
    empty.lines.take(utc_now())
    assert "lines.csv" in TestClient(create_app(empty)).get("/").text
    assert TestClient(create_app(empty)).get("/api/v1/lines").json()["lines"] == []


def test_old_figures_are_marked_on_the_page(seeded: Services, tmp_path: Path) -> None:
    old = province(tmp_path, SEEDS[:2])
    snapshot = old.lines.latest
    assert snapshot is not None
    assert "Số liệu đã cũ" not in TestClient(create_app(old)).get("/").text
    old.lines.latest = type(snapshot)(snapshot.at - dt.timedelta(minutes=12), snapshot.lines)
    assert "Số liệu đã cũ: lần đánh giá gần nhất 12 phút trước" in TestClient(create_app(old)).get("/").text


def test_vietnamese_is_the_default_and_english_is_kept_in_a_cookie(seeded: Services) -> None:
    client = TestClient(create_app(seeded), headers={"Accept-Language": "en"})
    assert '<html lang="vi">' in client.get("/").text
    english = client.get("/?lang=en&state=short")
    assert '<html lang="en">' in english.text
    assert "/?lang=vi&amp;state=short" in english.text.replace("?state=short&amp;lang=vi", "?lang=vi&amp;state=short")
    assert '<html lang="en">' in client.get("/lines/nd-haihau-0012/ftth").text
    assert '<html lang="vi">' in client.get("/?lang=vi").text
    assert '<html lang="vi">' in client.get("/").text


@pytest.mark.parametrize("address", ["/?state=nonsense", "/?lang=fr", "/lines/nd-haihau-0012/ftth?hours=5"])
def test_a_page_that_can_not_be_says_what_is_allowed(web: TestClient, address: str) -> None:
    answer = web.get(address)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "Cho phép" in answer.text


@pytest.mark.parametrize(
    "address", ["/", "/?lang=fr", "/nothing", "/api/v1/lines", "/healthz", "/static/page.css", "/states.css"]
)
def test_every_answer_carries_the_security_headers(web: TestClient, address: str) -> None:
    headers = web.get(address).headers
    for name, value in SECURITY_HEADERS.items():
        assert headers[name] == value
    assert "unsafe" not in headers["content-security-policy"]


def test_a_bug_shows_no_trace_and_carries_the_headers(seeded: Services) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    bad = replace(seeded, registry=cast(Any, broken))
    client = TestClient(create_app(bad), raise_server_exceptions=False)
    for address in ("/api/v1/agents", "/lines/nobody/4g"):
        answer = client.get(address)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = province(tmp_path, [HOSTILE, *SEEDS[:2]])
    client = TestClient(create_app(hostile))
    for address in ("/", "/lines/nd-hostile-0001/ftth", "/?area=<b>&isp=<i>", "/lines/<u>/x"):
        text = client.get(address).text
        assert not re.search(r"<(script>|img|b>&|i>|u>)|onerror=alert\(1\)>(?!.*&gt;)", text.replace("</i>", "")), (
            address
        )
        for tag in re.findall(r"<script[^>]*>", text):
            assert tag == '<script src="/static/refresh.js" defer>'
    lines = client.get("/api/v1/lines?area=" + "Nam Định").json()["lines"]
    assert "<script>alert('xóm')</script>" in [line["hamlet"] for line in lines]


def test_no_template_has_an_inline_style_script_or_foreign_address(web: TestClient) -> None:
    for address in ("/", "/lines/nd-giaothuy-0002/4g"):
        text = web.get(address).text
        assert not re.search(r"\sstyle=|\son\w+=|javascript:", text)
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)


def test_the_page_of_a_line_says_why_and_shows_flags_in_plain_words(web: TestClient) -> None:
    text = web.get("/lines/nd-giaothuy-0002/4g?lang=en&hours=720").text
    line = web.get("/api/v1/lines/nd-giaothuy-0002/4g").json()
    assert f"Median {line['median_mbps']:.1f} Mb/s, {line['ratio']:.0%} of the target (70 Mb/s)" in text
    assert f"{line['samples']} tests in 24 h" in text
    assert "does not count:</b> others used the line during the test" in text.replace("weak mobile signal; ", "")
    assert "failed: no answer in time (recv: 15 s)" in text
    assert "6 outages in 30 days" in text
    plan = web.get("/lines/nd-xuantruong-0001/ftth").text
    assert "The plan of 100 Mb/s is below the target of 150 Mb/s." in plan


def test_minutes_of_data_are_drawn_as_minutes(tmp_path: Path) -> None:
    quick = Seed("nd-demo-0001", "ftth", "fixed", "Xóm 1", "Nam Định/Vụ Bản", "VNPT", 160, every_h=1 / 400,
                 days=5 / 1440, last_h=0)  # fmt: skip
    made = services(tmp_path, [quick])
    now = utc_now()
    fill(made.store, [quick], now)
    made.lines.take(now)
    client = TestClient(create_app(made))
    text = client.get("/lines/nd-demo-0001/ftth").text
    assert "5 phút qua" in text
    assert re.search(r'class="when[^>]*>\d\d:\d\d</text>', text)
    assert 'href="?hours=1" aria-current="true"' in text
    assert "60 phút qua" in client.get("/lines/nd-demo-0001/ftth?hours=1").text
    assert "5 phút qua" in client.get("/").text


def test_a_chart_without_measurements_does_not_claim_that_nothing_was_lost(tmp_path: Path) -> None:
    never = services(tmp_path, SEEDS[:3])
    never.lines.take(utc_now())
    text = TestClient(create_app(never)).get("/lines/nd-haihau-0012/ftth").text
    captions = re.findall(r"<figcaption>.*?</figcaption>", text, re.DOTALL)
    empty = ["không có số liệu trong khoảng thời gian này" in caption for caption in captions]
    assert empty == [False, True, True, True]
    assert "không gián đoạn" not in text
    assert "Chưa nhận được kết quả nào" in text
