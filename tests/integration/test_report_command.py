"""`xomnet report`: what it writes beside a running collector, and what it says where it can't."""

import csv
import datetime as dt
import json
import stat
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from collector.judge.verdict import Month
from collector.store.influx import InfluxStore
from collector.store.points import Point
from collector.store.sqlite import SqliteStore
from tests.support import stored
from tests.support.stored import LINE, speed
from xomnet_cli import app

NOW = dt.datetime(2026, 11, 30, 16, 59, 59, tzinfo=dt.UTC)
"""The last second of November in Viet Nam."""
THIS = Month.of(NOW)
AREA = "Nam Định/Hải Hậu/Hải Minh"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("xomnet_cli.report"), "utc_now", lambda: NOW)


def points() -> list[Point]:
    return [speed(NOW - dt.timedelta(minutes=n), n, down_mbps=159.5 + n) for n in (1, 2, 3)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A collector's settings with a store of two lines, one of them measured today."""
    store = SqliteStore(tmp_path / "store.db")
    assert store.write(points()) == []
    store.close()
    with (tmp_path / "lines.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["agent", "line", "access", "hamlet", "area", "isp", "from"])
        for line, access in (("ftth", "fixed"), ("4g", "mobile")):
            writer.writerow([LINE.agent, line, access, "Xóm 5", AREA, "VNPT", "2024-01-01"])
    path = tmp_path / "collector.yaml"
    path.write_text(
        "broker: {host: 127.0.0.1, port: 1883}\nregistry: lines.csv\nstate_dir: state\n"
        "store: {kind: sqlite, path: store.db}\nreport: {authority: Sở Khoa học và Công nghệ}\n",
        encoding="utf-8",
    )
    return path


def asked(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", "--config", str(config), *arguments])


def test_a_month_that_is_not_over_says_so_on_its_front(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = asked(config, "--month", str(THIS), "--out", str(out), "--area", "Nam Định/Hải Hậu", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (said["ok"], said["file"], said["format"], said["bytes"]) == (True, str(out), "html", out.stat().st_size)
    assert said["as_of"] is not None
    fixed = said["summary"]["fixed"]
    assert (fixed["lines"], fixed["not_certain"], fixed["median_mbps"], fixed["target_mbps"]) == (1, 1, 161.5, 150)
    assert said["summary"]["mobile"]["unmeasured"] == 1
    front = out.read_text(encoding="utf-8").partition("</h2>")[0]
    assert "tháng chưa kết thúc" in front
    assert "Địa bàn: Nam Định/Hải Hậu" in front
    assert "SỞ KHOA HỌC VÀ CÔNG NGHỆ" in front
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE((tmp_path / "lines.csv").stat().st_mode)


def test_it_reads_beside_a_collector_that_writes(config: Path, tmp_path: Path) -> None:
    collector = SqliteStore(config.parent / "store.db")
    try:
        done = asked(config, "--month", str(THIS), "--out", str(tmp_path / "a.csv"))
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(f"{tmp_path}/a.csv: {THIS} as of ")
        assert collector.write([speed(NOW, 9)]) == []
    finally:
        collector.close()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--month", "11/2026", "--out", "a.pdf"], "'11/2026' is no month; write it like 2026-11"),
        (["--month", str(THIS.next), "--out", "a.pdf"], f"{THIS.next} has not begun; the present month is {THIS}"),
        (["--month", str(THIS), "--out", "a.doc"], "a report is written as .pdf, .docx, .xlsx, .csv, .html"),
        (["--month", str(THIS), "--out", "a.csv", "--area", "hai hau"], "the closest: Nam Định/Hải Hậu, "),
        (["--month", str(THIS), "--out", "no/a.csv"], "no/a.csv can't be written: No such file or directory"),
        (["--month", "2020-01", "--out", "a.csv"], "no line was registered in 2020-01"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    done = asked(config, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    as_json = asked(config, *arguments, "--json")
    assert (as_json.exit_code, as_json.stderr) == (1, "")
    assert reason in json.loads(as_json.stdout)["error"]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("{kind: sqlite, path: gone.db}", "gone.db: No such file or directory; name the file that the collector"),
        ("{kind: sqlite, path: lines.csv/store.db}", "store.db: Not a directory; name the file that the collector"),
        ("{kind: influx, url: 'http://127.0.0.1:9', token_file: token, bucket: b}", "127.0.0.1:9"),
        ("{kind: sqlite, path: store.db, keep_days: 70}", "are no longer all kept"),
    ],
)
def test_a_store_that_is_away_or_incomplete_is_reported(config: Path, tmp_path: Path, store: str, reason: str) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "token").chmod(0o600)
    text = config.read_text(encoding="utf-8").replace("{kind: sqlite, path: store.db}", store)
    config.write_text(text, encoding="utf-8")
    month = THIS.previous.previous.previous if "keep" in store else THIS
    done = asked(config, "--month", str(month), "--out", str(tmp_path / "a.csv"))
    assert done.exit_code == 1
    assert reason in done.stderr
    assert not (tmp_path / "a.csv").exists()
    assert not (tmp_path / "gone.db").exists()


def test_a_file_that_can_not_be_replaced_stays_as_it_was(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.csv"
    out.write_text("of last time")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)  # a full disk can't be made here
    done = asked(config, "--month", str(THIS), "--out", str(out))
    assert done.exit_code == 1
    assert "a.csv can't be written: No space left on device" in done.stderr
    assert out.read_text() == "of last time"
    assert [file.name for file in tmp_path.iterdir() if "a.csv" in file.name] == ["a.csv"]


def test_a_missing_library_says_what_to_install(config: Path, tmp_path: Path) -> None:
    """In a process of its own, in which the library can't be had."""
    code = (
        "import sys; sys.modules['xlsxwriter'] = None; from xomnet_cli import app;"
        f"app(['report', '--config', {str(config)!r}, '--month', '{THIS}', '--out', {str(tmp_path / 'a.xlsx')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "xlsxwriter is not installed, which .xlsx needs: pip install 'xomnet[report]'" in done.stderr


@pytest.fixture(params=["influx"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> InfluxStore:
    store = stored.new_store(request, tmp_path)
    assert isinstance(store, InfluxStore)
    return store


def test_an_influx_database_gives_the_same_report(database: InfluxStore, config: Path, tmp_path: Path) -> None:
    assert database.write(points()) == []
    (tmp_path / "token").write_text("any")
    (tmp_path / "token").chmod(0o600)
    influx = f"{{kind: influx, url: '{database._url}', token_file: token, bucket: {database._bucket.name}}}"
    text = config.read_text(encoding="utf-8").replace("{kind: sqlite, path: store.db}", influx)
    config.write_text(text, encoding="utf-8")
    done = asked(config, "--month", str(THIS), "--out", str(tmp_path / "a.csv"), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["fixed"]["median_mbps"] == 161.5
