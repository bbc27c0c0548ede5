"""Settings from afar as an operator writes and reads them."""

import json
from collections.abc import Sequence
from typing import Any

import typer

from xomnet.contract import remote_settings

SHORTEST_MINUTES, LONGEST_MINUTES = 0.05, 1440.0


def change(set_: Sequence[str], unset: Sequence[str], within_minutes: float | None) -> dict[str, Any]:
    """For a request, from `KEY=VALUE`, keys, and the minutes of the trial. Raises typer.BadParameter."""
    settings = dict(_pair(text) for text in set_)
    if len(settings) < len(set_):
        raise typer.BadParameter("a key is set twice")
    found: dict[str, Any] = {"settings": settings} if settings else {}
    if unset:
        found["unset"] = list(unset)
    if within_minutes is not None and found:
        found["prove_s"] = 60 * within_minutes
    return found


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text}: not KEY=VALUE, such as latency.every_s=60")
    form = remote_settings.form(key)
    if form is None:
        raise typer.BadParameter(f"{key}: not changed from afar; allowed: {remote_settings.allowed(key)}")
    if form in remote_settings.LISTS and value != "null" and not value.startswith("["):
        return key, [part.strip() for part in value.split(",") if part.strip()]
    return key, _value(value)


def _value(text: str) -> Any:
    """As JSON has it, else the text itself."""

    def no_number(word: str) -> str:
        return word

    try:
        return json.loads(text, parse_constant=no_number)
    except ValueError:
        return text


def said(agent: str, reply: dict[str, Any]) -> list[str]:
    """What is in force at a unit, a line each; a star is what was changed from afar."""
    changed = reply.get("changed", [])
    first = [f"{agent}: {reply['detail']}"] if "detail" in reply else []
    if "ignored" in reply:
        first.append(f"{agent}: what was changed from afar is NOT in force: {reply['ignored']}")
    elif "detail" not in reply:
        first.append(f"{agent}: {counted(reply)}")
    settings = reply["settings"]
    width = max((len(key) for key in settings), default=0)
    rows = [f"{'*' if key in changed else ' '} {key:<{width}}  {shown(value)}" for key, value in settings.items()]
    return first + rows


def counted(reply: dict[str, Any]) -> str:
    """How many settings are not agent.yaml's, and whether for good; short, for a table."""
    changed = reply.get("changed", [])
    if "ignored" in reply:
        return f"ignored: {reply['ignored']}"
    settings = reply["settings"]
    words = ", ".join(f"{key}={shown(settings.get(key))}" for key in changed) or "all as in agent.yaml"
    return words + (f" (on trial, {reply['trial_s']:.0f} s left)" if "trial_s" in reply else "")


def shown(value: Any) -> str:
    """As it is written after `KEY=`."""
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, list) else json.dumps(value)
