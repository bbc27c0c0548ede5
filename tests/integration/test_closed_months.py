"""A closed month: whatever comes later, its figures stay to the last digit, and the report lists what came."""

import csv
import dataclasses
import datetime as dt
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from uuid import UUID

import docx
import openpyxl
import pypdf
import pytest
from msgspec import structs
from typer.testing import CliRunner, Result

from collector.archive.writer import Archive as ArchiveFiles
from collector.ingest.archive_record import ArchiveRecord
from collector.registry.registry_file import HISTORY_FILE, RegistryFile
from collector.report import command
from collector.report.changes import changes_since
from collector.report.closed import ClosedMonths, decode, is_closing
from collector.report.closing import close_month
from collector.report.gather import ReportError
from collector.rollups.months import write_months
from collector.rollups.rollups import Rollups
from collector.settings import CollectorSettings
from collector.store import Store
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.exclusion_table import ExclusionTable
from collector.store.exclusions import Exclusion
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.points import EPOCH, Point, point_of
from collector.store.record_db import FILE
from collector.store.sqlite import SqliteStore
from tests.support import months, stored
from tests.support.months import AFTER, NOVEMBER, OCTOBER, TARGETS
from xomnet.contract.messages import Outage, OutageResult, Speed, SpeedResult
from xomnet.registry.registry import COLUMNS, LineRow
from xomnet.settings import load
from xomnet_cli import app

BY = "Trần Thị Bình"
LATER = AFTER + dt.timedelta(days=5)
AREA = "Nam Định/Hải Hậu"
LATE_LINES = (LineId("nd-0001", "ftth"), LineId("nd-0002", "4g"))
LATE_EACH = 100
FORMATS = ("html", "csv", "xlsx", "docx", "pdf")


