"""The pieces that the queries are made of: InfluxQL as InfluxDB 1.8, 2 and 3 share it, with Grafana's variables.

A variable stands in a regular expression and is written `${name:regex}`, so that Grafana escapes the slashes of an
area's path and joins several values with `|`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from collector.judge.verdict import VERDICTS
from xomnet.states import CODES

LINE = ("agent", "line")
LINE_TAGS = (*LINE, "hamlet", "area", "access", "isp")

IN_AREA = r'"area" =~ /^${area:regex}(\/.*)?$/'
"""In one of the chosen areas or below it."""
WITH_ACCESS = '"access" =~ /^${access:regex}$/'
WITH_ISP = '"isp" =~ /^${isp:regex}$/'
IN_HAMLET = '"hamlet" =~ /^${hamlet:regex}$/'

CHOSEN = f"{IN_AREA} AND {WITH_ACCESS} AND {WITH_ISP} AND {IN_HAMLET} AND $timeFilter"
"""What the variables and the time range choose, of measurements that have the tags of a line."""
CHOSEN_UNITS = f"{IN_AREA} AND {IN_HAMLET} AND $timeFilter"
"""The same of units, which have neither access nor provider."""
THE_LINE = "\"agent\" = '${agent}' AND \"line\" = '${line}' AND $timeFilter"
"""The line that the line's dashboard is about; names have no letter that would need an escape."""

PROVINCE = f"\"scope\" = 'all' AND {WITH_ACCESS} AND $timeFilter"
AREAS = f'"scope" = \'area\' AND "place" =~ /^${{area:regex}}$/ AND {WITH_ACCESS} AND $timeFilter'
BELOW = f'"scope" = \'area\' AND "place" =~ /^${{area:regex}}(\\/[^\\/]+)?$/ AND {WITH_ACCESS} AND $timeFilter'
"""The chosen areas and the next level below each; of all: the first two levels."""
ISPS = f'"scope" = \'isp\' AND "place" =~ /^${{isp:regex}}$/ AND {WITH_ACCESS} AND $timeFilter'


NOW = "10m"
"""What "now" looks back over: ten of the points that are written each minute, so that a missed one leaves no hole."""
EACH_MINUTE = ("line_state", "place_state", "unit_state", "collector_state")


def within(query: str, span: str) -> str:
    """The query for the last `span` (`10m`, `1h`), whatever time range is chosen: Grafana forgets a panel's own range
    when somebody drags over a chart, and last week's states and lines that are gone would be shown as those of now.
    """
    return query.replace("$timeFilter", f"time >= now() - {span}")


def in_month(query: str) -> str:
    """The query for the month that begins where the time range does: its points are at its beginning, and to look for
    them in all the month would take a database of weekly files five times as long.
    """
    return query.replace("$timeFilter", "time >= ${__from}ms AND time < ${__from}ms + 1d")


def quote_names(names: Sequence[str]) -> str:
    """Names of fields or tags, quoted, with commas between them."""
    return ", ".join(f'"{name}"' for name in names)


def group_by_clause(by: Sequence[str]) -> str:
    return f" GROUP BY {quote_names(by)}" if by else ""


def last(measurement: str, fields: Sequence[str], where: str, by: Sequence[str] = LINE) -> str:
    """The newest point that has the first field, within the time range, for each combination of tags; `fields` of it.

    One selector with fields beside it is a quarter of the work of a `last()` for each.
    """
    first, *others = fields
    more = "".join(f', "{field}"' for field in others)
    return f'SELECT last("{first}") AS "{first}"{more} FROM "{measurement}" WHERE {where}{group_by_clause(by)}'


def raw(measurement: str, fields: Sequence[str], where: str, by: Sequence[str] = ()) -> str:
    """Every point of the time range."""
    return f'SELECT {quote_names(fields)} FROM "{measurement}" WHERE {where}{group_by_clause(by)}'


def per_interval(measurement: str, what: str, where: str, by: Sequence[str] = ()) -> str:
    """`what`, aggregated by the panel's interval. If a point of every minute is missing, its interval is null, so that
    no line is drawn across the gap; rare points have no value in most intervals, and that is no gap.
    """
    tags = f", {quote_names(by)}" if by else ""
    fill = "null" if measurement in EACH_MINUTE else "none"
    return f'SELECT {what} FROM "{measurement}" WHERE {where} GROUP BY time($__interval){tags} fill({fill})'


def select_from(what: str, inner: str, where: str = "", by: Sequence[str] = ()) -> str:
    """A query over the rows of an inner query, which have the times of points. It repeats the time range, since
    InfluxDB 1 opens the files of the outermost query's range.
    """
    also = f"({where}) AND " if where else ""
    return f"SELECT {what} FROM ({inner}) WHERE {also}$timeFilter{group_by_clause(by)}"


def is_code(column: str, code: int) -> str:
    """1 where an integer column from 0 to 5 has the code, else 0.

    For sums: InfluxQL answers nothing at all, instead of 0, where it counts no row, and "none is short" would look
    like "nobody knows". (Its abs() is wrong for integers in early 1.x, and conditions can't be selected.)
    """
    return f'1 - ceil(("{column}" - {code}) * ("{column}" - {code}) / 25)'


W = TypeVar("W", bound=str)


@dataclass(frozen=True, slots=True)
class Codes(Generic[W]):
    """A field whose whole numbers stand for words, and which of them are a yes and a no."""

    measurement: str
    field: str
    codes: Mapping[W, int]
    good: W
    bad: W

    def is_(self, word: W) -> str:
        return is_code(self.field, self.codes[word])

    def counts(self, where: str, *words: W) -> str:
        """How many of the chosen lines have each of some words now, and how many lines there are."""
        each = ", ".join(f'{self.is_(word)} AS "{word}"' for word in words)
        sums = ", ".join(f'sum("{word}") AS "{word}"' for word in words)
        flagged = select_from(each, last(self.measurement, (self.field,), where))
        return select_from(f'count("{words[0]}") AS "lines", {sums}', flagged)

    def share(self, where: str) -> str:
        """Of the chosen lines that are a yes or a no, the share of the yes; and how many they are."""
        judged = " OR ".join(f'"{self.field}" = {self.codes[word]}' for word in (self.bad, self.good))
        good = select_from(f'{self.is_(self.good)} AS "good"', last(self.measurement, (self.field,), where), judged)
        return select_from('mean("good") AS "share", count("good") AS "judged"', good)


STATE = Codes("line_state", "state_code", CODES, "meeting", "short")
VERDICT = Codes("line_month", "verdict_code", {verdict: i for i, verdict in enumerate(VERDICTS)}, "met", "not_met")
