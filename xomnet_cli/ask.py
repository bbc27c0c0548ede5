"""`xomnet ask`: a command to a unit, and its answer; settings, also to many."""

import json
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from xomnet_cli import ask_many, setting_words
from xomnet_cli.rest import DEFAULT_TOKEN_FILE, DEFAULT_URL, Rest, RestError, TokenFile, Url

WAIT_S = 30.0
LONGEST_S = 600.0
"""The collector gives up much sooner."""


class Name(StrEnum):
    measure = "measure"
    report = "report"
    identify = "identify"
    settings = "settings"


def ask(
    what: Annotated[
        list[str], typer.Argument(metavar="[AGENT] " + "|".join(Name), help="The unit, and what it shall do.")
    ],
    line: Annotated[str | None, typer.Option(help="measure: only this line.")] = None,
    other_server: Annotated[bool, typer.Option("--other-server", help="measure: not the first server.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="settings: change this; lists with commas, null: default."),
    ] = None,
    unset: Annotated[list[str] | None, typer.Option(metavar="KEY", help="settings: as in agent.yaml again.")] = None,
    within: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=setting_words.SHORTEST_MINUTES,
            max=setting_words.LONGEST_MINUTES,
            help="settings: taken back unless the collector answers under them. By default 10.",
        ),
    ] = None,
    area: Annotated[str | None, typer.Option(help="settings: every unit of it, such as Nam Định/Hải Hậu.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="settings: every registered unit.")] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Asks a unit to measure now, to report its health, to blink, or for its settings; waits for its answer.

    Exit status: 0 done, 1 refused, not answered, or a test without a figure, 2 the collector could not be asked.

    Example: xomnet ask nd-haihau-0012 measure --line ftth

    Example: xomnet ask --area "Nam Định/Hải Hậu" settings --set latency.every_s=60 --unset lines.4g.budget_gb
    """
    agents, name = _what(what, area, all_)
    change = setting_words.change(set_ or (), unset or (), within)
    if name is not Name.settings and (change or len(agents) != 1):
        raise typer.BadParameter("--set, --unset, --area, --all and several units are for settings")
    wanted: dict[str, Any] = {"name": name.value, "wait_s": WAIT_S, **change}
    if line is not None:
        wanted["line"] = line
    if other_server:
        wanted["server"] = "other"
    try:
        rest = Rest(url, token_file)
        if len(agents) != 1:
            agents = agents or ask_many.agents_of(rest, area)
            given = [("--set", text) for text in set_ or ()] + [("--unset", key) for key in unset or ()]
            given += [("--within", f"{within:g}")] if within is not None and change else []
            given += [("--url", url)] if url != DEFAULT_URL else []
            given += [("--token-file", str(token_file))] if token_file != DEFAULT_TOKEN_FILE else []
            _ask_many(rest, agents, wanted, [word for pair in given for word in pair], as_json)
        found = _asked(rest, agents[0], wanted)
    except RestError as error:
        print(json.dumps({"error": str(error)}, ensure_ascii=False) if as_json else error, file=_out(as_json))
        raise typer.Exit(2) from error
    done = is_done(found)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(said(found)), file=_out((found.get("reply") or {}).get("ok", False)))
    raise typer.Exit(0 if done else 1)


def _what(words: Sequence[str], area: str | None, all_: bool) -> tuple[list[str], Name]:
    """The units that are named (none: those of the area, or all), and the command. Raises typer.BadParameter."""
    *named, name = words
    if name not in list(Name):
        raise typer.BadParameter(f"{name}: not one of {', '.join(Name)}")
    agents = [one.strip() for text in named for one in text.split(",")]
    if (len(named), area is not None, all_) not in ((1, False, False), (0, True, False), (0, False, True)):
        raise typer.BadParameter("either a unit (several with commas), or --area, or --all")
    if "" in agents or (area is not None and not area.strip(" /")):
        raise typer.BadParameter("a name is empty; all units are meant by --all only")
    return agents, Name(name)


def _out(good: bool) -> Any:
    return sys.stdout if good else sys.stderr


def _ask_many(rest: Rest, agents: list[str], wanted: dict[str, Any], options: list[str], as_json: bool) -> NoReturn:
    width = max(len(agent) for agent in agents)

    def heard(found: ask_many.Found) -> None:
        if not as_json:
            print(ask_many.row(found, width), flush=True)

    found = ask_many.ask_each(agents, lambda agent: _asked(rest, agent, wanted), heard)
    repeat = ask_many.again(found, options)
    if as_json:
        print(ask_many.as_json(found, repeat))
    else:
        print(f"\n{ask_many.summed(found)}")
        if repeat is not None:
            print(f"Again, for those without an answer (a unit that has it already says so):\n  {repeat}")
    raise typer.Exit(0 if all(is_done(one) for one in found) else 1)


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
    if "settings" in reply:
        return setting_words.said(found["agent"], reply)
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