def write_registry(path: Path, rows: Sequence[LineRow]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        to = csv.writer(file)
        to.writerow(COLUMNS)
        for row in rows:
            cells = {name: getattr(row, "from_" if name == "from" else name) for name in COLUMNS}
            to.writerow(["" if cell is None else cell for cell in cells.values()])


def write_targets(path: Path, mobile: float) -> None:
    rows = [{"access": a, "from": "2024-10-08", "down_mbps": m} for a, m in (("fixed", 150), ("mobile", mobile))]
    path.write_text(json.dumps({"targets": rows}), encoding="utf-8")


class Office:
    """A store of two months, and the files beside it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.config = folder, store, folder / "collector.yaml"
        kind = "{kind: sqlite, path: store.db}"
        if isinstance(store, InfluxStore):
            (folder / "token").write_text("any")
            (folder / "token").chmod(0o600)
            kind = f"{{kind: influx, url: '{store._url}', token_file: token, bucket: {store._bucket.name}}}"
        self.config.write_text(
            "broker: {host: 127.0.0.1, port: 1883}\nregistry: lines.csv\nstate_dir: state\ntargets: targets.yaml\n"
            f"store: {kind}\nreport: {{authority: Sở Khoa học và Công nghệ, place: Nam Định}}\n",
            encoding="utf-8",
        )
        (folder / "state").mkdir()
        write_targets(folder / "targets.yaml", 70)
        self.rows = [row for row, _ in months.rows_and_kinds()]
        self.registered(self.rows, AFTER)

    @property
    def settings(self) -> CollectorSettings:
        return load(self.config, CollectorSettings)

    def registered(self, rows: Sequence[LineRow], now: dt.datetime) -> None:
        """The collector reads a changed registry."""
        write_registry(self.folder / "lines.csv", rows)
        history = self.folder / "state" / HISTORY_FILE
        RegistryFile(self.folder / "lines.csv", TARGETS, history, self.store, lambda: now)

    def close(self, month: object = NOVEMBER, by: str = BY, now: dt.datetime = AFTER) -> None:
        command.close(self.settings, month, by, now, lambda of: ArchiveFiles(of.archive_folder, lambda: now))  # type: ignore[arg-type]

    def render(self, form: str, language: str = "vi", area: str | None = None, now: dt.datetime = LATER) -> bytes:
        report = command.read_report(self.settings, NOVEMBER, area, now)
        return command.render(report, self.settings, language, form)  # type: ignore[arg-type]

    def late_results(self) -> None:
        """Slow tests of November that come in December, and an outage."""
        points: list[Point] = []
        rows = {LineId.of(row): row for row in self.rows}
        for line in LATE_LINES:
            for n in range(LATE_EACH):
                at = NOVEMBER.since() + dt.timedelta(hours=7 * n, minutes=3)
                envelope = {"v": 1, "agent": line.agent, "line": line.line, "spool": UUID(int=77), "boot": UUID(int=9)}
                data = Speed(engine="http", server="s", down_mbps=2.0 + n / 100)
                result = SpeedResult(**envelope, seq=n + 1, at=at, clock="synced", data=data)  # type: ignore[arg-type]
                if n == LATE_EACH - 1:
                    lost = Outage(duration_s=600.0, failed_probes=3)
                    result = OutageResult(**envelope, seq=n + 1, at=at, clock="synced", data=lost)  # type: ignore[arg-type, assignment]
                points.append(point_of(result, rows[line], AFTER + dt.timedelta(days=1, seconds=n)))
        assert self.store.write(points) == []

    def edited(self) -> list[LineRow]:
        """The registry after an eager week: a plan, an area, a hamlet, a target, a line gone, one more."""
        rows = {LineId.of(row): row for row in self.rows}

        def edit(agent: str, line: str, **cells: object) -> None:
            rows[LineId(agent, line)] = dataclasses.replace(rows[LineId(agent, line)], **cells)  # type: ignore[arg-type]

        edit("nd-0003", "ftth", plan_mbps=100.0)
        edit("nd-0004", "ftth", area="Nam Định/Giao Thủy/Giao Thiện")
        edit("nd-0005", "4g", hamlet="Xóm Mới")
        edit("nd-0006", "ftth", target_mbps=1000.0)
        del rows[LineId("nd-0007", "4g")]
        new = LineRow("nd-0099", "ftth", "fixed", "Xóm 99", "Nam Định/Hải Hậu/Hải Minh", "VNPT", dt.date(2026, 11, 1))
        return [*rows.values(), new]


@pytest.fixture(params=["sqlite", "influx"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    store = stored.new_store(request, tmp_path)
    months.fill(store)
    yield Office(tmp_path, store)
    store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "store.db"
    store = SqliteStore(path)
    months.fill(store)
    store.close()
    return path


@pytest.fixture
def small(filled: Path, tmp_path: Path) -> Iterator[Office]:
    """On SQLite."""
    shutil.copy(filled, tmp_path / "store.db")
    store = SqliteStore(tmp_path / "store.db")
    yield Office(tmp_path, store)
    store.close()


SINCE = ("late_results", "changed_by")


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))


def closed_text(form: str, content: bytes) -> object:
    """All that a file says of the closed month: without the status on its front and section 7."""
    if form == "csv":
        rows = [row for row in csv_rows(content) if row["verdict"]]
        return [{k: v for k, v in row.items() if not k.startswith("now_") and k not in SINCE} for row in rows]
    if form == "xlsx":
        book = openpyxl.load_workbook(io.BytesIO(content))
        report, annex, data = (list(sheet.iter_rows(values_only=True)) for sheet in book)
        until = next(n for n, row in enumerate(report) if str(row[0]).startswith("7. "))
        width = data[0].index("late_results")
        kept = [row for row in report[:until] if not re.match("Số liệu tháng", str(row[0]))]
        verdict = data[0].index("verdict")
        return [kept, annex, [row[:width] for row in data if row[verdict]]]
    if form == "docx":
        word = docx.Document(io.BytesIO(content))
        said = [p.text for p in word.paragraphs]
        tables = [[[cell.text for cell in row.cells] for row in table.rows] for table in word.tables]
        end = next(n for n, text in enumerate(said) if text.startswith("7. "))
        before = [text for text in said[:end] if not text.startswith("Số liệu tháng")]
        return [before, tables[:14], tables[-1]]
    if form == "html":
        page = content.decode()
        head, _, rest = page.partition("<h2>7. ")
        return [re.sub(r'<p class="status">.*?</p>', "", head), rest[rest.index('<div class="closing">') :]]
    texts = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
    pages = [re.sub(r"\s+", "", re.sub(r"\n\d+\nxomnet", "xomnet", text)) for text in texts]  # without their numbers
    head = "".join(pages).partition("7.Thayđổisaukhichốtsốliệu")[0]
    first = next(n for n, text in enumerate(pages) if text.startswith("PHỤLỤC"))
    return [re.sub(r"Sốliệutháng11/2026đãchốt.*?Bình\.(Cácthayđổi.*?đãchốt\.)?", "", head), pages[first:]]


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_of_a_closed_month_changes_whatever_comes_later(small: Office, form: str) -> None:
    _stays(small, form, AREA if form == "pdf" else None)


def test_closed_figures_stay_in_each_store_and_what_came_is_listed(office: Office) -> None:
    open_month = command.read_report(office.settings, NOVEMBER, None, LATER)
    before, after = _stays(office, "csv", None)
    figures = {(row["agent"], row["line"]): row for row in csv_rows(before)}
    for line in open_month.lines:  # closing itself changed nothing
        row = figures[line.row.agent, line.row.line]
        shown = row["median_mbps"].replace(",", ".")
        assert shown == ("" if line.verdict.median_mbps is None else repr(line.verdict.median_mbps))
    rows = {(row["agent"], row["line"]): row for row in csv_rows(after)}
    assert {line: row["late_results"] for line, row in rows.items() if row["late_results"] != "0"} == {
        tuple(line): str(LATE_EACH) for line in LATE_LINES
    }
    causes = {line: row["changed_by"] for line, row in rows.items() if row["changed_by"]}
    assert {line: causes[line] for line in causes if causes[line] != "target"} == {
        ("nd-0001", "ftth"): "late",
        ("nd-0002", "4g"): "late target",
        ("nd-0003", "ftth"): "registry",
        ("nd-0006", "ftth"): "registry",
        ("nd-0099", "ftth"): "registry",
    }
    assert {line[1] for line, cause in causes.items() if cause == "target"} == {"4g", "4g-2"}
    slow = rows["nd-0001", "ftth"]
    assert int(slow["now_samples"]) == int(slow["samples"]) + LATE_EACH - 1
    assert float(slow["now_median_mbps"].replace(",", ".")) < float(slow["median_mbps"].replace(",", "."))
    assert int(slow["now_outages"]) == int(slow["outages"]) + 1
    new = rows["nd-0099", "ftth"]
    assert (new["verdict"], new["now_verdict"], new["hamlet"]) == ("", "unmeasured", "Xóm 99")
    assert rows["nd-0003", "ftth"]["now_reasons"].split()[0] == "not_assessable"
    since = command.read_report(office.settings, NOVEMBER, None, LATER).since
    assert since is not None
    assert {(one.row.agent, one.edit, one.column, one.then, one.now) for one in since.registry} == {
        ("nd-0003", "changed", "plan_mbps", None, 100.0),
        ("nd-0004", "changed", "area", "Nam Định/Hải Hậu/Hải Đông", "Nam Định/Giao Thủy/Giao Thiện"),
        ("nd-0005", "changed", "hamlet", "Xóm Trung Đồng", "Xóm Mới"),
        ("nd-0006", "changed", "target_mbps", None, 1000.0),
        ("nd-0007", "line_removed", "", None, None),
        ("nd-0099", "line_added", "", None, None),
    }
    assert [(one.access, one.then.down_mbps, one.now.down_mbps) for one in since.targets] == [("mobile", 70, 100)]


def _stays(office: Office, form: str, area: str | None) -> tuple[bytes, bytes]:
    office.close()
    before = office.render(form, area=area)
    office.late_results()
    rows = office.edited()
    # read as `xomnet report` reads it: the collector itself refuses what would retag stored results
    history = office.folder / "state" / HISTORY_FILE
    office.registered([row for row in office.rows if LineId.of(row) != ("nd-0007", "4g")], AFTER + dt.timedelta(days=2))
    assert history.exists()
    write_registry(office.folder / "lines.csv", rows)
    write_targets(office.folder / "targets.yaml", 100)
    after = office.render(form, area=area)
    assert after != before
    assert closed_text(form, after) == closed_text(form, before)
    return before, after


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "vi",
            (
                f"Số liệu tháng 11/2026 đã chốt lúc 09:30 ngày 03/12/2026; người chốt: {BY}.",
                "Các thay đổi phát sinh sau khi chốt nêu tại mục 7, không làm thay đổi số liệu đã chốt.",
                "Xóm 5, Hải Minh, Hải Hậu; nd-0001 / ftth | 100",
                "Xóm Xuân Hà, Hải Minh, Hải Hậu; nd-0003 / ftth | Gói cước (Mb/s) | – | 100",
                "Xóm 2, Giao Thiện, Giao Thủy; nd-0004 / ftth | Địa bàn | Nam Định/Hải Hậu/Hải Đông",
                "Xóm Mới, Hải Đông, Hải Hậu; nd-0005 / 4g | Thôn, xóm | Xóm Trung Đồng | Xóm Mới",
                "nd-0006 / ftth | Chỉ tiêu riêng (Mb/s) | – | 1.000",
                "nd-0007 / 4g | xóa đường truyền | – | –",
                "Xóm 99, Hải Minh, Hải Hậu; nd-0099 / ftth | thêm đường truyền | – | –",
                "Di động | 70 Mb/s, áp dụng từ ngày 08/10/2024 | 100 Mb/s, áp dụng từ ngày 08/10/2024",
                "kết quả đến muộn; chỉ tiêu thay đổi",
            ),
        ),
        (
            "en",
            (
                f"The figures of November 2026 were closed on 3 Dec 2026, 09:30, by {BY}.",
                "Xóm 5, Hải Minh, Hải Hậu; nd-0001 / ftth | 100",
                "nd-0006 / ftth | Target of the line (Mb/s) | – | 1,000",
                "Mobile | 70 Mb/s, since 8 Oct 2024 | 100 Mb/s, since 8 Oct 2024",
                "late results; target changed",
            ),
        ),
    ],
)
def test_the_report_made_again_lists_each_change_with_its_reason(
    small: Office, language: str, sentences: Sequence[str]
) -> None:
    _stays(small, "csv", None)
    page = small.render("html", language).decode()
    text = re.sub(r"</td>\s*<td[^>]*>", " | ", page)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text).replace("\u2060", "").replace("\xa0", " "))
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_a_closed_month_without_a_change_says_so(small: Office) -> None:
    small.close()
    page = small.render("html").decode()
    assert "Đến 09:30 ngày 08/12/2026 không có thay đổi: kết quả tính lại trùng với số liệu đã chốt." in page
    assert "mục 7" not in page
    rows = csv_rows(small.render("csv"))
    assert {row["closed_by"] for row in rows} == {BY}
    assert {row["late_results"] for row in rows} == {"0"}
    assert {row[name] for row in rows for name in row if name.startswith("now_") or name == "changed_by"} == {""}


def test_an_open_month_says_that_it_is_not_closed(small: Office) -> None:
    page = small.render("html").decode()
    assert "số liệu tháng 11/2026 chưa chốt nên còn có thể thay đổi" in page
    assert "7. Thay đổi" not in page
    assert "November 2026 is not closed" in small.render("html", "en").decode()
    assert not (small.folder / "state" / FILE).exists()  # who only reads makes no file
    assert {row["closed_at"] + row["late_results"] for row in csv_rows(small.render("csv"))} == {""}


def test_the_month_before_has_its_closed_figures_if_it_is_closed(small: Office) -> None:
    small.close(OCTOBER, now=NOVEMBER.since() + dt.timedelta(days=2))
    closed = {LineId.of(one.row): one.verdict for one in command.read_closed(small.settings, OCTOBER).lines}
    row = small.rows[0]
    envelope = {"v": 1, "agent": row.agent, "line": row.line, "spool": UUID(int=77), "boot": UUID(int=9)}
    slow = Speed(engine="http", server="s", down_mbps=1.0)
    days = [OCTOBER.since() + dt.timedelta(days=day, hours=3) for day in range(30) for _ in range(9)]
    late = [
        point_of(SpeedResult(**envelope, seq=n, at=at, clock="synced", data=slow), row, AFTER)  # type: ignore[arg-type]
        for n, at in enumerate(days)
    ]
    assert small.store.write(late) == []
    found = command.read_report(small.settings, NOVEMBER, None, AFTER)
    assert {LineId.of(line.row): line.before for line in found.lines} == {
        LineId.of(line.row): closed.get(LineId.of(line.row), line.before) for line in found.lines
    }
    assert any(LineId.of(line.row) not in closed and line.before.verdict == "unmeasured" for line in found.lines)
    small.close()
    assert [one.before for one in command.read_closed(small.settings, NOVEMBER).lines] == [
        one.before for one in found.lines
    ]


def test_an_exclusion_that_came_later_only_proposes(small: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, months_ = small.settings, ClosedMonths.open(small.folder / "state")

    def entry(agent: str, at: dt.datetime, since: dt.datetime, basis: str = "measured", **more: object) -> Exclusion:
        given = {"scope": "unit", "until": NOVEMBER.until(), "reason": "quarantine", "by": "An", **more}
        return Exclusion(action="exclude", agent=agent, basis=basis, since=since, at=at, **given)  # type: ignore[arg-type]

    before = entry("nd-0001", AFTER - dt.timedelta(days=1), NOVEMBER.since())
    other_month = entry("nd-0003", LATER, NOVEMBER.since() - dt.timedelta(days=9), until=NOVEMBER.since())
    by_receipt = entry("nd-0004", LATER, AFTER, "received", until=None)  # nothing came so late
    after = entry("nd-0002", LATER, NOVEMBER.since(), note="đã mất trộm")
    close_month(months_, small.store, months.registry(), TARGETS, [before, other_month], NOVEMBER, BY, AFTER)
    closed = months_.read(NOVEMBER)
    months_.close()
    assert closed is not None
    assert closed.exclusions == [before]
    since = changes_since(
        closed, small.store, months.registry(), TARGETS, [before, other_month, by_receipt, after], LATER
    )
    assert [one.entry for one in since.exclusions] == [after]
    assert since.exclusions[0].tests > 100
    report = closed.report(None, LATER, since)
    page = command.render(report, settings, "vi", "html").decode()
    assert "không tính: tạm giữ chờ xem xét; đã mất trộm" in page

    lifted = structs.replace(before, action="count", since=EPOCH, until=None, note="đã tìm thấy", at=LATER)
    since = changes_since(closed, small.store, months.registry(), TARGETS, [before, lifted], LATER)
    page = command.render(closed.report(None, LATER, since), settings, "vi", "html").decode()
    assert "cho tính lại: đã tìm thấy" in page
    assert ">mọi kết quả<" in page
    assert "1970" not in page


def test_without_the_state_folder_no_month_is_called_open(small: Office) -> None:
    small.close()
    (small.folder / "state").rename(small.folder / "away")
    for argv in (["month", "list"], ["month", "show", "2026-11"]):
        done = asked(small, *argv)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "No such file or directory; run this on the collector's machine" in done.stderr


def test_a_quarantine_after_the_closing_is_listed_and_changes_nothing(small: Office) -> None:
    small.close()
    before = small.render("csv")
    quarantine = Exclusion(
        action="exclude",
        scope="unit",
        agent="nd-0002",
        basis="received",
        since=NOVEMBER.since(),
        reason="quarantine",
        by="An",
        at=LATER,
    )
    table = ExclusionTable(small.folder / "state" / FILE)
    table.add(quarantine)
    table.close()
    after = small.render("csv")
    assert closed_text("csv", after) == closed_text("csv", before)
    changed = {(row["agent"], row["line"]): row for row in csv_rows(after) if row["changed_by"]}
    assert {row["changed_by"] for row in changed.values()} == {"exclusion"}
    assert {agent for agent, _ in changed} == {"nd-0002"}
    row = changed["nd-0002", "4g"]
    assert (row["now_samples"], row["now_excluded"], row["now_verdict"]) == ("0", row["samples"], "unmeasured")


def test_an_area_has_its_own_changes(small: Office) -> None:
    _stays(small, "csv", None)
    since = command.read_report(small.settings, NOVEMBER, "Nam Định/Giao Thủy", LATER).since
    assert since is not None
    assert {one.row.agent for one in since.registry} == {"nd-0004", "nd-0006", "nd-0007"}
    assert since.late == {}
    with pytest.raises(ReportError, match="the closest: Nam Định/Giao Thủy"):
        command.read_report(small.settings, NOVEMBER, "Giao Thuy", LATER)


def test_a_month_is_closed_when_it_is_over_and_once(small: Office) -> None:
    with pytest.raises(ReportError, match="2026-11 is not over; close it from 2026-12-01 on"):
        small.close(now=NOVEMBER.until() - dt.timedelta(seconds=1))
    small.close(now=NOVEMBER.until())
    with pytest.raises(ReportError, match=f"2026-11 was closed on 2026-12-01 00:00 by {BY}; .*never opened again"):
        small.close(by="Another")
    assert command.closed_months(small.settings)[0].by == BY
    for name in ("", "  ", "a\u202eb", "x" * 101):
        with pytest.raises(ReportError, match="--by: found"):
            small.close(OCTOBER, by=name)


def test_results_that_are_no_longer_kept_leave_the_closed_figures(small: Office) -> None:
    small.close()
    text = small.config.read_text(encoding="utf-8").replace("path: store.db}", "path: store.db, keep_days: 70}")
    small.config.write_text(text, encoding="utf-8")
    then, later = small.render("csv"), AFTER + dt.timedelta(days=100)
    assert closed_text("csv", small.render("csv", now=later)) == closed_text("csv", then)
    assert "không tính lại được số liệu" in small.render("html", now=later).decode()
    with pytest.raises(ReportError, match="no longer all kept"):
        small.close(OCTOBER, now=later)


def figures_of(store: Store, measurement: str) -> list[Point]:
    since = NOVEMBER.since()
    return sorted(store.figures.points(measurement, since, since + dt.timedelta(days=1)), key=lambda p: str(p.tags))


def test_dashboards_have_the_closed_figures_and_they_are_not_computed_again(office: Office) -> None:
    office.close()
    closed = ClosedMonths.open(office.folder / "state")
    try:
        for _ in write_months(office.store, months.registry(), AFTER, None):  # before it knew of the closing
            pass
        then = {name: figures_of(office.store, name) for name in ("line_month", "place_month")}
        assert len(then["line_month"]) == len(office.rows)
        office.late_results()
        for _ in write_months(office.store, months.registry(), LATER, None, closed):
            pass
        assert {name: figures_of(office.store, name) for name in then} == then
        wrong = [dataclasses.replace(p, fields={**p.fields, "samples": 1}) for p in then["line_month"][:3]]
        assert office.store.write(wrong) == []
        settled = Rollups(office.store, months.registry, sweep_days=0, closed=closed)
        while settled.step(LATER):
            pass
        assert {name: figures_of(office.store, name) for name in then} == then
        for _ in write_months(office.store, months.registry(), LATER, None):
            pass
        assert figures_of(office.store, "line_month") != then["line_month"]  # what would be there if it were open
    finally:
        closed.close()


class Archive:
    """Keeps what it is given, or dies before or behind it."""

    def __init__(self, away: bool = False) -> None:
        self.records: list[ArchiveRecord] = []
        self.away = away

    def append(self, records: Sequence[ArchiveRecord]) -> None:
        if self.away:
            raise StoreUnavailable("the disk is full")
        self.records += records


def closing(office: Office, closed: ClosedMonths, archive: Archive) -> None:
    close_month(closed, office.store, months.registry(), TARGETS, (), NOVEMBER, BY, AFTER, archive=archive)


def test_the_archive_has_each_closing_and_gives_it_back(small: Office, tmp_path: Path) -> None:
    closed, archive = ClosedMonths.open(small.folder / "state"), Archive(away=True)
    with pytest.raises(StoreUnavailable, match="2026-11 is closed; the archive does not have it yet"):
        closing(small, closed, archive)
    assert NOVEMBER in closed.closings()  # closed it is; the archive gets it at the next occasion
    archive.away = False
    closed.archive(archive)
    closed.archive(archive)
    (record,) = archive.records
    assert (record.agent, record.late) == ("", False)
    assert is_closing(record.payload)
    assert not is_closing(b'{"record":"exclusion"}')
    (tmp_path / "new").mkdir()
    again = ClosedMonths.open(tmp_path / "new")
    assert [again.restore(record.payload), again.restore(record.payload)] == [True, False]
    assert again.read(NOVEMBER) == closed.read(NOVEMBER)
    again.archive(archive)
    assert len(archive.records) == 1  # it came from there
    closed.close()
    again.close()


def test_two_who_close_at_once_get_one_closing(small: Office) -> None:
    one, two = (ClosedMonths.open(small.folder / "state") for _ in range(2))
    closed = close_month(one, small.store, months.registry(), TARGETS, (), NOVEMBER, BY, AFTER)
    assert two.add(dataclasses.replace(closed) if dataclasses.is_dataclass(closed) else closed) is False
    one.close()
    two.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from collector.archive.writer import Archive
from collector.report import command
from collector.report.changes import changes_since
from collector.report.closed import ClosedMonths
from collector.judge.verdict import Month
import datetime as dt
folder = Path(sys.argv[1])
settings = command.load_settings(folder / "collector.yaml")
print("begins", flush=True)
now = dt.datetime.fromisoformat(sys.argv[2])
command.close(settings, Month(2026, 11), "An", now, lambda of: Archive(of.archive_folder, lambda: now))
print("closed", flush=True)
"""


def test_whoever_is_killed_while_closing_leaves_it_closed_or_not(small: Office) -> None:
    """At moments spread over the whole command; what is closed is whole, and the next try closes what is not."""
    small.rows = small.rows[:3]
    (small.folder / "state" / HISTORY_FILE).unlink()  # or it would have the others as lines that were removed
    write_registry(small.folder / "lines.csv", small.rows)
    outcomes, chance = set(), random.Random(7)
    whole = 0.0
    for n in range(8):
        for part in small.folder.glob(f"state/{FILE}*"):
            part.unlink()
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(small.folder), AFTER.isoformat()], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "begins\n"
        began = time.monotonic()
        if n == 0:
            assert child.stdout.readline() == "closed\n"
            whole = time.monotonic() - began
        else:
            time.sleep(whole * chance.uniform(0.5, 1.05))
            child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait(30)
        months_ = ClosedMonths.open(small.folder / "state")
        found = months_.read(NOVEMBER)
        months_.close()
        outcomes.add(found is not None)
        if found is None:
            small.close()
            found = command.read_closed(small.settings, NOVEMBER)
        assert len(found.lines) == 3
    assert True in outcomes


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from tests.integration import test_closed_months as tests
from collector.store.closed_months import ClosedMonthTable
from collector.store.sqlite import SqliteStore
from xomnet.registry.registry import Registry
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
add = ClosedMonthTable.add
class Archive:
    append = die
