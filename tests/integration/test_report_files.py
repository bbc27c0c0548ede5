"""The monthly report as files: whoever has the CSV counts every figure of it again, in whatever format."""

import csv
import dataclasses
import datetime as dt
import html
import io
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

import docx
import openpyxl
import pypdf
import pytest

from collector.judge.verdict import Verdict
from collector.report.as_csv import as_csv
from collector.report.as_docx import as_docx
from collector.report.as_html import as_html
from collector.report.as_pdf import as_pdf
from collector.report.as_xlsx import as_xlsx
from collector.report.document import document
from collector.report.gather import gather
from collector.report.model import MonthlyReport
from collector.settings import ReportSettings
from collector.store.sqlite import SqliteStore
from collector.texts.texts import Texts
from tests.support import months
from xomnet.registry.registry import LineRow, Registry

HEAD = ReportSettings(parent="Ủy ban nhân dân tỉnh Nam Định", authority="Sở Khoa học và Công nghệ", place="Nam Định")
VI = Texts("vi")
WORDS = {"ĐẠT": "met", "CHƯA ĐẠT": "not_met", "CHƯA ĐỦ CƠ SỞ KẾT LUẬN": "not_certain", "CHƯA ĐO ĐƯỢC": "unmeasured"}

Row = dict[str, str]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> MonthlyReport:
    """November of sixty lines, read from a real store."""
    store = SqliteStore(tmp_path_factory.mktemp("report") / "store.db")
    months.fill(store)
    found = gather(store, months.registry(), months.TARGETS, months.NOVEMBER, None, months.AFTER)
    store.close()
    return found


