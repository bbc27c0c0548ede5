"""Figures of a unit's status in words, for the page and the command."""

from agent.status.status import LineReport
from xomnet.check.texts import CheckTexts
from xomnet.contract.values import MAX_COUNT


def bytes_used(line: LineReport, t: CheckTexts) -> str:
    """Of the month; of how many, where the line has a budget."""
    if line.used_bytes >= MAX_COUNT:
        return t.text("the data count was lost: no test until the 1st")
    used = round(line.used_bytes / 1e6)
    if line.budget_bytes is None:
        return t.text("{n} MB", n=used)
    return t.text("{n} of {budget} MB", n=used, budget=round(line.budget_bytes / 1e6))
