"""`xomnet ask` for several units: an area, all of them, or those that are named."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal
from urllib.parse import quote

from xomnet_cli.rest_client import RestClient, RestError
from xomnet_cli.settings_format import summarize

MAX_CONCURRENT = 16
"""The collector holds 500 commands; a unit that is busy keeps a command for a minute."""

Answer = dict[str, Any]
Outcome = Literal["done", "refused", "no answer"]
OUTCOMES: tuple[Outcome, ...] = ("done", "refused", "no answer")


def find_units(client: RestClient, area: str | None) -> list[str]:
    """The units with a line in an area, or every registered unit. Raises RestError, also if there is none."""
    if area is None:
        units = {one["agent"] for one in client.get("/api/v1/agents")["agents"] if one["registered"]}
    else:
        units = {line["agent"] for line in client.get(f"/api/v1/lines?area={quote(area, safe='')}")["lines"]}
    if not units:
        raise RestError("no unit is registered" if area is None else f"{area}: no unit in this area")
    return sorted(units)


def ask_all(units: Sequence[str], ask: Callable[[str], Answer], on_answer: Callable[[Answer], None]) -> list[Answer]:
    """The answer of each unit, in their order; `on_answer` gets each as it comes. A RestError is an answer too."""

    def ask_one(unit: str) -> Answer:
        try:
            return ask(unit)
        except RestError as error:
            return {"agent": unit, "outcome": "not_asked", "detail": str(error)}

    with ThreadPoolExecutor(MAX_CONCURRENT) as pool:
        pending = {pool.submit(ask_one, unit): unit for unit in units}
        try:
            for done in as_completed(pending):
                on_answer(done.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [done.result() for done in pending]


def outcome(answer: Answer) -> Outcome:
    """In a word. A unit without an answer may have done what was asked all the same."""
    reply = answer.get("reply")
    if reply is None:
        return "no answer"
    return "done" if reply["ok"] else "refused"


def format_row(answer: Answer, width: int) -> str:
    """A row of the table."""
    word, reply = outcome(answer), answer.get("reply", {})
    match word:
        case "done":
            detail = reply.get("detail") or summarize(reply)
        case "refused":
            detail = f"{reply.get('error')}: {reply.get('detail', 'no reason given')}"
        case _:
            detail = answer.get("detail", answer["outcome"])
    return f"{answer['agent']:<{width}}  {word:<9}  {detail}"


def repeat_command(answers: Sequence[Answer], options: Sequence[str]) -> str | None:
    """The command that asks the units without an answer again; None if all have answered."""
    missing = [one["agent"] for one in answers if outcome(one) == "no answer"]
    return shlex.join(["xomnet", "ask", ",".join(missing), "settings", *options]) if missing else None


def format_counts(answers: Sequence[Answer]) -> str:
    """`40 units: 38 done, 2 no answer`."""
    counts = Counter(outcome(one) for one in answers)
    return f"{len(answers)} units: " + ", ".join(f"{counts[word]} {word}" for word in OUTCOMES if counts[word])


def as_json(answers: Sequence[Answer], repeat: str | None) -> str:
    """One document."""
    counts = Counter(outcome(one) for one in answers)
    document = {
        "units": list(answers),
        "done": counts["done"],
        "refused": counts["refused"],
        "no_answer": counts["no answer"],
        **({} if repeat is None else {"again": repeat}),
    }
    return json.dumps(document, ensure_ascii=False)
