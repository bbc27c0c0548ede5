"""What the findings come to, for people and for programs."""

from collections.abc import Sequence
from typing import Any

from agent.check.finding import MARKS, Finding
from agent.check.texts import Texts

NAME_WIDTH, FOUND_WIDTH = 17, 42
COLOURS = {"ok": "32", "warn": "33", "fail": "31", "skip": "90"}


def to_fix(found: Sequence[Finding]) -> int:
    return sum(one.mark == "fail" for one in found)


def verdict(found: Sequence[Finding], t: Texts) -> str:
    """The last line."""
    wrong, odd = to_fix(found), sum(one.mark == "warn" for one in found)
    if wrong:
        return t.text("Not ready: 1 thing to fix.") if wrong == 1 else t.text("Not ready: {n} things to fix.", n=wrong)
    if odd:
        return t.text("Ready; 1 thing to look at.") if odd == 1 else t.text("Ready; {n} things to look at.", n=odd)
    return t.text("Ready.")


def row(one: Finding, t: Texts, colour: bool) -> str:
    """For a terminal; the remedy on a line of its own where what was found is long."""
    mark = f"\033[{COLOURS[one.mark]}m{MARKS[one.mark]}\033[0m" if colour else MARKS[one.mark]
    found = t.all(one.found)
    text = f" {mark} {t.name(one.name):<{NAME_WIDTH}}{found}"
    if one.remedy is None:
        return text
    gap = " " * (FOUND_WIDTH - len(found)) if len(found) < FOUND_WIDTH else "\n" + " " * (NAME_WIDTH + 3)
    return f"{text}{gap}→ {t.said(one.remedy)}"


def document(agent: str, version: str, machine: str, found: Sequence[Finding], t: Texts) -> dict[str, Any]:
    """What `--json` prints. `name` and `mark` (ok, warn, fail, skip) are for programs, the texts for people."""
    wrong = to_fix(found)
    return {
        "agent": agent,
        "version": version,
        "machine": machine,
        "ready": wrong == 0,
        "to_fix": wrong,
        "findings": [
            {
                "name": one.name,
                "mark": one.mark,
                "found": t.all(one.found),
                **({} if one.remedy is None else {"remedy": t.said(one.remedy)}),
            }
            for one in found
        ],
    }
