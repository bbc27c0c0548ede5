"""What is kept over a restart, and what REST lets whom change: a real file, a real store, the real application."""

import contextlib
import datetime as dt
import json
import os
import sqlite3
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient

from collector.alerts.alert import AlertRules, AlertState
from collector.alerts.backup_age import BackupWatch
from collector.alerts.channels import Channel, NotificationSettings, load_channels, unmatched_names
from collector.alerts.delivery import Delivery, DeliveryOutcome
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.outbox import MAX_QUEUED, Notification
from collector.alerts.service import MAX_LOOKED_AT, AlertService
from collector.alerts.store import AlertStore
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus, Snapshot
from collector.metrics import Metrics
from collector.services import Services
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.web import create_app
from tests.support.province_fixture import TARGETS, province
from xomnet.registry.registry import LineRow, Registry
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError

pytestmark = pytest.mark.date

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)
TOKEN = "a-token-of-twenty-letters"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
CHANNEL = Channel(url="json://127.0.0.1:1/")
SHORT = "/api/v1/lines/nd-giaothuy-0002/4g"


def message(title: str = "▼ DƯỚI CHỈ TIÊU") -> Notification:
    return Notification(title, "text", "<p>text</p>", "failure")


class Service:
    """What is at the other end: it takes messages, or not."""

    def __init__(self) -> None:
        self.took: list[str] = []
        self.refuses = False

    def deliver(self, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        for number, delivery in enumerate(deliveries):
            if not self.refuses:
                self.took.append(delivery.message.title)
            yield DeliveryOutcome(number, "no" if self.refuses else None)


@pytest.fixture
def service() -> Service:
    return Service()


def dispatcher(path: Path, service: Service) -> Dispatcher:
    return Dispatcher(AlertStore(path), NotificationSettings((CHANNEL,)), Metrics(), service.deliver)


def test_a_message_is_tried_for_a_day_over_restarts_and_sent_once(tmp_path: Path, service: Service) -> None:
    path = tmp_path / "alerts.db"
    store = AlertStore(path)
    store.save(AlertState(), [(CHANNEL.id, message())], NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    service.refuses = True
    for minutes in (0, 1, 2, 3, 60, 600):
        dispatcher(path, service).send_due(NOW + minutes * MINUTE)
    assert service.took == []
    (waiting,) = store.queue()
    assert waiting.tries == 5  # a minute after the first try, two after that, and so on
    assert waiting.reason == "no"
    service.refuses = False
    for hours in (20, 21):
        dispatcher(path, service).send_due(NOW + hours * 60 * MINUTE)
    assert service.took == ["▼ DƯỚI CHỈ TIÊU"]
    assert store.queue() == []


def test_an_end_does_not_overtake_its_beginning(tmp_path: Path, service: Service) -> None:
    one = dispatcher(tmp_path / "alerts.db", service)
    one._store.save(AlertState(), [(CHANNEL.id, message("short"))], NOW)
    service.refuses = True
    for minutes in (0, 1, 3, 7):
        one.send_due(NOW + minutes * MINUTE)
    service.refuses = False
    one._store.save(AlertState(), [(CHANNEL.id, message("well again"))], NOW + 8 * MINUTE)
    one.send_due(NOW + 8 * MINUTE)
    assert service.took == ["short", "well again"]


def test_what_nobody_takes_for_a_day_is_given_up_counted_and_shown(tmp_path: Path, service: Service) -> None:
    service.refuses = True
    one = dispatcher(tmp_path / "alerts.db", service)
    one._store.save(AlertState(), [(CHANNEL.id, message())], NOW)
    one.send_due(NOW)
    assert one.trouble(NOW + 30 * MINUTE) is None
    assert "wait for an hour" in str(one.trouble(NOW + 70 * MINUTE))
    one.send_due(NOW + 25 * 60 * MINUTE)
    assert one._store.queue() == []
    assert [failed.reason for failed in one._store.failures()] == ["no"]
    assert "given up within a day: no" in str(one.trouble(NOW + 26 * 60 * MINUTE))
    assert b"xomnet_notify_failed_total 1.0" in one._metrics.text()


def test_many_at_once_are_one_message_and_the_outbox_has_a_bound(tmp_path: Path, service: Service) -> None:
    one = dispatcher(tmp_path / "alerts.db", service)
    one._store.save(AlertState(), [(CHANNEL.id, message(f"m{n}")) for n in range(5)], NOW)
    one.send_due(NOW)
    assert service.took == ["xomnet: 5 thông báo"]
    assert one._store.save(AlertState(), [(CHANNEL.id, message(f"m{n}")) for n in range(MAX_QUEUED + 7)], NOW) == 7
    assert len(one._store.queue()) == MAX_QUEUED
    assert [failed.title for failed in one._store.failures()] == [f"m{n}" for n in range(6, -1, -1)]


def test_of_many_lines_that_fall_short_at_once_the_results_of_the_first_are_looked_at(tmp_path: Path) -> None:
    store = Mock(Store, speed=Mock(return_value=[]), latency=Mock(return_value=[]))
    rows = [LineRow(f"nd-{n}", "ftth", "fixed", "Xóm", f"Xã {n}", f"ISP {n}", dt.date(2026, 1, 1)) for n in range(30)]
    lines = tuple(LineStatus(one, Judgement("short", 9, 150.0, 42.0, last_result_at=NOW)) for one in rows)
    rules = AlertRules(group_wait=dt.timedelta(), max_group_wait=dt.timedelta())
    settings = NotificationSettings((CHANNEL,))
    service = AlertService(
        AlertStore(tmp_path / "alerts.db"), store, rules, settings, 24 * 60 * MINUTE, lambda: None, Metrics()
    )
    assert len(service.evaluate(Snapshot(NOW, lines))) == 30
    assert len(service.store.queue()) == 30
    assert len({call.args[0] for call in store.speed.call_args_list}) == MAX_LOOKED_AT


def test_a_unit_beyond_its_quota_is_reported_once_to_the_channels_that_want_it(
    tmp_path: Path,
) -> None:
    rows = [LineRow("nd-a", "ftth", "fixed", "Xóm 2", "Nam Định/Hải Minh", "VNPT", dt.date(2026, 1, 1))]
    lines = tuple(LineStatus(one, Judgement("short", 9, 150.0, 42.0, last_result_at=NOW)) for one in rows)
    others = Channel(url="json://127.0.0.1:2/", areas=("Nam Định/Hải Anh",))
    english = Channel(url="json://127.0.0.1:3/", isps=("VNPT",), language="en")
    settings = NotificationSettings((CHANNEL, others, english), public_url="https://x.example/")
    service = AlertService(
        *(AlertStore(tmp_path / "alerts.db"), Mock(Store), AlertRules(), settings, MINUTE, lambda: None, Metrics())
    )
    service.on_quota_exceeded("nd-a", "20 of speed/ftth")
    for _ in range(2):
        service.send_notices(Snapshot(NOW, lines))
    vietnamese, other = service.store.queue()
    assert (vietnamese.channel, other.channel) == (CHANNEL.id, english.id)
    assert vietnamese.message.title == "⚠ VƯỢT HẠN MỨC · Xóm 2, Hải Minh (Nam Định) · thiết bị đo nd-a"
    assert other.message.title == "⚠ QUOTA EXCEEDED · Xóm 2, Hải Minh (Nam Định) · unit nd-a"
    assert "https://x.example/lines/nd-a/ftth" in other.message.text


def test_an_overdue_backup_is_reported_once_to_every_channel(tmp_path: Path) -> None:
    stamp, metrics = tmp_path / "last", Metrics()
    settings = NotificationSettings((CHANNEL, Channel(url="json://127.0.0.1:3/", isps=("VNPT",), language="en")))
    service = AlertService(
        *(AlertStore(tmp_path / "alerts.db"), Mock(Store), AlertRules(), settings, MINUTE, lambda: None, metrics),
        backup=BackupWatch(stamp),
    )

    def titles(age: dt.timedelta) -> list[str]:
        made_at = (NOW - age).timestamp()
        os.utime(stamp, (made_at, made_at))
        for _ in range(2):
            service.send_notices(Snapshot(NOW, ()))
        assert f"xomnet_backup_age_seconds {age.total_seconds()}" in metrics.text().decode()
        return [one.message.title for one in service.store.queue()]

    stamp.touch()
    assert titles(HOUR * 35) == []
    reported = ["⚠ QUÁ HẠN SAO LƯU", "⚠ BACKUP OVERDUE"]
    assert titles(HOUR * 37) == reported
    assert titles(HOUR) == reported
    assert titles(HOUR * 37) == reported * 2, "one has come meanwhile, and the next has not"


def test_a_damaged_book_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 99)
    assert AlertStore(path).state() == AlertState()
    assert len(list(tmp_path.glob("alerts.db.damaged-*"))) == 1


def test_a_book_that_is_locked_is_not_taken_for_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts.db"
    AlertStore(path).close()
    monkeypatch.setattr(AlertStore, "WAIT_S", 0.1)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match=r"alerts\.db: database is locked"):
            AlertStore(path)
    assert list(tmp_path.glob("alerts.db.damaged-*")) == []


