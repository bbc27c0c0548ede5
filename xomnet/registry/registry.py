"""The registry of lines: one dated, spreadsheet-friendly CSV file, the single source of each line's data."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from xomnet.contract.messages import Access
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.cells import PARSERS, BadValue
from xomnet.targets import Targets

COLUMNS = (
    *("agent", "line", "access", "interface", "hamlet_code", "hamlet", "area"),
    *("lat", "lon", "isp", "plan_mbps", "target_mbps", "from"),
)
REQUIRED = frozenset({"agent", "line", "access", "hamlet", "area", "isp", "from"})

SMALLEST_STEP = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LineRow:
    """One row of the registry: a line from a day on."""

    agent: str
    line: str
    access: Access
    hamlet: str
    area: str
    isp: str
    from_: dt.date
    interface: str | None = None
    hamlet_code: str | None = None
    lat: float | None = None
    lon: float | None = None
    plan_mbps: float | None = None
    target_mbps: float | None = None
    number: int = field(default=0, compare=False)
    """Its line in the file."""


@dataclass(frozen=True, slots=True)
class BadCell:
    """An error in the file; `str()` is the whole sentence. Row 0: the file as a whole, `instead` is what to do."""

    file: str
    row: int
    column: str
    found: str
    instead: str

    def __str__(self) -> str:
        if self.row == 0:
            return f"{self.file}: {self.found}; {self.instead}"
        return f"{self.file}, line {self.row}, column {self.column}: found {self.found}; write {self.instead}"


class RegistryError(Exception):
    """A registry with at least one bad row; `problems` has them all."""

    def __init__(self, problems: list[BadCell]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))


class Registry:
    """Rows by line and date; days are those of `zone`. `ended` has the lines that were removed, and when."""

    def __init__(
        self,
        rows: Iterable[LineRow],
        targets: Targets,
        zone: str = PROVINCE_TIME,
        ended: Mapping[tuple[str, str], dt.datetime] = MappingProxyType({}),
    ) -> None:
        self._targets, self._ended = targets, ended
        self.zone = ZoneInfo(zone)
        self._rows: dict[tuple[str, str], list[LineRow]] = {}
        self._agents: dict[str, list[tuple[str, str]]] = {}
        for row in sorted(rows, key=lambda r: r.from_):
            if (row.agent, row.line) not in self._rows:
                self._agents.setdefault(row.agent, []).append((row.agent, row.line))
            self._rows.setdefault((row.agent, row.line), []).append(row)

    def at(self, agent: str, line: str, when: dt.datetime) -> LineRow | None:
        """The row in force at an instant; None if the line was not registered then."""
        ended = self.end_of(agent, line)
        if ended is not None and when >= ended:
            return None
        day = when.astimezone(self.zone).date()
        in_force = [row for row in self._rows.get((agent, line), ()) if row.from_ <= day]
        return in_force[-1] if in_force else None

    def end_of(self, agent: str, line: str) -> dt.datetime | None:
        """When a line was removed; None if it was not."""
        return self._ended.get((agent, line))

    def latest(self, agent: str, line: str, when: dt.datetime) -> LineRow | None:
        """The row in force at an instant, or the last row of a line that was removed before."""
        ended = self.end_of(agent, line)
        return self.at(agent, line, when if ended is None else min(when, ended - SMALLEST_STEP))

    def row_of_agent(self, agent: str, when: dt.datetime) -> LineRow | None:
        """The row of an agent's first line at an instant, which says where it stood; None for an unknown agent."""
        return next(self._lines_of(agent, when), None)

    def lines_of(self, agent: str, when: dt.datetime) -> list[LineRow]:
        """An agent's lines registered at an instant."""
        return list(self._lines_of(agent, when))

    def _lines_of(self, agent: str, when: dt.datetime) -> Iterator[LineRow]:
        return (row for key in self._agents.get(agent, ()) if (row := self.at(*key, when)) is not None)

    def rows(self) -> list[LineRow]:
        """Every row, each line's in the order of its dates."""
        return [row for rows in self._rows.values() for row in rows]

    def has_agent(self, agent: str) -> bool:
        """True if the agent has any row at all."""
        return agent in self._agents

    def current(self, when: dt.datetime) -> list[LineRow]:
        """Every line registered at an instant, in the order of the file's dates."""
        return [row for key in self._rows if (row := self.at(*key, when)) is not None]

    def rows_within(self, since: dt.datetime, until: dt.datetime) -> list[LineRow]:
        """For each line that was registered in [since, until), its last row in force there."""
        lasts = ((key, min(until, self._ended.get(key, until)) - SMALLEST_STEP) for key in self._rows)
        return [row for key, last in lasts if last >= since and (row := self.at(*key, last)) is not None]

    def target_mbps(self, row: LineRow, when: dt.datetime) -> float:
        """The line's own target in Mb/s, else the target of its access type on that day."""
        if row.target_mbps is not None:
            return row.target_mbps
        return self._targets.down_mbps(row.access, when.astimezone(self.zone).date())


