"""`xomnet collector check` on real parts: before a start, and beside a collector that must not be disturbed."""

import datetime as dt
import json
import os
import pwd
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.check.parts import check_port
from collector.ingest.dead_letters import DeadLetters, dead_letter
from collector.settings import WebSettings
from collector.store.sqlite import SqliteStore
from tests.support.deployment import DATABASE, HEADER, Collector, made, secured, until
from tests.support.permissions import PermissionKey
from tests.support.services import Authority, InfluxV2, Mosquitto
from xomnet.check.finding import say

XOMNET = Path(sys.executable).with_name("xomnet")
ROW = "nd-a-1,ftth,fixed,Xóm 5,Nam Định/Hải Hậu,VNPT,2024-10-08"
SECRET = "do-not-show-this"


class Place:
    """A server's folder with a collector that may be started."""

    def __init__(self, folder: Path, broker: Mosquitto, authority: Authority) -> None:
        self.collector = Collector(made(folder, "server"), secured(broker, authority, "collector"), [ROW])
        self.folder = self.collector.folder
        self.config = self.folder / "collector.yaml"
        self.state = self.folder / "state"

    def write(self, **changes: Any) -> None:
        self.config.write_text(yaml.safe_dump(yaml.safe_load(self.config.read_text()) | changes))

    def secret(self, name: str, text: str, mode: int = 0o600) -> str:
        file = self.folder / name
        file.write_text(text)
        file.chmod(mode)
        return name

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "collector.check", "--config", str(self.config), *flags]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)
        assert "Traceback" not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done

    def check(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit status, and the rows by their names."""
        done = self.run("--json", "--lang", "en")
        assert (done.stdout.count("\n"), done.stderr) == (1, "")
        document = json.loads(done.stdout)
        assert document["ready"] == (done.returncode == 0)
        return done.returncode, {one["name"]: one for one in document["findings"]}


@pytest.fixture
def place(tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority) -> Place:
    return Place(tmp_path, mosquitto_tls, authority)


def marks(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["mark"] for name, one in rows.items() if one["mark"] != "ok"}


def test_beside_a_running_collector_all_is_well_and_it_goes_on_until_the_broker_dies(
    place: Place, mosquitto_tls: Mosquitto
) -> None:
    place.write(
        web={"port": place.collector.port, "operator_token_file": place.secret("token", "0123456789abcdef")},
        notify={"urls_file": place.secret("channels.yaml", "- url: json://127.0.0.1:9\n")},
        permission_key=str(PermissionKey(place.folder).private),
        backup_stamp=place.secret("last-backup", ""),
    )
    with place.collector as collector:
        until(lambda: collector.health()["status"] == "ok", "the collector is well")
        place.state.chmod(0o750)
        before = (place.folder / "store.db").read_bytes()
        code, rows = place.check()
        assert (code, marks(rows)) == (0, {}), rows
        assert list(rows) == [
            "settings",
            "targets",
            "registry",
            "state",
            "store",
            "archive",
            "broker",
            "collector",
            "alerts",
            "operator",
            "permissions",
            "backup",
        ]
        assert rows["registry"]["found"] == "rows: 1; today lines: 1, units: 1"
        assert re.fullmatch(r"TLS, certificate valid until \d{4}-\d\d-\d\d", rows["broker"]["found"])
        done = subprocess.run(
            [str(XOMNET), "collector", "check", "--config", str(place.config), "--lang", "vi"],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0
        assert re.search(r" ✔ phần mềm thu thập +đang chạy tốt ở 127\.0\.0\.1:\d+", done.stdout)
        assert done.stdout.endswith("\n Sẵn sàng.\n")
        assert (place.folder / "store.db").read_bytes() == before
        assert collector.output(100_000).count("connected to broker") == 1, "nobody took its name over"
        mosquitto_tls.kill()
        until(lambda: collector.health()["broker"] != "ok", "it has noticed")
        code, rows = place.check()
    assert (code, marks(rows)) == (1, {"broker": "fail", "collector": "fail"})
    assert rows["broker"]["found"].endswith("nothing listens there")
    assert rows["collector"]["found"].startswith("broker: ")
    assert "store" not in rows["collector"]["found"]


def test_before_the_first_start_nothing_is_made_and_nothing_is_red(place: Place) -> None:
    code, rows = place.check()
    expected = {"state": "warn", "collector": "warn"}
    expected |= dict.fromkeys(("alerts", "operator", "permissions", "backup"), "skip")
    assert (code, marks(rows)) == (0, expected), rows
    assert rows["collector"]["found"] == f"not running; 127.0.0.1:{place.collector.port} is free"
    assert rows["state"]["found"] == f"{place.state} does not exist"
    assert rows["store"]["found"].endswith("store.db is created at the first start")
    assert {file.name for file in place.folder.iterdir()} == {"collector.yaml", "lines.csv"}


def test_what_a_person_left_wrong_is_one_row_each(place: Place, mosquitto_tls: Mosquitto) -> None:
    (place.folder / "lines.csv").write_text(HEADER + ROW.replace("fixed", "fibre") + "\n" + ROW.replace("2024", "x"))
    place.state.mkdir(mode=0o755)
    place.write(
        store={"kind": "sqlite", "path": "away/store.db"},
        web={"port": mosquitto_tls.port, "operator_token_file": place.secret("token", SECRET * 2, 0o644)},
        notify={"urls_file": place.secret("channels.yaml", f"- url: nonsense://{SECRET}\n")},
        permission_key=place.secret("permission.key", SECRET),
        backup_stamp=place.secret("last-backup", ""),
    )
    os.utime(place.folder / "last-backup", (time.time() - 50.2 * 3600,) * 2)
    code, rows = place.check()
    assert code == 1
    red = dict.fromkeys(("registry", "store", "collector", "alerts", "operator", "permissions"), "fail")
    assert marks(rows) == {**red, "state": "warn", "backup": "warn"}
    assert rows["backup"]["found"] == "the last one: 50.2 h ago"
    assert re.match(
        r"2 errors, the first: \S+lines\.csv, line 2, column access: found 'fibre'", rows["registry"]["found"]
    )
    assert "lists every error" in rows["registry"]["remedy"]
    assert rows["store"]["found"] == f"{place.folder}/away does not exist"
    assert "another program answers at " in rows["collector"]["found"]
    assert rows["alerts"]["found"].startswith("apprise does not know the address of: nonsense-")
    assert "permission.key: no private key; run: openssl genpkey" in rows["permissions"]["found"]
    assert "mode 644 is open to others; run: chmod 600" in rows["operator"]["found"]


def test_a_port_that_is_taken_and_says_nothing_at_this_address(place: Place) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", place.collector.port))
        code, rows = place.check()
    assert (code, rows["collector"]["mark"]) == (1, "fail")
    assert rows["collector"]["found"].startswith("not running, and another program uses 127.0.0.1:")
    assert f"sport = :{place.collector.port} " in rows["collector"]["remedy"]
    elsewhere = check_port(WebSettings(host="192.0.2.1"), "192.0.2.1:8420")
    assert (elsewhere.mark, elsewhere.remedy) == (
        "fail",
        say("set web.host in collector.yaml to an address of this machine"),
    )


def test_a_database_is_left_as_it_is(place: Place) -> None:
    """One of an older version, which the next start brings up to date."""
    SqliteStore(place.folder / "store.db").close()
    with closing(sqlite3.connect(place.folder / "store.db")) as database:
        database.execute("DROP TABLE health")
        _, rows = place.check()
        assert rows["store"]["mark"] == "ok"
        assert re.fullmatch(r"SQLite, [\d.]+ MB, [\d,]+ MB free", rows["store"]["found"])
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'health'").fetchall()


def test_the_folder_tells_of_rejected_results_and_of_a_damaged_database(place: Place) -> None:
    place.state.mkdir(mode=0o700)
    assert DeadLetters(place.state / "dead-letters.jsonl").append(
        [dead_letter("t", b"x", "unknown_line", "?", dt.datetime.now(dt.UTC))] * 2
    )
    (place.folder / "store.db").write_bytes(b"no database " * 1000)
    code, rows = place.check()
    assert (code, rows["state"]["mark"], rows["store"]["mark"]) == (1, "warn", "fail")
    assert rows["state"]["found"].endswith("rejected messages: 2 (unknown_line 2)")
    assert "is damaged" in rows["store"]["found"]


def test_the_archive_tells_what_is_wrong_with_it(place: Place) -> None:
    archive = place.state / "archive"
    archive.mkdir(parents=True, mode=0o700)
    (archive / "2026-01-01.day").write_bytes(bytes(60_000))
    place.write(archive={"max_gb": 0.0001})
    assert place.check()[1]["archive"]["found"] == "0 of 0 GB, days: 1"
    (archive / "2026-01-02.day").write_bytes(bytes(40_000))
    rows = place.check()[1]
    assert (rows["archive"]["mark"], rows["archive"]["remedy"]) == (
        "warn",
        "copy them elsewhere, or raise archive.max_gb",
    )
    (archive / "2026-01-03.log").touch()
    assert place.check()[1]["archive"]["found"].endswith("a day that is over is not sealed")
    (archive / "2026-01-03.log.damaged").touch()
    assert place.check()[1]["archive"]["found"].endswith("some of it is damaged")


def test_a_certificate_of_another_name_is_refused_before_the_broker_does(place: Place, authority: Authority) -> None:
    broker = yaml.safe_load(place.config.read_text())["broker"]
    other = authority.issue("nd-a-1")
    place.write(broker=broker | {"tls": {"ca": str(other.ca), "cert": str(other.certificate), "key": str(other.key)}})
    code, rows = place.check()
    assert (code, rows["broker"]["mark"]) == (1, "fail")
    assert rows["broker"]["found"] == "the certificate belongs to nd-a-1, not to collector"


def test_influxdb_is_asked_for_both_buckets_and_told_nothing(place: Place, own_influx_v2: InfluxV2) -> None:
    influx = own_influx_v2
    store = {"kind": "influx", "url": influx.url, "bucket": DATABASE, "rollups_bucket": "rolled"}
    place.write(store=store | {"token_file": place.secret("influx-token", influx.token)})
    influx.create(DATABASE)
    _, rows = place.check()
    assert rows["store"]["mark"] == "fail"
    assert "store.rollups_bucket" in rows["store"]["found"]
    influx.create("rolled")
    _, rows = place.check()
    assert rows["store"]["mark"] == "ok"
    assert re.fullmatch(r"InfluxDB v?\d+\.\d+\.\d+\S*, may read and write xomnet, rolled", rows["store"]["found"])
    assert '"series"' not in influx.query("SHOW MEASUREMENTS", DATABASE)
    influx.front.stop()
    _, rows = place.check()
    assert (rows["store"]["mark"], "systemctl status influxdb" in rows["store"]["remedy"]) == ("fail", True)


class Closed(InfluxV2):
    """influxd that lets nobody in: it has no user yet."""

    @staticmethod
    def _arguments(folder: Path, port: int) -> list[str]:
        found = InfluxV2._arguments(folder, port)
        file = folder / "influxdb.conf"
        file.write_text(file.read_text().replace("log-enabled = false", "auth-enabled = true"))
        return found

    def _answers(self) -> bool:
        try:
            return super()._answers()
        except RuntimeError:
            return True


def test_a_token_that_the_database_does_not_know(tmp_path: Path, place: Place) -> None:
    with Closed(tmp_path / "closed") as influx:
        token = place.secret("influx-token", SECRET)
        place.write(store={"kind": "influx", "url": influx.url, "bucket": DATABASE, "token_file": token})
        code, rows = place.check()
    assert (code, rows["store"]["mark"]) == (1, "fail")
    assert "store.token_file" in rows["store"]["found"]


def test_wrong_settings_are_a_sentence_and_status_two(place: Place) -> None:
    place.write(web={"port": 99999})
    done = place.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"collector\.yaml, line \d+: web\.port: found 99999; allowed: ", done.stderr)
    assert json.loads(place.run("--json").stdout)["error"] == done.stderr.strip()


def test_root_checks_as_the_services_user(root: None) -> None:
    """What root alone may read is of no use to the service."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        own = Authority(made(folder, "ca"))
        with Mosquitto(made(folder, "broker"), own) as broker:
            place = Place(folder, broker, own)
            place.state.mkdir(mode=0o700)
            os.chown(place.state, nobody.pw_uid, nobody.pw_gid)
            (place.state / "alerts.db").touch(mode=0o600)
            code, rows = place.check()
            assert (code, rows["state"]["mark"], rows["broker"]["mark"]) == (1, "fail", "fail"), rows
            assert "alerts.db: the service's user cannot write it" in rows["state"]["found"]
            assert "this user can't read it" in rows["broker"]["found"], "the key is root's"
            for mine in (place.state / "alerts.db", own.folder / "collector.key"):
                os.chown(mine, nobody.pw_uid, nobody.pw_gid)
            code, rows = place.check()
    assert (code, rows["state"]["mark"], rows["broker"]["mark"]) == (0, "ok", "ok"), rows["registry"]
    assert rows["state"]["found"].startswith("owner nobody, mode 700, ")