OF_0_1 = """
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE maintenance (id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL);
CREATE TABLE acknowledged (agent TEXT, line TEXT, value TEXT NOT NULL, PRIMARY KEY (agent, line));
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, at TEXT NOT NULL,
  due TEXT NOT NULL, tries INTEGER NOT NULL, message TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE failed (id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL);
INSERT INTO kept VALUES('book','{"next_id":5,"alerts":[{"id":3,"trouble":"short","kind":"isp","place":"Viettel",
  "opened_at":"2026-11-22T12:00:00Z","lines":[{"agent":"nd-1","line":"4g","since":"2026-11-22T11:51:00Z",
  "seen_at":"2026-11-22T11:58:00Z","good_since":"2026-11-22T12:00:00Z"}],"access":"mobile","told":1},
  {"id":4,"trouble":"silent","kind":"unit","place":"nd-3","opened_at":"2026-11-22T12:00:00Z","lines":[{"agent":"nd-3",
  "line":"ftth","since":"2026-11-22T11:20:00Z","seen_at":"2026-11-22T11:55:00Z","end":"unregistered"}]}],
  "waiting":[{"agent":"nd-4","line":"ftth","trouble":"short","since":"2026-11-22T11:57:00Z",
  "seen_at":"2026-11-22T11:59:00Z"}],"opened":{"nd-1/4g/short":["2026-11-22T11:40:00Z"]}}');
INSERT INTO kept VALUES('digest_on','2026-11-22');
INSERT INTO maintenance VALUES(1,'{"until":"2026-11-22T13:00:00Z","by":"Lan","why":"thay bộ định tuyến",
  "from":"2026-11-22T12:00:00Z","area":"Ninh Bình/xã Hải Anh","id":1}');
INSERT INTO acknowledged VALUES('nd-1','4g','{"agent":"nd-1","line":"4g","by":"Lan","at":"2026-11-22T12:00:00Z"}');
INSERT INTO outbox VALUES(1,'5d0c0a1b2c3d','2026-11-22T12:00:00+00:00','2026-11-22T12:01:00+00:00',1,
  '{"title":"▼ THIẾU","text":"text","html":"<p>text</p>","tone":"failure"}','refused');
INSERT INTO failed VALUES(1,'{"at":"2026-11-22T12:00:00Z","channel":"5d0c0a1b2c3d","title":"22/11","reason":"no"}');
"""
"""What version 0.1.0 wrote, as its own program made it."""


