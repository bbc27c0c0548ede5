"""The live table of the demonstration, from what the collector's REST interface says."""

import datetime as dt
from collections import deque
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from collector.alerts.conditions import BY_STATE
from xomnet.area import last_level
from xomnet.states import LOOKS, State

ALERTS_SHOWN = 8


class AlertFeed:
    """What changed between two looks at the lines, as one sentence a change."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], State] = {}
        self._alerted: set[tuple[str, str]] = set()
        self._since: dict[tuple[str, str], str] = {}
        self.sentences: deque[str] = deque(maxlen=ALERTS_SHOWN)

    def update(self, lines: list[dict[str, Any]], now: dt.datetime) -> list[str]:
        """The new sentences, oldest first."""
        clock = now.strftime("%H:%M:%S")
        new: list[str] = []
        for line in lines:
            key, state = (line["agent"], line["line"]), line["state"]
            before = self._states.get(key)
            self._states[key] = state
            if before == state or "last_result_at" not in line:
                continue  # a line that has not begun yet has nothing to be alerted of
            since, self._since[key] = self._since.get(key, clock), clock
            if state in BY_STATE:
                self._alerted.add(key)
                new.append(f"{clock}  {LOOKS[state].mark} alert   {sentence(line)}")
            elif before is not None and before in BY_STATE and key in self._alerted:
                new.append(f"{clock}  {LOOKS[state].mark} again   {sentence(line)}; {LOOKS[before].en} since {since}")
        self.sentences.extend(new)
        return new


def place(line: dict[str, Any]) -> str:
    return f"{line['hamlet']}, {last_level(line['area'])} / {line['line']}"


def sentence(line: dict[str, Any]) -> str:
    """One line of the page in words."""
    state = LOOKS[line["state"]].en.lower()
    if _has_no_results(line) and "age_s" in line:
        return f"{place(line)}: {state} for {line['age_s']:.0f} s"
    if "median_mbps" not in line:
        return f"{place(line)}: {state}"
    return f"{place(line)}: {line['median_mbps']:.1f} of {line['target_mbps']:g} Mb/s, {line['samples']} tests"


def _has_no_results(line: dict[str, Any]) -> bool:
    """True if nothing is heard of a line now: what its tests said is over."""
    condition = BY_STATE.get(line["state"])
    return condition is not None and not condition.from_tests


def screen(head: str, lines: list[dict[str, Any]], alerts: AlertFeed) -> Group:
    """The whole picture: where to look, the table worst first, the last alerts."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("LINE", "ACCESS"):
        table.add_column(name, no_wrap=True)
    for name in ("TARGET", "NOW", "MEDIAN", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    table.add_column("LAST", justify="right", no_wrap=True)
    for line in lines:
        look = LOOKS[line["state"]]
        table.add_row(
            place(line),
            line["access"],
            f"{line['target_mbps']:g}",
            _number(None if _has_no_results(line) else line.get("now_mbps")),
            _number(line.get("median_mbps")),
            str(line["samples"]),
            Text(f"{look.mark} {look.vi}", style=look.colour),
            f"{line['age_s']:.0f} s" if "age_s" in line else "–",
        )
    return Group(Text(head, style="bold"), Text(), table, Text(), *[Text(one) for one in alerts.sentences])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
