"""A closed month: whatever comes later, its figures stay to the last digit, and the report lists what came."""

import csv
import dataclasses
import datetime as dt
import io
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from uuid import UUID

import docx
import openpyxl
import pypdf
import pytest
from typer.testing import CliRunner, Result

from collector.ingest.archive_record import ArchiveRecord
from collector.registry.registry_file import HISTORY_FILE, RegistryFile
from collector.report import command
from collector.report.closed import ClosedMonths, decode, is_closing
from collector.report.closing import close_month
from collector.report.gather import ReportError, gather
from collector.rollups.months import write_months
from collector.rollups.rollups import Rollups
from collector.settings import CollectorSettings
from collector.store import Store
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.exclusions import Exclusion
from collector.store.influx import InfluxStore
from collector.store.line_id import LineId
from collector.store.points import Point, point_of
from collector.store.record_db import FILE
from tests.support import months, stored
from tests.support.months import AFTER, NOVEMBER, OCTOBER, TARGETS
from xomnet.contract.messages import Outage, OutageResult, Speed, SpeedResult
from xomnet.registry.registry import COLUMNS, LineRow, Registry
from xomnet.settings import load
from xomnet.targets import Target, Targets
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
        command.close(self.settings, month, by, now)  # type: ignore[arg-type]

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
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Office:
    store = stored.new_store(request, tmp_path)
    months.fill(store)
    request.addfinalizer(store.close)
    return Office(tmp_path, store)


@pytest.fixture
def small(tmp_path: Path) -> Office:
    """On SQLite."""
    from collector.store.sqlite import SqliteStore

    store = SqliteStore(tmp_path / "store.db")
    months.fill(store)
    return Office(tmp_path, store)


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
        until = next(n for n, text in enumerate(said) if text.startswith("7. "))
        before = [text for text in said[:until] if not text.startswith("Số liệu tháng")]
        return [before, [table for table in tables if "Kết luận tính lại" not in table[0]][:14], tables[-1]]
    if form == "html":
        page = content.decode()
        head, _, rest = page.partition("<h2>7. ")
        return [re.sub(r'<p class="status">.*?</p>', "", head), rest[rest.index('<div class="closing">') :]]
    texts = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
    whole = re.sub(r"\s+", "", "".join(texts))
    head = whole.partition("7.Thayđổisaukhichốtsốliệu")[0]
    annex = [re.sub(r"^\d+", "", re.sub(r"\s+", "", text)) for text in texts]
    start = next(n for n, text in enumerate(annex) if "PHỤLỤC" in text)
    return [re.sub(r"Sốliệutháng11/2026đãchốt.*?Bình\.(Cácthayđổi.*?mục7\.)?", "", head), annex[start:]]


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
    assert {line: causes[line] for line in causes if line[1] != "4g" or "late" in causes[line]} == {
        ("nd-0001", "ftth"): "late",
        ("nd-0002", "4g"): "late target",
        ("nd-0003", "ftth"): "registry",
        ("nd-0006", "ftth"): "registry",
        ("nd-0099", "ftth"): "registry",
    }
    assert {cause for line, cause in causes.items() if line[1].startswith("4g")} == {"target", "late target"}
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
