"""Names of places and lines, and the phrases that the texts of alerts and the digest share."""

import datetime as dt

from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from xomnet.area import levels
from xomnet.registry.registry import LineRow

MAX_LISTED = 20
LONGEST_ACRONYM = 4


def place_name(row: LineRow) -> str:
    """Xóm 2, Giao Thiện (Giao Thủy, Nam Định)."""
    return f"{row.hamlet}, {area_name(row.area)}"


def line_name(row: LineRow) -> str:
    """4G Viettel."""
    return f"{row.line.upper() if len(row.line) <= LONGEST_ACRONYM else row.line} {row.isp}"


def area_name(path: str) -> str:
    """Hải Hậu (Nam Định)."""
    *above, last = levels(path)
    return last + (f" ({', '.join(reversed(above))})" if above else "")


def lines_phrase(n: int, t: Texts) -> str:
    """5 lines."""
    return t.plural("{n} line", "{n} lines", n)


def speed_sentence(status: LineStatus, window_s: float, t: Texts) -> str | None:
    """Download 42 of 70 Mb/s (60 %), 9 tests in 24 h."""
    judged = status.judgement
    if judged.median_mbps is None or judged.ratio is None:
        return None
    return t.text(
        "Download {median} Mb/s, {ratio} of the target ({target} Mb/s). {tests} in {window}",
        median=t.mbps(judged.median_mbps, judged.target_mbps),
        target=t.target(judged.target_mbps),
        ratio=t.percent(judged.ratio),
        tests=t.plural("{n} test", "{n} tests", judged.samples),
        window=t.span(window_s),
    )


def since_sentence(since: dt.datetime, now: dt.datetime, t: Texts) -> str:
    """Since 22 Nov 18:40, for 2 h."""
    ago = t.span(max(0.0, (now - since).total_seconds()))
    return t.text("Since {moment}, for {span}", moment=t.minute(since), span=ago)


def shorten(rows: list[str], t: Texts) -> list[str]:
    """The first MAX_LISTED rows, and how many more there are."""
    rest = len(rows) - MAX_LISTED
    if rest <= 0:
        return rows
    return [*rows[:MAX_LISTED], t.plural("… and {n} more", "… and {n} more", rest)]
