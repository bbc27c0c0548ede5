"""`xomnet ask`: a command to a unit, and its answer."""

import json
import sys
import time
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from xomnet.cli.rest import DEFAULT_TOKEN_FILE, DEFAULT_URL, Rest, RestError, TokenFile, Url

WAIT_S = 30.0
LONGEST_S = 600.0
"""The collector gives up much sooner."""


class Name(StrEnum):
    measure = "measure"
    report = "report"
    identify = "identify"
    settings = "settings"


def ask(
    agent: Annotated[str, typer.Argument(help="The unit, as in the registry.")],
    name: Annotated[Name, typer.Argument(help="What it shall do.")],
    line: Annotated[str | None, typer.Option(help="measure: only this line.")] = None,
    other_server: Annotated[bool, typer.Option("--other-server", help="measure: not the first server.")] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Asks a unit to measure now, to report its health, or to blink; waits for its answer.

    Exit status: 0 done, 1 refused, not answered, or a test without a figure, 2 the collector could not be asked.

    Example: xomnet ask nd-haihau-0012 measure --line ftth
    """
    wanted: dict[str, Any] = {"name": name.value, "wait_s": WAIT_S}
    if line is not None:
        wanted["line"] = line
    if other_server:
        wanted["server"] = "other"
    try:
        found = _asked(Rest(url, token_file), agent, wanted)
    except RestError as error:
        print(json.dumps({"error": str(error)}, ensure_ascii=False) if as_json else error, file=_out(as_json))
        raise typer.Exit(2) from error
    done = is_done(found)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(said(found)), file=_out((found.get("reply") or {}).get("ok", False)))
    raise typer.Exit(0 if done else 1)


def _out(good: bool) -> Any:
    return sys.stdout if good else sys.stderr


def _asked(rest: Rest, agent: str, wanted: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = rest.post(f"/api/v1/agents/{quote(agent, safe='')}/commands", wanted, WAIT_S + 10)
    until = time.monotonic() + LONGEST_S
    while found["outcome"] == "waiting" and time.monotonic() < until:
        time.sleep(1)
        found = rest.get(f"/api/v1/commands/{found['id']}")
    return found


def is_done(found: dict[str, Any]) -> bool:
    """Whether the unit did it, and every test gave a figure."""
    reply = found.get("reply") or {}
    return bool(reply.get("ok")) and all("down_mbps" in test for test in reply.get("tested", []))


def said(found: dict[str, Any]) -> list[str]:
    """The answer for a person, a line each."""
    reply = found.get("reply")
    if reply is None:
        return [f"{found['agent']}: {found.get('detail', found['outcome'])}"]
    if not reply["ok"]:
        return [f"{found['agent']}: refused ({reply.get('error')}): {reply.get('detail', 'no reason given')}"]
    lines = [_tested(found["agent"], test) for test in reply.get("tested", [])]
    return lines + ([f"{found['agent']}: {reply['detail']}"] if "detail" in reply else [] if lines else ["done"])


def _tested(agent: str, test: dict[str, Any]) -> str:
    figure = f"{test['down_mbps']:.1f} Mb/s" if "down_mbps" in test else f"no figure ({test.get('error')})"
    more = [test["error_detail"]] if "error_detail" in test else []
    if "server" in test:
        more.append(f"by {test['server']}")
    if test.get("bytes"):
        more.append(f"{test['bytes'] / 1e6:.0f} MB")
    if test.get("flags"):
        more.append("flags: " + " ".join(test["flags"]))
    return f"{agent} / {test['line']}: {figure}, " + ", ".join(more)