def rows_of(content: bytes) -> list[Row]:
    """As Excel in Vietnamese reads it."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))


@pytest.fixture(scope="module")
def rows(report: MonthlyReport) -> list[Row]:
    return rows_of(as_csv(report, "vi"))


@pytest.fixture(scope="module")
def page(report: MonthlyReport) -> str:
    return as_html(document(report, HEAD, "vi")).decode()


def number(cell: str) -> float:
    return float(cell.replace(",", "."))


def plain(text: str) -> str:
    """Without what only keeps lines from breaking."""
    text = re.sub(r"<[^>]+>", "", html.unescape(text)).replace("\u2060", "").replace("\xa0", " ")
    return re.sub(r"\s+", " ", text).strip()


def tables(page: str) -> list[list[list[str]]]:
    """Each table's rows, its head first."""
    found = re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    return [
        [
            [plain(c) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", r, re.DOTALL)]
            for r in re.findall(r"<tr.*?</tr>", t, re.DOTALL)
        ]
        for t in found
    ]


def summary_of(rows: list[Row]) -> list[str]:
    """The summary's sentences, counted from the CSV alone."""
    said = []
    hamlets = {(r["area"], r["hamlet"]) for r in rows}
    measured = {(r["area"], r["hamlet"]) for r in rows if r["verdict"] != "unmeasured"}
    share = VI.percent(len(measured) / len(hamlets))
    said.append(
        f"Phạm vi đo: {len(measured)}/{len(hamlets)} thôn, xóm trong danh mục ({share})"
        f" có số liệu đo hợp lệ; {len(rows)} đường truyền."
    )
    for access, word, target in (("mobile", "Di động", "70"), ("fixed", "Cố định", "150")):
        own = [r for r in rows if r["access"] == access]
        count = {name: sum(r["verdict"] == name for r in own) for name in WORDS.values()}
        middle = median(number(r["median_mbps"]) for r in own if r["median_mbps"])
        said.append(
            f"{word} (chỉ tiêu {target} Mb/s): {count['met']}/{len(own)} đường truyền đạt,"
            f" {count['not_met']} chưa đạt, {count['not_certain']} chưa đủ cơ sở kết luận,"
            f" {count['unmeasured']} chưa có số liệu đo hợp lệ;"
            f" tốc độ trung vị của các đường truyền {VI.number(middle)} Mb/s."
        )
    apart = [r for r in rows if r["low_mbps"] and r["before_high_mbps"]]
    better = sum(number(r["low_mbps"]) > number(r["before_high_mbps"]) for r in apart)
    worse = sum(number(r["high_mbps"]) < number(r["before_low_mbps"]) for r in apart)
    outages = sum(int(r["outages"]) for r in rows)
    hours = VI.number(sum(number(r["outage_s"]) for r in rows) / 3600)
    silent = len({r["agent"] for r in rows if int(r["unit_silent_days"])})
    said.append(
        f"So với tháng 10/2026: {better} đường truyền cải thiện, {worse} đường truyền suy giảm."
        f" Gián đoạn (mất kết nối): {outages} lần, tổng thời gian {hours} giờ."
        f" Số thiết bị đo không có phép đo trong trọn một ngày trở lên: {silent}."
    )
    return said


def test_every_verdict_change_and_trouble_is_in_the_months_of_these_tests(rows: list[Row]) -> None:
    assert {r["verdict"] for r in rows} == set(WORDS.values())
    assert {r["change"] for r in rows} == {"improved", "worsened", "open", ""}
    assert {"few_tests", "undecided", "not_assessable", "few_valid"} <= {w for r in rows for w in r["reasons"].split()}
    assert any(int(r["unit_silent_days"]) for r in rows)
    assert any(r["failed_at"] for r in rows)


def test_the_summary_is_counted_from_the_csv(rows: list[Row], page: str) -> None:
    items = [plain(item) for item in re.findall(r"<li>(.*?)</li>", page, re.DOTALL)]
    assert items[:4] == summary_of(rows)


def test_the_tables_by_area_and_provider_are_counted_from_the_csv(rows: list[Row], page: str) -> None:
    keys: list[Callable[[Row], str]] = [lambda r: r["area"].split("/")[1], lambda r: r["isp"]]
    for access, (by_area, by_isp) in (("mobile", tables(page)[:2]), ("fixed", tables(page)[2:4])):
        own = [r for r in rows if r["access"] == access]
        for table, key in ((by_area, keys[0]), (by_isp, keys[1])):
            head, *body = table
            assert {line[0] for line in body} == {key(r) for r in own} | {"Tổng cộng"}
            for line in body:
                members = [r for r in own if line[0] in ("Tổng cộng", key(r))]
                count = {name: sum(r["verdict"] == name for r in members) for name in WORDS.values()}
                certain = count["met"] + count["not_met"]
                shown = dict(zip(head, line, strict=True))
                assert int(shown["Đường truyền"]) == len(members)
                assert {name: int(shown[word]) for word, name in WORDS.items()} == count
                assert shown["Tỷ lệ đạt"] == (VI.percent(count["met"] / certain) if certain else "–")
                medians = [number(r["median_mbps"]) for r in members if r["median_mbps"]]
                target = {"mobile": 70, "fixed": 150}[access]
                assert shown["Tốc độ trung vị của các đường truyền (Mb/s)"] == VI.mbps(median(medians), target)


def test_each_line_stands_in_the_list_of_its_verdict_and_in_the_annex(rows: list[Row], page: str) -> None:
    *found, annex = tables(page)
    lists = {"not_met": found[4], "not_certain": found[5], "unmeasured": found[6]}
    for verdict, table in lists.items():
        named = [f"{r['agent']} / {r['line']}" for r in rows if r["verdict"] == verdict]
        assert sorted(line[1] for line in table[1:]) == sorted(named)
    by_line = {f"{r['agent']} / {r['line']}": r for r in rows}
    assert [line[2] for line in annex[1:]] == list(by_line)
    for line in annex[1:]:
        row = by_line[line[2]]
        assert WORDS[line[6][2:]] == row["verdict"]
        target = number(row["target_mbps"])
        assert line[7] == (VI.mbps(number(row["median_mbps"]), target) if row["median_mbps"] else "–")
        ends = [VI.mbps(number(row[end]), target) for end in ("low_mbps", "high_mbps") if row[end]]
        assert line[8] == (" – ".join(ends) or "–")
        assert [int(cell) for cell in line[9:12]] == [int(row[name]) for name in ("samples", "failed", "days")]


def test_every_test_that_counts_as_0_is_named_in_the_csv_and_its_line_in_the_report(rows: list[Row], page: str) -> None:
    failing = {f"{r['agent']} / {r['line']}": int(r["failed"]) for r in rows if int(r["failed"])}
    assert sum(failing.values()) > 20
    assert all(len(r["failed_at"].split()) == int(r["failed"]) for r in rows)
    (named,) = (table for table in tables(page) if table[0][-1] == "Thời điểm")
    assert {line[1]: int(line[3]) for line in named[1:]} == failing


def test_the_pdf_says_the_same_on_numbered_pages(report: MonthlyReport) -> None:
    report = dataclasses.replace(report, lines=report.lines[:18])
    rows = rows_of(as_csv(report, "vi"))
    pages = pypdf.PdfReader(io.BytesIO(as_pdf(document(report, HEAD, "vi")))).pages
    texts = [plain(page.extract_text()) for page in pages]
    assert all(text.startswith(str(n)) or f" {n} " in text for n, text in enumerate(texts[1:], 2))
    whole = " ".join(texts)
    for sentence in summary_of(rows):
        assert sentence.replace(" ", "") in whole.replace(" ", "")
    assert "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM" in texts[0]
    assert "SỞ KHOA HỌC VÀ CÔNG NGHỆ" in texts[0]
    first, last = pages[0].mediabox, pages[-1].mediabox
    assert first.height > first.width
    assert last.width > last.height
    fonts = {str(font["/BaseFont"]) for page in pages for font in map(_object, page["/Resources"]["/Font"].values())}  # type: ignore[index]
    assert all("+" in font for font in fonts)  # embedded: whoever opens it sees these letters


def _object(reference: pypdf.generic.IndirectObject) -> pypdf.generic.DictionaryObject:
    found = reference.get_object()
    assert isinstance(found, pypdf.generic.DictionaryObject)
    return found


def test_word_has_the_same_tables_and_sentences(report: MonthlyReport, rows: list[Row], page: str) -> None:
    word = docx.Document(io.BytesIO(as_docx(document(report, HEAD, "vi"))))
    said = [paragraph.text for paragraph in word.paragraphs]
    assert set(summary_of(rows)) <= set(said)
    assert re.findall(r'<w:lang w:val="(.*?)"', word.styles.element.xml) == ["vi-VN"]
    found = [[[plain(cell.text) for cell in row.cells] for row in table.rows] for table in word.tables]
    heads = [table[0] for table in tables(page)]
    assert [table for table in found if table[0] in heads] == tables(page)


def test_excel_holds_the_rows_as_numbers(report: MonthlyReport, rows: list[Row]) -> None:
    book = openpyxl.load_workbook(io.BytesIO(as_xlsx(document(report, HEAD, "vi"), report, "vi")))
    assert book.sheetnames == ["Báo cáo", "Phụ lục", "Dữ liệu"]
    head, *body = book["Dữ liệu"].iter_rows(values_only=True)
    assert list(head) == list(rows[0])
    for shown, row in zip(body, rows, strict=True):
        figures = dict(zip(map(str, head), shown, strict=True))
        for name in ("median_mbps", "low_mbps", "samples", "outage_s"):
            # as many digits as a spreadsheet has
            assert figures[name] == (pytest.approx(number(row[name]), rel=1e-14) if row[name] else None)
    assert len(book["Báo cáo"]._charts) == 3  # type: ignore[attr-defined]


def test_no_format_rounds_a_median_across_its_target(report: MonthlyReport) -> None:
    (line,) = (one for one in report.lines if one.row.agent == "nd-0017" and one.row.line == "4g")
    nearly = dataclasses.replace(line, verdict=dataclasses.replace(line.verdict, median_mbps=69.97))
    said = document(dataclasses.replace(report, lines=[nearly]), HEAD, "vi")
    assert ">69,97<" in as_html(said).decode()
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx(said, report, "vi")))["Phụ lục"]
    assert [cell.number_format for cell in sheet[2] if cell.value == 69.97] == ["#,##0.00"]