def test_a_file_of_version_0_1_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(OF_0_1)
        (before,) = old.execute("SELECT value FROM kept WHERE name='book'").fetchone()
    store = AlertStore(path)
    state = store.state()
    short, silent = state.alerts
    assert (short.trouble, short.place, short.access, short.alerted_before) == ("short", "Viettel", "mobile", 1)
    assert (silent.trouble, silent.lines[0].end) == ("silent", "unregistered")
    assert [one.id for one in state.pending] == [("nd-4", "ftth")]
    assert state.opening_times == {"nd-1/4g/short": (NOW - 20 * MINUTE,)}
    assert store.last_digest() == dt.date(2026, 11, 22)
    assert [window.why for window in store.windows(NOW)] == ["thay bộ định tuyến"]
    assert [one.by for one in store.acknowledgements().values()] == ["Lan"]
    assert [(one.message.title, one.tries, one.reason) for one in store.queue()] == [("▼ THIẾU", 1, "refused")]
    assert [one.reason for one in store.failures()] == ["no"]
    store.save(state, [], NOW)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as now:
        (after,) = now.execute("SELECT value FROM kept WHERE name='book'").fetchone()
    assert json.loads(after) == json.loads(before), "an older program reads it, too"
    assert list(tmp_path.iterdir()) == [path], "nothing is set aside as damaged"


