"""Remote settings as an operator writes them on the command line, and as the command shows them."""

import json
from collections.abc import Sequence
from typing import Any

import typer

from xomnet.contract import remote_settings

MIN_TRIAL_MINUTES, MAX_TRIAL_MINUTES = 0.05, 1440.0


def parse_change(set_: Sequence[str], unset: Sequence[str], trial_minutes: float | None) -> dict[str, Any]:
    """The fields of a request, from `KEY=VALUE`, keys, and the minutes of the trial. Raises typer.BadParameter."""
    settings = dict(_parse_pair(text) for text in set_)
    if len(settings) < len(set_):
        raise typer.BadParameter("a key is set twice")
    change: dict[str, Any] = {"settings": settings} if settings else {}
    if unset:
        change["unset"] = list(unset)
    if trial_minutes is not None:
        if not change:
            raise typer.BadParameter(
                "it is for a change; give --set or --unset too, or leave it out", param_hint="--within"
            )
        change["prove_s"] = 60 * trial_minutes
    return change


def _parse_pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"found {text!r}; write KEY=VALUE, such as latency.every_s=60")
    form = remote_settings.template_of(key)
    if form is None:
        raise typer.BadParameter(f"{key}: cannot be changed remotely; allowed: {remote_settings.suggestion(key)}")
    if form in remote_settings.LISTS and value != "null" and not value.startswith("["):
        return key, [part.strip() for part in value.split(",") if part.strip()]
    return key, _parse_value(value)


def _parse_value(text: str) -> Any:
    """As JSON has it, else the text itself."""

    def keep_word(word: str) -> str:
        return word  # Infinity and NaN are no JSON

    try:
        return json.loads(text, parse_constant=keep_word)
    except ValueError:
        return text


def format_reply(agent: str, reply: dict[str, Any]) -> list[str]:
    """The settings in force at a unit, a line each; a star marks a value that was set remotely."""
    changed = reply.get("changed", [])
    head = [f"{agent}: {reply['detail']}"] if "detail" in reply else []
    if "ignored" in reply:
        head.append(f"{agent}: the remote settings are NOT in force: {reply['ignored']}")
    elif "detail" not in reply:
        head.append(f"{agent}: {summarize(reply)}")
    settings = reply["settings"]
    width = max((len(key) for key in settings), default=0)
    rows = [
        f"{'*' if key in changed else ' '} {key:<{width}}  {format_value(value)}" for key, value in settings.items()
    ]
    return head + rows


def summarize(reply: dict[str, Any]) -> str:
    """The settings that differ from agent.yaml, and whether they are on trial; short, for a table."""
    if "ignored" in reply:
        return f"ignored: {reply['ignored']}"
    settings, changed = reply["settings"], reply.get("changed", [])
    words = ", ".join(f"{key}={format_value(settings.get(key))}" for key in changed) or "all as in agent.yaml"
    return words + (f" (on trial, {reply['trial_s']:.0f} s left)" if "trial_s" in reply else "")


def format_value(value: Any) -> str:
    """As it is written after `KEY=`."""
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, list) else json.dumps(value)
