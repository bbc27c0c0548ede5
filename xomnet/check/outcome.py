"""What the findings come to, for people and for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xomnet import __version__
from xomnet.check.finding import MARKS, Finding, Said
from xomnet.check.host import about_machine
from xomnet.check.texts import CheckTexts, Language

NAME_WIDTHS: dict[Language, int] = {"en": 17, "vi": 19}
FOUND_WIDTH = 42
COLOURS = {"ok": "32", "warn": "33", "fail": "31", "skip": "90"}


def tell(findings: Iterable[Finding], head: Said, who: Mapping[str, str], t: CheckTexts, as_json: bool) -> int:
    """Prints a head, rows as they are found, and one sentence; or one document. Returns the exit status."""
    if not as_json:
        print(f"{t.said(head)}\n", flush=True)
    found: list[Finding] = []
    for one in findings:
        found.append(one)
        if not as_json:
            print(row(one, t, sys.stdout.isatty()), flush=True)
    if as_json:
        print(json.dumps(document(who, __version__, about_machine(), found, t), ensure_ascii=False))
    else:
        print(f"\n {verdict(found, t)}")
    return 1 if to_fix(found) else 0


def refuse(error: Exception, as_json: bool) -> int:
    """The settings are wrong. Returns the exit status."""
    if as_json:
        print(json.dumps({"error": str(error)}, ensure_ascii=False))
    else:
        print(error, file=sys.stderr)
    return 2


def to_fix(found: Sequence[Finding]) -> int:
    return sum(one.mark == "fail" for one in found)


def verdict(found: Sequence[Finding], t: CheckTexts) -> str:
    """The last line."""
    wrong, odd = to_fix(found), sum(one.mark == "warn" for one in found)
    if wrong:
        return t.text("Not ready: 1 thing to fix.") if wrong == 1 else t.text("Not ready: {n} things to fix.", n=wrong)
    if odd:
        return t.text("Ready; 1 thing to look at.") if odd == 1 else t.text("Ready; {n} things to look at.", n=odd)
    return t.text("Ready.")


def row(one: Finding, t: CheckTexts, colour: bool) -> str:
    """For a terminal; the remedy on a line of its own if what was found is long."""
    mark = f"\033[{COLOURS[one.mark]}m{MARKS[one.mark]}\033[0m" if colour else MARKS[one.mark]
    found = t.all(one.found)
    width = NAME_WIDTHS[t.language]
    text = f" {mark} {t.name(one.name):<{width}}{found}"
    if one.remedy is None:
        return text
    gap = " " * (FOUND_WIDTH - len(found)) if len(found) < FOUND_WIDTH else "\n" + " " * (width + 3)
    return f"{text}{gap}→ {t.said(one.remedy)}"


def document(
    who: Mapping[str, str], version: str, machine: str, found: Sequence[Finding], t: CheckTexts
) -> dict[str, Any]:
    """What `--json` prints, `who` first. `name` and `mark` (ok, warn, fail, skip) are for programs."""
    wrong = to_fix(found)
    return {
        **who,
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