def test_nothing_is_compared_with_a_month_of_which_there_is_nothing(report: MonthlyReport) -> None:
    line = next(one for one in report.lines if one.before.verdict == "met")
    new = dataclasses.replace(line, before=Verdict("unmeasured", 70))
    page = as_html(document(dataclasses.replace(report, lines=[new]), HEAD, "vi")).decode()
    assert page.count("Tháng 10/2026 không có đường truyền nào có số liệu đo hợp lệ nên không so sánh.") == 2
    gone = dataclasses.replace(report, before_kept=False)
    assert as_html(document(gone, HEAD, "vi")).decode().count("Kết quả tháng 10/2026 không còn được lưu") == 2
    assert {row[name] for row in rows_of(as_csv(gone, "vi")) for name in row if name.startswith("before_")} == {""}


def test_a_line_is_told_where_the_month_found_it_and_by_the_plan_and_target_it_ended_with(tmp_path: Path) -> None:
    first = LineRow("nd-0001", "4g", "mobile", "Xóm 5", "Nam Định/Hải Hậu", "VNPT", dt.date(2026, 1, 1), plan_mbps=60)
    last = dataclasses.replace(
        first, hamlet="Xóm 6", isp="FPT", from_=dt.date(2026, 11, 20), plan_mbps=300, target_mbps=50
    )
    store = SqliteStore(tmp_path / "store.db")
    registry = Registry([first, last], months.TARGETS)
    (line,) = gather(store, registry, months.TARGETS, months.NOVEMBER, None, months.AFTER).lines
    store.close()
    assert (line.row.hamlet, line.row.isp, line.row.plan_mbps, line.row.target_mbps) == ("Xóm 5", "VNPT", 300, 50)
    assert line.verdict.target_mbps == 50