@pytest.mark.parametrize("text", ["- url: mailto:/lan:hunter2@mail\n", "- tgram://hunter2/1\n", "tgram://hunter2/1\n"])
def test_an_address_that_can_not_be_read_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"line 1: .*allowed: ") as error:
        load_channels(path)
    assert "hunter2" not in str(error.value)


def test_an_area_is_found_however_a_computer_writes_it() -> None:
    row = LineRow("nd-a", "4g", "mobile", "Xóm 5", "Nam Định/Hải Hậu", "Viettel", dt.date(2026, 1, 1))
    for given in ("Nam Định", "Nam Định/Hải Hậu/", unicodedata.normalize("NFD", "Nam Định/Hải Hậu")):
        assert Channel(url="json://x", areas=(given,)).wants(row)
    assert not Channel(url="json://x", areas=("Hải Hậu",)).wants(row)
    assert not Channel(url="json://x", areas=("Nam Định",), isps=("VNPT",)).wants(row)


def test_a_name_that_no_line_has_is_found_also_where_one_had_it_or_will_have_it() -> None:
    def row(area: str, isp: str, from_: str) -> LineRow:
        return LineRow("nd-a", "4g", "mobile", "Xóm 5", area, isp, dt.date.fromisoformat(from_))

    rows = [row("Nam Định/Hải Hậu", "Viettel", "2026-01-01"), row("Ninh Bình/Hải Hậu", "Viettel", "2026-11-01"),
            row("Ninh Bình/Hải Hậu", "VNPT", "2026-12-01")]  # fmt: skip
    decomposed = unicodedata.normalize("NFD", "Ninh Bình/Hải Hậu/")
    channel = Channel(url="json://x", areas=("Nam Định", "Ninh Bình", decomposed), isps=("Viettel", "VNPT", "Vietel"))
    found = unmatched_names([CHANNEL, channel], Registry(rows, TARGETS), NOW)
    assert found == [(channel, "Nam Định"), (channel, "Vietel")]


def test_addresses_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text("- url: json://127.0.0.1/\n")
    path.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        load_channels(path)
    path.chmod(0o600)
    assert load_channels(path)[0].label.startswith("json-")


# --- REST


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return province(tmp_path_factory.mktemp("province"))


@pytest.fixture
def web(seeded: Services) -> Iterator[TestClient]:
    with TestClient(create_app(seeded, TOKEN)) as client:
        yield client


def test_without_the_setting_nothing_may_be_changed(seeded: Services) -> None:
    answer = TestClient(create_app(seeded)).post(f"{SHORT}/acknowledge", json={"by": "Lan"})
    assert answer.status_code == 403
    assert answer.json()["error"]["where"] == "web.operator_token_file"


def test_an_alert_is_acknowledged_and_shown_so_until_it_ends(web: TestClient, seeded: Services) -> None:
    assert web.post(f"{SHORT}/acknowledge", json={"by": "Lan", "note": "<b>"}, headers=AUTHORISED).status_code == 200
    page = web.get("/lines/nd-giaothuy-0002/4g?lang=en").text
    assert "Acknowledged by Lan" in page
    assert "&lt;b&gt;" in page
    assert seeded.alerts is not None
    snapshot = seeded.lines.latest
    assert snapshot is not None
    known = seeded.alerts.line_fields(snapshot)
    assert {line for line, fields in known.items() if fields["acknowledged"]} == {("nd-giaothuy-0002", "4g")}
    due = {s.judgement.state for s in snapshot.lines if known[s.id]["alert_due"]}
    assert due == {"short", "silent"}, "a line without data is due a day after it was registered"
    well = tuple(s for s in snapshot.lines if s.judgement.state == "meeting")
    seeded.alerts.evaluate(replace(snapshot, lines=well))  # of before: it does not know of the acknowledgement since
    assert len(seeded.alerts.store.acknowledgements()) == 1
    seeded.alerts.evaluate(replace(snapshot, at=dt.datetime.now(dt.UTC), lines=well))
    assert seeded.alerts.store.acknowledgements() == {}
    meeting = f"/api/v1/lines/{well[0].row.agent}/{well[0].row.line}/acknowledge"
    assert web.post(meeting, json={"by": "Lan"}, headers=AUTHORISED).status_code == 409