def load_registry(path: Path, targets: Targets) -> Registry:
    """Reads `lines.csv`, in UTF-8 or as Excel saves it (BOM, semicolons, 1,5, 1/11/2026). Raises RegistryError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        problem = BadCell(str(path), 0, "file", error.strerror or str(error), "name a readable CSV file")
        raise RegistryError([problem]) from error
    return Registry(read_rows(raw, str(path)), targets)


def read_rows(raw: bytes, file: str) -> list[LineRow]:
    """The rows of a registry. Raises RegistryError with every problem, not only the first."""
    text = _text(raw, file)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    problems: list[BadCell] = []
    records = _numbered(reader, file, problems)
    _, first = next(records, (1, []))
    header = [cell.strip().lower() for cell in first]
    _check_header(header, file)
    rows: list[LineRow] = []
    first_row: dict[tuple[str, str, dt.date], int] = {}
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header) and any(c.strip() for c in cells[len(header) :]):
            instead = f'{len(header)} cells, with "…" around a cell that holds a {delimiter!r}'
            problems.append(BadCell(file, number, "after the last", f"{len(cells)} cells", instead))
            continue
        row, bad = _row({k: v.strip() for k, v in zip(header, cells, strict=False)}, file, number)
        problems += bad
        if row is None:
            continue
        key = (row.agent, row.line, row.from_)
        if key in first_row:
            found = f"{row.agent} / {row.line} from {row.from_}, which line {first_row[key]} has already"
            problems.append(
                BadCell(file, number, "from", found, "a later date for the change, or delete one of the rows")
            )
        first_row.setdefault(key, number)
        rows.append(row)
    if problems:
        raise RegistryError(problems)
    return rows


def _numbered(reader: Any, file: str, problems: list[BadCell]) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on, since a cell may hold line feeds. Ends at a record that can't be read."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(BadCell(file, number, "?", str(error), 'the row again, each " closed by another'))
            return


def _text(raw: bytes, file: str) -> str:
    try:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        instead = 'the file again with Excel\'s "CSV UTF-8 (comma delimited)"'
        raise RegistryError([BadCell(file, row, "?", "letters that are not UTF-8", instead)]) from error


def _check_header(header: list[str], file: str) -> None:
    problems = [
        BadCell(file, 1, name, "no such column", f"the header {','.join(COLUMNS)}")
        for name in COLUMNS
        if name in REQUIRED and name not in header
    ]
    problems += [
        BadCell(file, 1, name or "(empty)", "a column that the registry does not have", f"one of {', '.join(COLUMNS)}")
        for name in header
        if name not in COLUMNS
    ]
    problems += [
        BadCell(file, 1, name, "the column twice", "each column once") for name in set(header) if header.count(name) > 1
    ]
    if problems:
        raise RegistryError(problems)


def _row(cells: Mapping[str, str], file: str, number: int) -> tuple[LineRow | None, list[BadCell]]:
    values: dict[str, Any] = {}
    problems: list[BadCell] = []
    for column, read in PARSERS.items():
        text = cells.get(column, "")
        field = "from_" if column == "from" else column
        if not text:
            if column in REQUIRED:
                problems.append(BadCell(file, number, column, "an empty cell", f"the line's {column}"))
            continue
        try:
            values[field] = read(text)
        except BadValue as bad:
            problems.append(BadCell(file, number, column, repr(text), bad.instead))
    if bool(cells.get("lat")) != bool(cells.get("lon")):
        problems.append(BadCell(file, number, "lat, lon", "only one of the two", "both, or neither"))
    return (None if problems else LineRow(**values, number=number)), problems