HOSTILE = '=HYPERLINK("http://x","Xóm")&<script>;"'


def test_no_name_becomes_a_formula_or_markup(report: MonthlyReport) -> None:
    line = report.lines[0]
    row = dataclasses.replace(line.row, hamlet=HOSTILE, isp="@SUM(A1)", area="Nam Định/-1+2/<b>")
    hostile = dataclasses.replace(report, lines=[dataclasses.replace(line, row=row), *report.lines[1:]])
    (found,) = (r for r in rows_of(as_csv(hostile, "vi")) if HOSTILE in r["hamlet"])
    assert (found["hamlet"], found["isp"]) == (f"'{HOSTILE}", "'@SUM(A1)")
    said = document(hostile, HEAD, "vi")
    book = openpyxl.load_workbook(io.BytesIO(as_xlsx(said, hostile, "vi")))
    cells = [cell for sheet in book for line in sheet.iter_rows() for cell in line]
    assert [cell.value for cell in cells if cell.data_type == "f"] == []
    assert any(cell.value == HOSTILE for cell in cells)
    assert b"<script>" not in as_html(said)
    texts = [cell.text for table in docx.Document(io.BytesIO(as_docx(said))).tables for cell in table._cells]
    assert any(HOSTILE in text for text in texts)


def test_english_has_a_point_and_no_dotted_line_is_filled(report: MonthlyReport) -> None:
    content = as_csv(report, "en").decode("utf-8-sig")
    (row, *_) = csv.DictReader(io.StringIO(content, newline=""))
    assert float(row["median_mbps"]) > 0
    page = as_html(document(report, ReportSettings(), "en")).decode()
    assert "SOCIALIST REPUBLIC OF VIET NAM" in page
    assert '<p class="name">………………………</p>'.replace("………………………", "…" * 8) in page
    assert not re.search(r"[đĐ]ường truyền", page)


def test_a_whole_report_fits_a_page_of_nothing_fetched(page: str, tmp_path: Path) -> None:
    assert not re.search(r"(?:src|href)=|url\(|@import", page)