def test_a_line_without_data_may_be_acknowledged_until_it_is_heard(web: TestClient, seeded: Services) -> None:
    assert 'data-opens="acknowledge"' in web.get("/lines/nd-haihau-0031/4g").text
    address = "/api/v1/lines/nd-haihau-0031/4g/acknowledge"
    assert web.post(address, json={"by": "Lan"}, headers=AUTHORISED).status_code == 200
    assert seeded.alerts is not None
    snapshot = seeded.lines.latest
    assert snapshot is not None
    seeded.alerts.evaluate(replace(snapshot, at=dt.datetime.now(dt.UTC)))
    assert seeded.alerts.store.acknowledgements().keys() == {("nd-haihau-0031", "4g")}
    heard = tuple(s for s in snapshot.lines if s.judgement.state != "no_data")
    seeded.alerts.evaluate(replace(snapshot, at=dt.datetime.now(dt.UTC), lines=heard))
    assert seeded.alerts.store.acknowledgements() == {}


def test_maintenance_is_added_listed_and_ended(web: TestClient, seeded: Services) -> None:
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)).isoformat()
    body = {"area": "Nam Định/Hải Hậu", "until": until, "by": "Lan", "why": "thay bộ định tuyến"}
    added = web.post("/api/v1/maintenance", json=body, headers=AUTHORISED)
    assert added.status_code == 201
    number = added.json()["id"]
    assert [one["id"] for one in web.get("/api/v1/maintenance").json()["maintenance"]] == [number]
    assert seeded.alerts is not None
    assert seeded.lines.latest is not None
    later = replace(seeded.lines.latest, at=dt.datetime.now(dt.UTC) + MINUTE)
    maintained = {line.agent for line, fields in seeded.alerts.line_fields(later).items() if fields["maintenance"]}
    assert maintained == {"nd-haihau-0012", "nd-haihau-0031"}
    assert "In maintenance until" in web.get("/lines/nd-haihau-0012/ftth?lang=en").text
    for other_form in (f"{number}.0", f"{number}e0"):
        assert web.delete(f"/api/v1/maintenance/{other_form}", headers=AUTHORISED).status_code == 404
    assert web.delete(f"/api/v1/maintenance/{number}", headers=AUTHORISED).status_code == 200
    assert web.delete(f"/api/v1/maintenance/{number}", headers=AUTHORISED).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"agent": "nd-haihau-0012", "isp": "VNPT"}, 400),
        ({"line": "ftth"}, 400),
        ({"agent": "nd-nobody"}, 404),
        ({"agent": "nd-haihau-0012", "until": "2020-01-01T00:00:00Z"}, 400),
        ({"agent": "nd-haihau-0012", "until": "2099-01-01T00:00:00Z"}, 400),
        ({"agent": "nd-haihau-0012", "why": "x" * 20_000}, 413),
        ({"agent": "nd-haihau-0012", "wy": "x"}, 400),
    ],
)
def test_what_can_not_be_meant_is_refused(web: TestClient, body: dict[str, str], status: int) -> None:
    until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)).isoformat()
    given = {"until": until, "by": "Lan", "why": "x", **body}
    assert web.post("/api/v1/maintenance", json=given, headers=AUTHORISED).status_code == status


def test_another_sites_form_and_a_wrong_token_change_nothing(web: TestClient, seeded: Services) -> None:
    form = {**AUTHORISED, "Content-Type": "text/plain"}
    assert web.post(f"{SHORT}/acknowledge", content='{"by":"Lan"}', headers=form).status_code == 415
    wrong = {**AUTHORISED, "Authorization": "Bearer a-token-of-twenty-lettres"}
    assert web.post(f"{SHORT}/acknowledge", json={"by": "Lan"}, headers=wrong).status_code == 401
    assert seeded.alerts is not None
    assert seeded.alerts.store.acknowledgements() == {}
