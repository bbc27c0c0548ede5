"""`xomnet ask` of several units: an area, all of them, or those that are named."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal
from urllib.parse import quote

from xomnet_cli.rest import Rest, RestError
from xomnet_cli.setting_words import counted

AT_ONCE = 16
"""The collector holds 500 questions; a unit that is busy keeps one for a minute."""

Found = dict[str, Any]
Outcome = Literal["done", "refused", "no answer"]


def agents_of(rest: Rest, area: str | None) -> list[str]:
    """The units with a line in an area, or every registered one. Raises RestError, also where there is none."""
    if area is None:
        found = {one["agent"] for one in rest.get("/api/v1/agents")["agents"] if one["registered"]}
    else:
        found = {line["agent"] for line in rest.get(f"/api/v1/lines?area={quote(area, safe='')}")["lines"]}
    if not found:
        raise RestError("no unit is registered" if area is None else f"{area}: no unit in this area")
    return sorted(found)


def ask_each(agents: Sequence[str], ask: Callable[[str], Found], heard: Callable[[Found], None]) -> list[Found]:
    """What became of it at each, in their order; `heard` gets each as it comes. Not to be asked is an outcome too."""

    def one(agent: str) -> Found:
        try:
            return ask(agent)
        except RestError as error:
            return {"agent": agent, "outcome": "not_asked", "detail": str(error)}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(one, agent): agent for agent in agents}
        try:
            for ended in as_completed(waiting):
                heard(ended.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [ended.result() for ended in waiting]


def outcome(found: Found) -> Outcome:
    """In a word: what `no answer` says nothing of may have been done."""
    reply = found.get("reply")
    if reply is None:
        return "no answer"
    return "done" if reply["ok"] else "refused"


def row(found: Found, width: int) -> str:
    """A line of the table."""
    word, reply = outcome(found), found.get("reply", {})
    match word:
        case "done":
            why = reply.get("detail") or counted(reply)
        case "refused":
            why = f"{reply.get('error')}: {reply.get('detail', 'no reason given')}"
        case _:
            why = found.get("detail", found["outcome"])
    return f"{found['agent']:<{width}}  {word:<9}  {why}"


def again(found: Sequence[Found], options: Sequence[str]) -> str | None:
    """The command that asks those without an answer once more; None where there are none."""
    missing = [one["agent"] for one in found if outcome(one) == "no answer"]
    return shlex.join(["xomnet", "ask", ",".join(missing), "settings", *options]) if missing else None


def summed(found: Sequence[Found]) -> str:
    """`40 units: 38 done, 2 no answer`."""
    counts = Counter(outcome(one) for one in found)
    words: tuple[Outcome, ...] = ("done", "refused", "no answer")
    return f"{len(found)} units: " + ", ".join(f"{counts[word]} {word}" for word in words if counts[word])


def as_json(found: Sequence[Found], repeat: str | None) -> str:
    """One document."""
    counts = Counter(outcome(one) for one in found)
    document = {"units": list(found), "done": counts["done"], "refused": counts["refused"],
                "no_answer": counts["no answer"], **({} if repeat is None else {"again": repeat})}  # fmt: skip
    return json.dumps(document, ensure_ascii=False)
