"""The output of a check: rows and a conclusion for people, a document for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xomnet import __version__
from xomnet.check.finding import MARKS, Finding, Sentence
from xomnet.check.host import describe_machine
from xomnet.check.texts import CheckTexts, Language

NAME_WIDTHS: dict[Language, int] = {"en": 17, "vi": 19}
FOUND_WIDTH = 42
COLOURS = {"ok": "32", "warn": "33", "fail": "31", "skip": "90"}


def print_findings(
    findings: Iterable[Finding], head: Sentence, who: Mapping[str, str], t: CheckTexts, as_json: bool
) -> int:
    """Prints a head, findings as they come, and a conclusion; or one document. Returns the exit status."""
    if not as_json:
        print(f"{t.sentence(head)}\n", flush=True)
    found: list[Finding] = []
    for one in findings:
        found.append(one)
        if not as_json:
            print(row(one, t, sys.stdout.isatty()), flush=True)
    if as_json:
        print(json.dumps(document(who, __version__, describe_machine(), found, t), ensure_ascii=False))
    else:
        print(f"\n {conclusion(found, t)}")
    return 1 if count_failures(found) else 0


def print_error(error: Exception, as_json: bool) -> int:
    """Prints that the settings are wrong. Returns the exit status."""
    if as_json:
        print(json.dumps({"error": str(error)}, ensure_ascii=False))
    else:
        print(error, file=sys.stderr)
    return 2


def count_failures(found: Sequence[Finding]) -> int:
    """The number of findings that must be fixed."""
    return sum(one.mark == "fail" for one in found)


def conclusion(found: Sequence[Finding], t: CheckTexts) -> str:
    """The last line: ready or not, and how much there is to fix."""
    wrong, odd = count_failures(found), sum(one.mark == "warn" for one in found)
    if wrong:
        return t.text("Not ready: 1 thing to fix.") if wrong == 1 else t.text("Not ready: {n} things to fix.", n=wrong)
    if odd:
        return t.text("Ready; 1 thing to look at.") if odd == 1 else t.text("Ready; {n} things to look at.", n=odd)
    return t.text("Ready.")


def row(one: Finding, t: CheckTexts, colour: bool) -> str:
    """A finding for a terminal; the remedy is on a line of its own if the finding is long."""
    mark = f"\033[{COLOURS[one.mark]}m{MARKS[one.mark]}\033[0m" if colour else MARKS[one.mark]
    found = t.sentences(one.found)
    width = NAME_WIDTHS[t.language]
    text = f" {mark} {t.name(one.name):<{width}}{found}"
    if one.remedy is None:
        return text
    gap = " " * (FOUND_WIDTH - len(found)) if len(found) < FOUND_WIDTH else "\n" + " " * (width + 3)
    return f"{text}{gap}→ {t.sentence(one.remedy)}"


def document(
    who: Mapping[str, str], version: str, machine: str, found: Sequence[Finding], t: CheckTexts
) -> dict[str, Any]:
    """What `--json` prints, `who` first. `name` and `mark` (ok, warn, fail, skip) are for programs."""
    wrong = count_failures(found)
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
                "found": t.sentences(one.found),
                **({} if one.remedy is None else {"remedy": t.sentence(one.remedy)}),
            }
            for one in found
        ],
    }
