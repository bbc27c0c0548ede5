"""The registry: what a spreadsheet may hold, what it may not, and which row is in force."""

import codecs
import csv
import datetime as dt
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xomnet.registry.registry import COLUMNS, LineRow, Registry, RegistryError, load_registry, read_rows
from xomnet.targets import Target, Targets, load_targets

CONFIG = Path(__file__).parents[2] / "config"
HEADER = ",".join(COLUMNS)
GOOD = "nd-a-1,ftth,fixed,eth0,36001,Xóm 5,Nam Định/Hải Hậu,20.25,106.30,VNPT,200,,2026-01-01"
SHORT = "agent,line,access,hamlet,area,isp,from"
TARGETS = Targets(
    [
        Target(access="fixed", from_=dt.date(2024, 10, 8), down_mbps=150),
        Target(access="fixed", from_=dt.date(2027, 1, 1), down_mbps=300),
        Target(access="mobile", from_=dt.date(2024, 10, 8), down_mbps=70),
    ]
)


def rows(*lines: str, header: str = HEADER) -> list[LineRow]:
    return read_rows("\n".join([header, *lines]).encode(), "lines.csv")


def problems(*lines: str, header: str = HEADER) -> list[str]:
    with pytest.raises(RegistryError) as raised:
        rows(*lines, header=header)
    assert str(raised.value) == "\n".join(str(problem) for problem in raised.value.problems)
    return [str(problem) for problem in raised.value.problems]


def with_cell(column: str, text: str) -> str:
    cells = next(csv.reader([GOOD]))
    cells[COLUMNS.index(column)] = text
    out = io.StringIO()
    csv.writer(out, lineterminator="", quoting=csv.QUOTE_ALL).writerow(cells)
    return out.getvalue()


# --- reading


def test_a_row_is_read_in_full() -> None:
    assert rows(GOOD) == [
        LineRow(
            agent="nd-a-1",
            line="ftth",
            access="fixed",
            hamlet="Xóm 5",
            area="Nam Định/Hải Hậu",
            isp="VNPT",
            from_=dt.date(2026, 1, 1),
            interface="eth0",
            hamlet_code="36001",
            lat=20.25,
            lon=106.3,
            plan_mbps=200.0,
        )
    ]


def test_the_example_can_be_read() -> None:
    registry = load_registry(CONFIG / "lines.example.csv", load_targets(CONFIG / "targets.yaml"))
    assert registry.has_agent("nd-haihau-0012")


def test_columns_that_are_not_needed_may_be_missing_and_in_any_order() -> None:
    (row,) = rows("2026-01-01,VNPT,A/B,Xóm 5,fixed,ftth,nd-a-1", header=",".join(reversed(SHORT.split(","))))
    assert (row.agent, row.plan_mbps, row.lat) == ("nd-a-1", None, None)


def test_empty_lines_and_spaces_do_not_matter() -> None:
    assert rows("", " , ,,", GOOD.replace(",", " , "), "") == rows(GOOD)


def test_the_header_may_be_in_capitals() -> None:
    assert rows(GOOD, header=HEADER.upper()) == rows(GOOD)


@pytest.mark.parametrize(
    "raw",
    [
        codecs.BOM_UTF8 + f"{HEADER}\r\n{GOOD}\r\n".encode(),
        f"{HEADER}\n{GOOD}".encode("utf-16"),
        f"{HEADER}\n{GOOD}".replace(",", "\t").encode("utf-16"),
        f"{HEADER}\n{GOOD}".replace(",", ";").replace("20.25", "20,25").replace("2026-01-01", "1/1/2026").encode(),
    ],
    ids=["BOM and CR LF", "UTF-16", "Unicode text", "Vietnamese Excel"],
)
def test_a_file_as_excel_saves_it_is_read(raw: bytes) -> None:
    assert read_rows(raw, "lines.csv") == rows(GOOD)


# --- what a person must correct