match sys.argv[2]:
    case "before the commit":
        ClosedMonthTable.add = die
    case "after the commit":
        ClosedMonthTable.add = lambda *a: add(*a) and die()
folder = Path(sys.argv[1])
store, closed = SqliteStore(folder / "store.db"), tests.ClosedMonths.open(folder / "state")
registry = Registry([row for row, _ in tests.months.rows_and_kinds()][:3], tests.TARGETS)
tests.close_month(closed, store, registry, tests.TARGETS, (), tests.NOVEMBER, "An", tests.AFTER, archive=Archive())
"""


@pytest.mark.parametrize(
    ("moment", "closed"),
    [("before the commit", False), ("after the commit", True), ("in the archive", True)],
)
def test_a_kill_at_each_step_leaves_a_month_that_is_whole_in_record_and_archive(
    small: Office, moment: str, closed: bool
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_AT, str(small.folder), moment], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    months_, archive = ClosedMonths.open(small.folder / "state"), Archive()
    assert (NOVEMBER in months_.closings()) == closed
    if not closed:
        closing(small, months_, archive)
    months_.archive(archive)  # as the collector does at its start
    assert [decode(one.payload) for one in archive.records] == [months_.read(NOVEMBER)]
    months_.close()


def test_a_damaged_record_is_refused_and_says_what_to_do(small: Office) -> None:
    small.close()
    file = small.folder / "state" / FILE
    with sqlite3.connect(file) as db, pytest.raises(sqlite3.IntegrityError, match="never changes"):
        db.execute("UPDATE closed_month SET closed_by = 'me'")
    with sqlite3.connect(file) as db, pytest.raises(sqlite3.IntegrityError, match="never changes"):
        db.execute("DELETE FROM closed_month")
    with sqlite3.connect(file) as db:
        db.execute("DROP TRIGGER closed_month_no_update")
        db.execute("UPDATE closed_month SET record = CAST(replace(record, '\"days\":30', '\"days\":31') AS BLOB)")
    with pytest.raises(StoreRefused, match=r"the record of 2026-11 is damaged; put back record\.db"):
        small.render("csv")
    for part in small.folder.glob(f"state/{FILE}-*"):
        part.unlink()
    file.write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    with pytest.raises(StoreRefused, match="put back the last backup"):
        small.render("csv")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("month", "report"):
        monkeypatch.setattr(import_module(f"xomnet_cli.{name}"), "utc_now", lambda: AFTER)


def asked(office: Office, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(office.config)])


@pytest.mark.usefixtures("clock")
def test_the_command_closes_lists_and_shows(small: Office, tmp_path: Path) -> None:
    assert asked(small, "month", "list").stdout == "no month is closed\n"
    open_ = asked(small, "month", "show", "2026-11", "--json")
    assert (open_.exit_code, json.loads(open_.stdout)["ok"]) == (1, False)
    done = asked(small, "month", "close", "2026-11", "--by", BY, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["ok"], said["month"], said["by"], said["closed_at"], said["lines"], said["version"]) == (
        *(True, "2026-11", BY, "2026-12-03T02:30:00Z", len(small.rows), 1),
    )
    again = asked(small, "month", "close", "2026-11", "--by", BY)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "was closed on 2026-12-03 09:30 by Trần Thị Bình" in again.stderr
    assert asked(small, "month", "list").stdout == f"2026-11  closed 2026-12-03 09:30 by {BY}\n"
    shown = asked(small, "month", "show", "2026-11").stdout
    assert shown.startswith(f"2026-11 was closed 2026-12-03 09:30 by {BY}\n  lines: {len(small.rows)}\n")
    assert "target 70 Mb/s" in shown
    report = asked(small, "report", "--month", "2026-11", "--out", str(tmp_path / "a.csv"), "--json")
    found = json.loads(report.stdout)["summary"]
    assert found["closed"] == {"at": "2026-12-03T02:30:00Z", "by": BY}
    assert found["changed_since"] == dict.fromkeys(("late_results", "exclusions", "registry", "targets", "lines"), 0)
    assert found["fixed"] == said["summary"]["fixed"]
    told = asked(small, "report", "--month", "2026-11", "--out", str(tmp_path / "a.csv")).stdout
    assert f"2026-11 as closed by {BY}; " in told


def test_a_record_of_version_1_is_read_as_it_was() -> None:
    """A figure that is signed must be the same next year, whatever the code has become."""
    record = (Path(__file__).parents[1] / "unit" / "closed_month_v1.json").read_bytes()
    closed = decode(record)
    assert (str(closed.month), closed.by, len(closed.lines)) == ("2026-11", BY, 3)
    line = closed.lines[0]
    assert line.verdict.median_mbps == json.loads(record)["lines"][0]["verdict"]["median_mbps"]
    with pytest.raises(StoreRefused, match="version 2 of its record; this xomnet reads 1"):
        decode(record.replace(b'"version":1', b'"version":2'))
    with pytest.raises(StoreRefused, match="can't be read"):
        decode(record[:-5])