@pytest.mark.parametrize(
    ("column", "text", "says"),
    [
        ("agent", "ND_A_1", "lower-case letters"),
        ("agent", "a/b", "lower-case letters"),
        ("agent", "+", "lower-case letters"),
        ("agent", "a" * 33, "at most 32"),
        ("agent", "", "the line's agent"),
        ("agent", "collector", "another name"),
        ("line", "#", "lower-case letters"),
        ("access", "wifi", "fixed or mobile"),
        ("access", "Fixed", "fixed or mobile"),
        ("interface", "eth 0", "eth0 or wwan0"),
        ("hamlet", "", "the line's hamlet"),
        ("hamlet", "x" * 129, "at most 128"),
        ("hamlet", "two\nlines", "on one line"),
        ("hamlet", "Xóm\u200b 5", "'Xóm  5' on one line, without the invisible or control character U+200B"),
        ("hamlet", "\u202e5 mốX", "U+202E"),
        ("isp", "VN\x9bPT", "U+009B"),
        ("hamlet_code", "x\ufffe", "U+FFFE"),
        ("area", "Nam Định/Hải\u2028Hậu", "U+2028"),
        ("hamlet", "ends with \\", "not ending"),
        ("area", "A//B", "a path"),
        ("area", "/A", "a path"),
        ("area", "A/", "a path"),
        ("lat", "north", "a number such as 20.25"),
        ("lat", "91", "from -90 to 90"),
        ("lat", "nan", "from -90 to 90"),
        ("lon", "-181", "from -180 to 180"),
        ("plan_mbps", "0", "from 1 to"),
        ("plan_mbps", "inf", "from 1 to"),
        ("plan_mbps", "200 Mb/s", "a number such as 200"),
        ("target_mbps", "-1", "from 1 to"),
        ("from", "2026-02-30", "a date such as"),
        ("from", "next week", "a date such as"),
        ("from", "", "the line's from"),
    ],
)
def test_a_bad_cell_is_named_with_its_place_and_what_to_write(column: str, text: str, says: str) -> None:
    (problem,) = problems(GOOD.replace("ftth", "first"), with_cell(column, text))
    assert problem.startswith(f"lines.csv, line 3, column {column}: found ")
    assert says in problem


def test_every_problem_is_told_at_once() -> None:
    found = problems(with_cell("access", "wifi"), GOOD, with_cell("lat", "x"), with_cell("from", "y"))
    assert [problem.split(":")[0] for problem in found] == [
        "lines.csv, line 2, column access",
        "lines.csv, line 4, column lat",
        "lines.csv, line 5, column from",
    ]


def test_a_cell_of_two_lines_is_found_where_its_row_begins() -> None:
    (problem,) = problems(GOOD, with_cell("hamlet", "two\nlines").replace("ftth", "4g"), GOOD.replace("ftth", "cable"))
    assert problem.startswith("lines.csv, line 3, column hamlet")


def test_a_quote_that_is_never_closed_is_a_problem_and_no_crash() -> None:
    lines = [GOOD.replace("Xóm 5", '"Xóm 5'), *(GOOD.replace("ftth", f"l{n}") for n in range(3000))]
    assert "line 2" in problems(*lines)[0]


def test_only_one_coordinate_is_a_problem() -> None:
    (problem,) = problems(with_cell("lat", ""))
    assert "column lat, lon" in problem
    assert "both, or neither" in problem


def test_the_same_line_twice_from_one_day_is_a_problem() -> None:
    (problem,) = problems(GOOD, GOOD.replace("200", "300"))
    assert "line 3, column from" in problem
    assert "which line 2 has already" in problem


def test_a_cell_too_many_is_a_problem() -> None:
    (problem,) = problems(GOOD.replace("Xóm 5", "Xóm 5, thôn Đông"))
    assert "line 2" in problem
    assert "around a cell" in problem


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER.replace("isp,", ""), "column isp: found no such column"),
        (HEADER.replace("isp", "provider"), "column provider: found a column that the registry does not have"),
        (HEADER + ",isp", "column isp: found the column twice"),
        ("", "column agent: found no such column"),
    ],
)
def test_a_bad_header_is_a_problem_of_line_1(header: str, says: str) -> None:
    found = problems(GOOD, header=header)
    assert all(problem.startswith("lines.csv, line 1, ") for problem in found)
    assert any(says in problem for problem in found)


def test_a_file_in_an_old_encoding_names_the_line() -> None:
    with pytest.raises(RegistryError, match=r"line 2.*UTF-8"):
        read_rows(f"{HEADER}\n{GOOD}".encode("cp1258", errors="replace").replace(b"VNPT", b"\xd2\xff"), "lines.csv")


def test_utf_16_cut_in_the_middle_is_a_problem_and_no_crash() -> None:
    with pytest.raises(RegistryError):
        read_rows(f"{HEADER}\n{GOOD}".encode("utf-16")[:-1], "lines.csv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"nowhere\.csv"):
        load_registry(tmp_path / "nowhere.csv", TARGETS)


@given(st.binary(max_size=400))
def test_no_bytes_make_it_stumble(raw: bytes) -> None:
    with pytest.raises(RegistryError):
        read_rows(raw, "lines.csv")


@given(st.lists(st.text(max_size=20), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_no_cells_make_it_stumble(cells: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    try:
        found = read_rows(f"{HEADER}\n{out.getvalue()}".encode(errors="replace"), "lines.csv")
    except RegistryError:
        return
    assert len(found) <= 1


# --- which row is in force


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


DATED = Registry(
    rows(
        "nd-a-1,ftth,fixed,Xóm Mới,A/C,VNPT,2026-07-01",
        "nd-a-1,ftth,fixed,Xóm Cũ,A/B,VNPT,2026-01-01",
        "nd-a-1,4g,mobile,Xóm Cũ,A/B,Viettel,2026-03-01",
        header=SHORT,
    ),
    TARGETS,
)


@pytest.mark.parametrize(
    ("when", "hamlet"),
    [
        ("2025-12-31T16:59:59+00:00", None),
        ("2025-12-31T17:00:00+00:00", "Xóm Cũ"),
        ("2026-01-01T00:00:00+07:00", "Xóm Cũ"),
        ("2026-06-30T23:59:59+07:00", "Xóm Cũ"),
        ("2026-06-30T17:00:00+00:00", "Xóm Mới"),
        ("2030-01-01T00:00:00+00:00", "Xóm Mới"),
    ],
)
def test_the_row_in_force_is_that_of_the_day_in_the_province(when: str, hamlet: str | None) -> None:
    row = DATED.at("nd-a-1", "ftth", at(when))
    assert (row and row.hamlet) == hamlet


def test_a_line_or_an_agent_that_is_not_registered_has_no_row() -> None:
    now = at("2026-08-01T00:00:00+07:00")
    assert DATED.at("nd-a-1", "cable", now) is None
    assert DATED.at("nd-z-9", "ftth", now) is None
    assert DATED.row_of_agent("nd-z-9", now) is None
    assert DATED.has_agent("nd-a-1")
    assert not DATED.has_agent("nd-z-9")


def test_a_unit_stands_where_its_first_line_in_force_is() -> None:
    row = DATED.row_of_agent("nd-a-1", at("2026-08-01T00:00:00+07:00"))
    assert row is not None
    assert row.hamlet == "Xóm Mới"
    assert row in DATED.lines_of("nd-a-1", at("2026-08-01T00:00:00+07:00"))
    assert DATED.lines_of("nd-a-1", at("2000-01-01T00:00:00+07:00")) == []
    assert DATED.lines_of("nd-z-9", at("2026-08-01T00:00:00+07:00")) == []
    assert DATED.row_of_agent("nd-a-1", at("2025-01-01T00:00:00+07:00")) is None


def test_the_lines_of_now_are_each_there_once() -> None:
    def lines(when: str) -> list[tuple[str, str]]:
        return [(row.line, row.hamlet) for row in DATED.current(at(when))]

    assert lines("2026-02-01T00:00:00+07:00") == [("ftth", "Xóm Cũ")]
    assert sorted(lines("2026-08-01T00:00:00+07:00")) == [("4g", "Xóm Cũ"), ("ftth", "Xóm Mới")]


def test_the_target_is_the_lines_own_else_that_of_its_access_on_that_day() -> None:
    (plain,), (own,) = rows(GOOD), rows(with_cell("target_mbps", "100"))
    registry = Registry([plain], TARGETS)
    assert registry.target_mbps(plain, at("2026-12-31T16:59:59+00:00")) == 150
    assert registry.target_mbps(plain, at("2026-12-31T17:00:00+00:00")) == 300
    assert registry.target_mbps(own, at("2027-06-01T00:00:00+00:00")) == 100


DAYS = st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1))


@given(st.sets(DAYS, min_size=1, max_size=12), DAYS)
def test_the_row_in_force_is_the_last_whose_day_has_come(days: set[dt.date], day: dt.date) -> None:
    dated = [LineRow("a", "l", "fixed", f"from {start}", "A", "VNPT", start) for start in days]
    row = Registry(dated, TARGETS).at("a", "l", dt.datetime.combine(day, dt.time(12), dt.UTC))
    expected = max((start for start in days if start <= day), default=None)
    assert (row and row.from_) == expected


def test_a_line_that_was_taken_out_was_there_until_then() -> None:
    ended = at("2026-07-10T12:00:00+07:00")
    registry = Registry(DATED.rows(), TARGETS, ended={("nd-a-1", "ftth"): ended})
    before = ended - dt.timedelta(microseconds=1)
    assert registry.at("nd-a-1", "ftth", before) == DATED.at("nd-a-1", "ftth", before)
    assert registry.at("nd-a-1", "ftth", ended) is None
    assert registry.latest("nd-a-1", "ftth", at("2030-01-01T00:00:00+00:00")) == registry.at("nd-a-1", "ftth", before)
    assert [row.line for row in registry.current(ended)] == ["4g"]

    def within(since: str, until: str) -> set[tuple[str, str]]:
        return {(row.line, row.hamlet) for row in registry.rows_within(at(since), at(until))}

    july, august = "2026-07-01T00:00:00+07:00", "2026-08-01T00:00:00+07:00"
    assert within("2026-01-01T00:00:00+07:00", "2026-03-01T00:00:00+07:00") == {("ftth", "Xóm Cũ")}
    assert within(july, august) == {("ftth", "Xóm Mới"), ("4g", "Xóm Cũ")}
    assert within(august, "2026-09-01T00:00:00+07:00") == {("4g", "Xóm Cũ")}
